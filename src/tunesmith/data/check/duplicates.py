"""Rows that say the same: exactly, or nearly, in texts of any language.

Exact duplicates have equal digests. Near duplicates share most of their shingles (pieces of eight
bytes, in lower case); how many, MinHash estimates from 64 small numbers a row. Sixteen keys of four
such numbers each find the pairs: rows that agree in no key are never compared.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from tunesmith.data.check.buffers import Bytes, Offsets, Strings, rows_of

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

BANDS = 16
SIMILARITY = 0.8  # estimated Jaccard similarity from which rows are near duplicates
_VALUES = 4  # 16-bit values of a signature in each 64-bit key
_BINS = BANDS * _VALUES
_SHINGLE = 8  # bytes: a word and a half of English, nearly three Chinese characters
_CHUNK = 1 << 15  # shingles at once: all steps stay in the processor's cache
_ROWS_AT_ONCE = 1 << 22  # compared at once, in parts of _PAIRS_AT_ONCE: bounds the memory
_PAIRS_AT_ONCE = 1 << 18
_NONE = np.iinfo(np.uint64).max
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd; spreads a shingle over all bits of its product
_MIX = np.uint64(0xC2B2AE3D27D4EB4F)
_BLANKS = bytes.maketrans(b"\t\n\r\v\f", b"     ")
_LOWER = bytes(range(256)).lower().translate(_BLANKS)


def exact_duplicates(digests: Keys) -> tuple[Rows, Rows]:
    """The rows that repeat an earlier one, in order: (the first of its kind, the row itself)."""
    order, starts, later = _runs(digests)
    first, repeated = order[_start_of(later, starts)], order[later]
    by_row = np.argsort(repeated)
    return first[by_row], repeated[by_row]


def leaking(training: Keys, validation: Keys) -> tuple[Rows, Rows]:
    """By digests, the validation rows that are trained on: (first training row, validation row)."""
    known, first = np.unique(training, return_index=True)
    if len(known) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    places = np.minimum(np.searchsorted(known, validation), len(known) - 1)
    rows = np.flatnonzero(known[places] == validation)
    return first[places[rows]], rows


def band_keys(texts: Strings) -> Keys:
    """[N, BANDS] keys of MinHash signatures; all 0 for a row without text.

    The keys hold the whole signature: see them as 16-bit numbers, and the share of equal ones in
    two rows estimates the Jaccard similarity of their shingles.
    """
    data, offsets = _collapsed(*rows_of(texts), _LOWER)
    minima = _minima(data, offsets)
    filled = minima != _NONE
    some = np.flatnonzero(~filled.all(axis=1) & filled.any(axis=1))
    if len(some):
        minima[some] = _borrowed(minima[some], filled[some])
    values = ((minima ^ (minima >> np.uint64(29))) * _MIX) >> np.uint64(48)
    values[~filled.any(axis=1)] = 0
    return values.astype(np.uint16).view(np.uint64)


class NearDuplicates:
    """Finds near duplicates among any number of rows, keeping their keys in files of a folder.

    Identical rows are near duplicates too: whoever has removed or counted them by their digests
    leaves them out. Memory grows by about 50 bytes a row while `groups` runs, not before.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"band-{band:02d}.keys" for band in range(BANDS)]
        self._files = [path.open("wb") for path in self._paths]
        self._num_rows = 0

    def add(self, keys: Keys) -> None:
        """The keys of the next rows, as `band_keys` returns them."""
        for band, file in enumerate(self._files):
            file.write(np.ascontiguousarray(keys[:, band]).data)
        self._num_rows += len(keys)

    def groups(
        self, on_band: Callable[[int, int], None] = lambda _done, _total: None
    ) -> Iterator[tuple[int, int]]:
        """(earlier row, later row) of each row that nearly repeats an earlier one, in order."""
        for file in self._files:
            file.flush()
        partners = np.full(self._num_rows, -1, np.int64)
        for number, path in enumerate(self._paths, start=1):
            self._search(_read(path), partners)
            on_band(number, len(self._paths))
        for row in np.flatnonzero(partners >= 0).tolist():
            yield int(partners[row]), row

    def absorb(self, other: NearDuplicates) -> None:
        """Take over all keys of another set of rows, behind those there are."""
        for file, theirs, path in zip(self._files, other._files, other._paths, strict=True):
            theirs.flush()
            with path.open("rb") as keys:
                shutil.copyfileobj(keys, file)
        self._num_rows += other._num_rows

    def across(self, border: int) -> Rows:
        """For each of the rows before `border` a similar one from there on, or -1."""
        for file in self._files:
            file.flush()
        partners = np.full(border, -1, np.int64)
        for path in self._paths:
            keys = _read(path)
            order, starts, _ = _runs(keys)
            near = np.flatnonzero((order < border) & (keys[order] != 0))
            run = np.searchsorted(starts, near, side="right") - 1
            ends = np.append(starts[1:], len(order))[run]
            # Within a run rows lie in order: behind those before the border are all the others.
            beyond = np.add.reduceat(order >= border, starts, dtype=np.int64)[run]
            for other in (ends - beyond, ends - 1):
                alone = (beyond > 0) & (partners[order[near]] < 0)
                mine, theirs = order[near[alone]], order[other[alone]]
                similar = self._similar(theirs, mine)
                partners[mine[similar]] = theirs[similar]
        return partners

    def close(self) -> None:
        """Remove the files."""
        for file, path in zip(self._files, self._paths, strict=True):
            file.close()
            path.unlink(missing_ok=True)

    def __enter__(self) -> NearDuplicates:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _search(self, keys: Keys, partners: Rows) -> None:
        """Give rows without a partner one with the same key, if it is similar.

        Each is compared with the first row of its bucket and with the one before it: comparing all
        would take forever where thousands share a phrase.
        """
        order, starts, repeats = _runs(keys)
        repeats = repeats[keys[order[repeats]] != 0]  # rows without text
        del keys
        for begin in range(0, len(repeats), _ROWS_AT_ONCE):
            later = repeats[begin : begin + _ROWS_AT_ONCE]
            for other in (_start_of(later, starts), later - 1):
                alone = partners[order[later]] < 0
                earlier, row = order[other[alone]], order[later[alone]]
                similar = self._similar(earlier, row)
                partners[row[similar]] = earlier[similar]

    def _similar(self, earlier: Rows, later: Rows) -> npt.NDArray[np.bool_]:
        """Which of the pairs have signatures that agree in enough values."""
        equal = np.zeros(len(later), np.uint8)
        for path in self._paths if len(later) else ():
            keys = _read(path)
            for start in range(0, len(later), _PAIRS_AT_ONCE):
                part = slice(start, start + _PAIRS_AT_ONCE)
                values = (keys[earlier[part]] ^ keys[later[part]]).view(np.uint16)
                same = (values == 0).reshape(-1, _VALUES)
                equal[part] += same.sum(axis=1, dtype=np.uint8)
        return equal >= SIMILARITY * _BINS


def _runs(keys: Keys) -> tuple[Rows, Rows, Rows]:
    """The order that sorts the keys, the places in it of new keys, and those of repeated ones.

    For [7, 5, 7, 7]: order [1, 0, 2, 3]; new ones at [0, 1]; repeated ones at [2, 3].
    """
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    new = np.ones(len(keys), np.bool_)
    new[1:] = in_order[1:] != in_order[:-1]
    del in_order
    return order, np.flatnonzero(new), np.flatnonzero(~new)


def _start_of(places: Rows, starts: Rows) -> Rows:
    """Where the run of equal keys begins in which each place lies."""
    return starts[np.searchsorted(starts, places, side="right") - 1]


def _read(path: Path) -> Keys:
    return np.fromfile(path, np.uint64)


def _collapsed(data: Bytes, offsets: Offsets, table: bytes) -> tuple[Bytes, Offsets]:
    """Each byte as the table says, then each run of spaces in a row as one space."""
    plain = np.frombuffer(data.tobytes().translate(table), np.uint8)
    blank = plain == ord(" ")
    extra = blank[1:] & blank[:-1]
    inner = offsets[(offsets > 0) & (offsets < len(data))]
    extra[inner - 1] = False  # a row's first space follows another row's last
    places = np.flatnonzero(extra) + 1
    if len(places) == 0:
        return plain, offsets
    kept = np.ones(len(plain), np.bool_)
    kept[places] = False
    return plain[kept], offsets - np.searchsorted(places, offsets)


def _minima(data: Bytes, offsets: Offsets) -> Keys:
    """[N, _BINS] the least hash of each row's shingles in each bin; _NONE in an empty one."""
    num_rows = len(offsets) - 1
    # The last shingles of a row would reach into the next one: they go to a row of their own.
    slots = np.full((num_rows + 1) * _BINS, _NONE, np.uint64)
    edges = np.empty(2 * num_rows + 1, np.int64)
    edges[0::2], edges[1::2] = offsets, np.maximum(offsets[1:] - _SHINGLE + 1, offsets[:-1])
    owners = np.full(2 * num_rows, num_rows * _BINS, np.int64)
    owners[0::2] = np.arange(num_rows) * _BINS
    shingles = _shingles(data)
    for start in range(0, len(data), _CHUNK):
        end = min(start + _CHUNK, len(data))
        some = slice(np.searchsorted(edges, start, "right") - 1, np.searchsorted(edges, end))
        parts = np.diff(np.clip(edges[some.start : some.stop + 1], start, end))
        _lower(slots, np.repeat(owners[some], parts), shingles[start:end] * _SPREAD)
    lengths = np.diff(offsets)
    short = np.flatnonzero((lengths > 0) & (lengths < _SHINGLE))
    rest = np.uint64(8) * (np.uint64(_SHINGLE) - lengths[short].astype(np.uint64))
    _lower(slots, short * _BINS, (shingles[offsets[short]] << rest) * _SPREAD)
    return slots.reshape(-1, _BINS)[:-1]


def _shingles(data: Bytes) -> Keys:
    """The eight bytes from each place on as one number."""
    padded = np.concatenate([data, np.zeros(_SHINGLE, np.uint8)])
    return np.ndarray((len(data),), np.uint64, padded, strides=(1,))


def _lower(slots: Keys, owners: Rows, hashes: Keys) -> None:
    """Let each hash lower the bin of its owner that its first bits name."""
    bins = (hashes >> np.uint64(64 - _BINS.bit_length() + 1)).astype(np.int64)
    np.minimum.at(slots, owners + bins, hashes)


def _borrowed(minima: Keys, filled: npt.NDArray[np.bool_]) -> Keys:
    """Empty bins filled from the next full one, going round, and told apart by the distance."""
    around = np.concatenate([filled, filled], axis=1)
    bins = np.where(around, np.arange(2 * _BINS), 2 * _BINS)
    following = np.minimum.accumulate(bins[:, ::-1], axis=1)[:, ::-1][:, :_BINS]
    distance = (following - np.arange(_BINS)).astype(np.uint64)
    return np.take_along_axis(minima, following % _BINS, axis=1) + distance * _MIX
