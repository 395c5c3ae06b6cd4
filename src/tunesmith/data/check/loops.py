"""Texts that say the same again and again, as a model does that got stuck."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tunesmith.data.check.buffers import Bytes, Offsets, Strings, rows_of

SHORTEST = 12  # bytes: "hahahahahaha"; below, a repetition is a figure of speech
_LONGEST = 1 << 16  # bytes of a text that are looked at exactly
_REPEATS = 4
_COVERED = 0.6
_SAMPLES = 48
_PIECE = 8  # bytes
_ROWS_AT_ONCE = 256
_JITTER = np.random.default_rng(11).integers(0, 1 << 16, _SAMPLES)


def may_loop(texts: Strings) -> npt.NDArray[np.bool_]:
    """The rows in which pieces taken here and there are often the same; few without a loop."""
    data, offsets = rows_of(texts)
    likely = np.zeros(len(texts), np.bool_)
    rows = np.flatnonzero(np.diff(offsets) >= SHORTEST)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        likely[some] = _repeats(data, offsets, some)
    return likely


def is_loop(text: str) -> bool:
    """True when more than half of the text is one phrase, four times or more."""
    data = text.encode(errors="replace")[:_LONGEST]
    if len(data) < SHORTEST:
        return False
    return any(_looped_from(data, int(len(data) * place)) for place in (0.1, 0.3, 0.5, 0.7))


def _repeats(data: Bytes, offsets: Offsets, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """For each row, whether enough of its sampled pieces are equal."""
    pieces = np.ndarray((len(data) - _PIECE + 1,), np.uint64, data, strides=(1,))
    room = (offsets[rows + 1] - offsets[rows] - _PIECE + 1)[:, None]
    number = np.arange(_SAMPLES)
    spread = (number * room + (_JITTER * room >> 16)) // _SAMPLES
    values = pieces[offsets[rows][:, None] + np.where(room <= _SAMPLES, number % room, spread)]
    # In a short row each place is taken once; the numbers beyond are made to differ.
    values = np.where(number < room, values, number.astype(np.uint64) << np.uint64(56))
    values.sort(axis=1)
    equal = (values[:, 1:] == values[:, :-1]).sum(axis=1)
    return equal >= np.where(room[:, 0] < 24, 2, 4)


def _looped_from(data: bytes, start: int) -> bool:
    """Whether the phrase at `start` returns at once, and keeps returning for most of the text."""
    piece = data[start : start + min(_PIECE, len(data) // 3)]
    following = data.find(piece, start + 1)
    if following < 0 or not piece.strip():
        return False
    period = following - start
    values = np.frombuffer(data, np.uint8)
    length = _longest_run(values[period:] == values[:-period]) + period
    return length >= max(SHORTEST, _REPEATS * period, _COVERED * len(data))


def _longest_run(values: npt.NDArray[np.bool_]) -> int:
    """How many true values stand in a row at most."""
    stops = np.flatnonzero(~values)
    edges = np.concatenate([[-1], stops, [len(values)]])
    return int(np.diff(edges).max()) - 1
