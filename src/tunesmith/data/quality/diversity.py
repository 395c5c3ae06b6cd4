"""How different the questions of a version are. Read `explore` first.

Two passes over the rows: the first learns which words are rare and finds the groups, on a sample;
the second puts every row into a group and looks for near repetitions.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from tunesmith.data.check.duplicates import NearDuplicates, band_keys
from tunesmith.data.check.languages import LANGUAGES, language_of
from tunesmith.data.editing import rewrite
from tunesmith.data.quality import clusters
from tunesmith.data.quality.clusters import Directions, Floats, Words, nearest, words_of
from tunesmith.data.quality.measures import telling_words
from tunesmith.data.quality.texts import first_question
from tunesmith.data.quality.vectors import Block, Ints
from tunesmith.data.records import from_json
from tunesmith.data.stats import advice
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow, stored_rows
from tunesmith.data.tokenise import Progress

SHOWN = 10  # groups
_EXAMPLES = 3  # of each group
_JUDGED = 1000  # rows for the overall figure
_NAMED_BY = 100  # rows of a group whose words name it
_BATCH = 2048


@dataclass(frozen=True)
class Found:
    """The report, and for each row its group and the id of the row that it nearly repeats, or 0."""

    facts: dict[str, Any]
    groups: npt.NDArray[np.int32]
    same_as: Ints


@dataclass(frozen=True)
class Map:
    """What the sample has taught: which words are rare, where groups lie, how different all is."""

    words: Words
    directions: Directions
    centres: Floats
    effective: float  # number of really different rows ...
    judged: int  # ... among so many


def explore(
    version: Version, *, num_clusters: int | None = None, seed: int = 0, on_progress: Progress
) -> Found:
    """Group the rows, find near repetitions, and say what that means."""
    total = version.manifest.rows
    wanted = num_clusters or clusters.num_clusters_for(total)
    learned = _learn(version, wanted, seed, on_progress)
    ids = version.column("id")
    groups: list[Ints] = []
    languages = np.zeros(len(LANGUAGES), np.int64)
    shown = _Shown(len(learned.centres))
    same_as = np.zeros(total, np.int64)
    with (
        tempfile.TemporaryDirectory(prefix="tunesmith-") as folder,
        NearDuplicates(Path(folder)) as near,
    ):
        done = 0
        for rows in _batches(version):
            questions = [first_question(row.record) for row in rows]
            texts = pa.array(questions, pa.large_string())
            near.add(band_keys(texts))
            languages += np.bincount(language_of(texts), minlength=len(LANGUAGES))
            points = learned.directions.embed(learned.words.weighted(words_of(questions)))
            group, closeness = nearest(points, learned.centres)
            groups.append(group)
            shown.add(rows, questions, groups[-1], closeness)
            done += len(rows)
            on_progress("Grouping", done, total)
        for earlier, later in near.groups():
            same_as[later] = ids[earlier]
    found = np.concatenate(groups).astype(np.int32)
    facts = _facts(version, learned, found, same_as, languages, shown)
    return Found(facts, found, same_as)


def write_columns(
    catalog: Catalog, version: Version, found: Found, *, on_progress: Progress
) -> Version | None:
    """Rows with `cluster`, and `near_same_as`: null, or the id of an earlier row."""
    told = zip(found.groups.tolist(), found.same_as.tolist(), strict=True)

    def change(row: StoredRow) -> StoredRow:
        group, same = next(told)
        extra = {**row.extra, "cluster": group, "near_same_as": same or None}
        return row if extra == row.extra else row.with_extra(extra)

    operation = {"operation": "diversity", "clusters": found.facts["num_clusters"]}
    return rewrite(catalog, version, change, operation=operation, on_progress=on_progress)


# ---------------------------------------------------------------- the sample


def _learn(version: Version, num_clusters: int, seed: int, on_progress: Progress) -> Map:
    total = version.manifest.rows
    chance = np.random.default_rng(seed)
    size = min(total, clusters.SAMPLE)
    chosen = np.sort(chance.choice(total, size, replace=False))
    blocks: list[Block] = []
    start = 0
    for batch in version.batches(["record"], rows=_BATCH):
        here = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
        start += len(batch)
        if len(here):
            blocks.append(words_of(_questions(batch.take(here))))
        on_progress("Sampling", start, total)
    words = Words.of(blocks)
    joined = _joined(blocks)
    sample = words.weighted(joined)
    directions = Directions.of(sample, seed)
    points = directions.embed(sample)
    centres = clusters.find_centres(points, num_clusters, seed)
    judged = np.sort(chance.choice(size, min(size, _JUDGED), replace=False))
    effective = clusters.effective_number(_taken(words.weighted(joined, mild=True), judged))
    return Map(words, directions, centres, effective, len(judged))


def _questions(batch: Any) -> list[str]:
    texts: list[str] = batch["record"].to_pylist()
    return [first_question(from_json(orjson.loads(text))) for text in texts]


def _joined(blocks: list[Block]) -> Block:
    starts = np.cumsum([0, *(block.num_rows for block in blocks)])
    rows = np.concatenate([b.rows + s for b, s in zip(blocks, starts, strict=False)])
    return Block(rows, np.concatenate([block.features for block in blocks]), int(starts[-1]))


def _taken(block: Block, rows: Ints) -> Block:
    """Some rows of a block."""
    assert block.values is not None
    place = np.full(block.num_rows, -1, np.int64)
    place[rows] = np.arange(len(rows))
    kept = place[block.rows] >= 0
    return Block(place[block.rows][kept], block.features[kept], len(rows), block.values[kept])


def _batches(version: Version) -> Iterator[list[StoredRow]]:
    for batch in version.batches(rows=_BATCH):
        yield list(stored_rows([batch]))


class _Shown:
    """The most typical rows of each group, and the words of its first rows, which name it."""

    def __init__(self, num_groups: int) -> None:
        self._examples: list[list[tuple[float, int, str]]] = [[] for _ in range(num_groups)]
        self._words: list[Counter[str]] = [Counter() for _ in range(num_groups)]
        self._seen = [0] * num_groups

    def add(
        self, rows: list[StoredRow], questions: list[str], groups: Ints, closeness: Floats
    ) -> None:
        for at, group in enumerate(groups.tolist()):
            if self._seen[group] < _NAMED_BY:
                self._seen[group] += 1
                self._words[group].update(telling_words(questions[at][:200]))
        order = np.lexsort((-closeness, groups))
        ranks = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
        for at in order[ranks < _EXAMPLES].tolist():
            best = self._examples[int(groups[at])]
            best.append((-float(closeness[at]), rows[at].id, questions[at][:200]))
            best.sort()
            del best[_EXAMPLES:]

    def examples(self, group: int) -> list[dict[str, Any]]:
        return [{"id": number, "question": text} for _, number, text in self._examples[group]]

    def words(self, group: int, limit: int = 5) -> list[str]:
        """Words that many rows of this group have and few groups have."""
        spread = Counter(word for words in self._words for word in words)
        scores = {
            word: count / max(1, self._seen[group]) / spread[word] ** 0.5
            for word, count in self._words[group].items()
            if count > 1
        }
        return [w for w, _ in sorted(scores.items(), key=lambda s: (-s[1], s[0]))[:limit]]


# ---------------------------------------------------------------- the report


def _facts(
    version: Version,
    learned: Map,
    groups: npt.NDArray[np.int32],
    same_as: Ints,
    languages: Ints,
    shown: _Shown,
) -> dict[str, Any]:
    rows = len(groups)
    sizes = np.bincount(groups, minlength=len(learned.centres))
    biggest = [int(group) for group in np.argsort(-sizes, kind="stable")[:SHOWN] if sizes[group]]
    repeated = int((same_as > 0).sum())
    value = learned.effective / learned.judged
    told: dict[str, Any] = {
        "subject": version.label,
        "rows": rows,
        "diversity": {
            "value": round(value, 3),
            "effective": round(learned.effective, 1),
            "judged": learned.judged,
            "meaning": (
                f"of {learned.judged:,} rows picked at random, as many as "
                f"{learned.effective:,.0f} speak of different things (1.00: no two share a word "
                "that matters; near 0: all say the same)"
            ),
        },
        "near_same": {"rows": repeated, "share": round(repeated / rows, 4)},
        "languages": {
            name: round(int(count) / rows, 4)
            for name, count in zip(LANGUAGES, languages, strict=True)
            if count
        },
        "num_clusters": int((sizes > 0).sum()),
        "even_clusters": round(_effective(sizes), 1),
        "clusters": [
            {
                "cluster": group,
                "rows": int(sizes[group]),
                "share": round(int(sizes[group]) / rows, 4),
                "words": shown.words(group),
                "examples": shown.examples(group),
            }
            for group in biggest
        ],
    }
    told["advice"] = _advice(told)
    return told


def _effective(sizes: Ints) -> float:
    """As if the rows lay in so many groups of equal size."""
    shares = sizes[sizes > 0] / sizes.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _advice(facts: dict[str, Any]) -> list[str]:
    """What the figures suggest, the number of rows first."""
    rows, same, value = facts["rows"], facts["near_same"], facts["diversity"]["value"]
    told = [advice(rows)]
    if same["share"] >= 0.05:
        different = rows - same["rows"]
        told.append(
            f"{same['rows']:,} questions nearly repeat another: you have about {different:,} "
            "different ones. Where the answers are alike too, keep one of each: --write, then "
            'data keep --where "near_same_as == None".'
        )
    largest = facts["clusters"][0] if facts["clusters"] else None
    if largest and facts["num_clusters"] > 3 and largest["share"] > 0.25:
        told.append(
            f"One group holds {largest['share']:.0%} of the rows: the model will lean towards it. "
            "Add rows of other kinds, or keep fewer of this one."
        )
    if value < 0.2:
        told.append(
            "The questions resemble each other. That suits one narrow task; for anything wider, "
            "other topics and other wordings (`data augment`) help more than more of the same."
        )
    return told
