"""Questions grouped by what they speak of: rare shared words, spherical k-means, numpy alone.

    questions -> words, pairs of Chinese characters -> weights by rarity
              -> 64 numbers of length 1: the directions in which rows of a sample differ most
              -> k-means on the sample -> each row goes to its nearest group

Words that occur in the same questions have similar directions, so rows need not share a word to be
alike. The sample and the sizes are bounded: memory does not grow with the dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunesmith.data.quality.vectors import Block, Ints, characters, scaled, word_features

Floats = npt.NDArray[np.float32]
BITS = 16  # of a hashed word
WIDTH = 64  # numbers of a row
SAMPLE = 30_000  # rows that the groups are found on
_ROUNDS = 20
_PRODUCTS = 4
_CLIP = 400  # characters of a question: a long input behind it would say what it is about
FUNCTION_WORDS = (
    "a an the this that these those i you he she it we they me my your his her its our their of to "
    "in on at by for from with as and or but if so not no is are was were be been do does did have "
    "has had can could will would should may what which who when where why how there than then "
    "please give some any 的是 什么 怎么 如何 为什 哪些 请你 一个 一下 可以 我的 你的 吗"
)
_RESTARTS, _RESTARTED_ROWS = 4, 5000  # a few rows are easily grouped badly
_CHUNK = 1 << 16  # entries that are summed up at once


@dataclass(frozen=True)
class Words:
    """How rare each hashed word is among the sample: its weight in a question, [2 ** BITS].

    Groups are told apart by rare words; how much two rows have in common is judged by milder
    weights, or rows made of one phrase and a name would count as altogether different.
    """

    weights: Floats
    mild: Floats

    @classmethod
    def of(cls, blocks: Iterable[Block]) -> Words:
        """log((1 + rows) / (1 + rows with the word)), as in TF-IDF; mild: the root of 1 + that."""
        found = np.zeros(1 << BITS, np.int64)
        rows = 0
        for block in blocks:
            found += np.bincount(block.features, minlength=1 << BITS)
            rows += block.num_rows
        rarity = np.log((1 + rows) / (1 + found)).astype(np.float32)
        mild = np.sqrt(1 + rarity)
        mild[words_of([FUNCTION_WORDS]).features] = 0.05
        return cls(rarity + np.float32(0.05), mild)

    def weighted(self, block: Block, *, mild: bool = False) -> Block:
        """The block with a weight for each word, rows scaled to length 1."""
        values = (self.mild if mild else self.weights)[block.features]
        return scaled(Block(block.rows, block.features, block.num_rows, values))


def words_of(questions: Sequence[str]) -> Block:
    """Each word of each question once."""
    return word_features(characters([q[:_CLIP].lower() for q in questions]), BITS)


@dataclass(frozen=True)
class Directions:
    """Where each word points: the leading right singular vectors of the sample's weights."""

    of_words: Floats  # [2 ** BITS, WIDTH or less]

    @classmethod
    def of(cls, block: Block, seed: int) -> Directions:
        """By a few products with random vectors; words of a single row point nowhere."""
        assert block.values is not None
        counts = np.bincount(block.features, minlength=1 << BITS)
        kept = counts[block.features] > 1
        used, features = np.unique(block.features[kept], return_inverse=True)
        rows, values = block.rows[kept], block.values[kept]
        width = min(WIDTH, block.num_rows, max(1, len(used)))
        found = np.random.default_rng(seed).standard_normal((len(used), width)).astype(np.float32)
        forth, back = np.argsort(rows, kind="stable"), np.argsort(features, kind="stable")
        for _ in range(_PRODUCTS if len(used) else 0):
            in_rows = _summed(found, features[forth], rows[forth], values[forth], block.num_rows)
            in_words = _summed(in_rows, rows[back], features[back], values[back], len(used))
            found = np.linalg.qr(in_words)[0]
        whole = np.zeros((1 << BITS, found.shape[1]), np.float32)
        whole[used] = found
        return cls(whole)

    def embed(self, block: Block) -> Floats:
        """[rows, WIDTH], of length 1; 0 for a row without a known word."""
        assert block.values is not None
        out = _summed(self.of_words, block.features, block.rows, block.values, block.num_rows)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def _summed(vectors: Floats, take: Ints, into: Ints, values: Floats, size: int) -> Floats:
    """out[into[i]] += vectors[take[i]] * values[i]; `into` never falls."""
    out = np.zeros((size, vectors.shape[1]), np.float32)
    for start in range(0, len(into), _CHUNK):
        part = slice(start, start + _CHUNK)
        first = np.flatnonzero(np.diff(into[part], prepend=-1))
        sums = np.add.reduceat(vectors[take[part]] * values[part, None], first, axis=0)
        out[into[part][first]] += sums  # what two parts share is summed up in two steps
    return out


def find_centres(points: Floats, num_clusters: int, seed: int) -> Floats:
    """Centres of length 1, found from far-apart beginnings; the biggest group comes first."""
    found: list[tuple[float, Floats]] = []
    for attempt in range(_RESTARTS if len(points) <= _RESTARTED_ROWS else 1):
        chance = np.random.default_rng([seed % 2**32, attempt])
        centres = _settled(points, _far_apart(points, num_clusters, chance))
        found.append((float(nearest(points, centres)[1].sum()), centres))
    _, centres = max(found, key=lambda each: each[0])
    sizes = np.bincount(nearest(points, centres)[0], minlength=len(centres))
    return centres[np.argsort(-sizes, kind="stable")]


def _settled(points: Floats, centres: Floats) -> Floats:
    """Centres moved to the middle of their groups until no row changes its group."""
    groups, _ = nearest(points, centres)
    for _ in range(_ROUNDS):
        centres = _means(points, groups, centres)
        before, (groups, _) = groups, nearest(points, centres)
        if np.array_equal(before, groups):
            break
    return centres


def _means(points: Floats, groups: Ints, centres: Floats) -> Floats:
    """The middle of each group, of length 1; a group without rows keeps its centre."""
    order = np.argsort(groups, kind="stable")
    present, first = np.unique(groups[order], return_index=True)
    sums = np.add.reduceat(points[order], first, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    moved = centres.copy()
    moved[present] = np.where(norms > 1e-9, sums / np.maximum(norms, 1e-9), centres[present])
    return moved


def nearest(points: Floats, centres: Floats) -> tuple[Ints, Floats]:
    """The number of the group of each row, and the cosine of the angle to its middle."""
    cosines = [points[at : at + _CHUNK] @ centres.T for at in range(0, len(points), _CHUNK)]
    groups = np.concatenate([part.argmax(axis=1) for part in cosines])
    return groups, np.concatenate([part.max(axis=1) for part in cosines])


def num_clusters_for(rows: int) -> int:
    """As many groups as people can look through: 22 for 1,000 rows, 70 for 10,000, 100 at most."""
    return int(min(100, max(1, round((rows / 2) ** 0.5))))


def effective_number(block: Block) -> float:
    """How many really different rows there are among these: exp of the entropy of similarities.

    Rows that share nothing count one each; equal rows count one together. It is the exponential of
    the entropy of the eigenvalues of their matrix of cosines, divided by the number of rows.
    """
    assert block.values is not None
    used, features = np.unique(block.features, return_inverse=True)
    dense = np.zeros((block.num_rows, max(1, len(used))), np.float32)
    dense[block.rows, features] = block.values
    empty = ~dense.any(axis=1)
    cosines = (dense @ dense.T).astype(np.float64)
    cosines[np.ix_(empty, empty)] = 1.0  # rows without a word are all alike
    shares = np.linalg.eigvalsh(cosines / block.num_rows)
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _far_apart(points: Floats, count: int, chance: np.random.Generator) -> Floats:
    """k-means++: each next beginning is a row, the likelier the farther it is from those before."""
    chosen = [int(chance.integers(len(points)))]
    distance = 1 - points @ points[chosen[0]]
    while len(chosen) < min(count, len(points)):
        weights = np.maximum(distance, 0).astype(np.float64) ** 2
        total = weights.sum()
        if total <= 1e-9:  # fewer different rows than groups
            break
        place = np.searchsorted(np.cumsum(weights), chance.random() * total)
        chosen.append(int(min(place, len(points) - 1)))
        distance = np.minimum(distance, 1 - points @ points[chosen[-1]])
    return points[chosen]
