"""The language of each row, told by its script: fast enough to run on every row.

A row's script is that of most of its letters. Scripts that several languages share get one name:
'latin' stands for English and its relatives, 'ru' for every language in Cyrillic letters.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tunesmith.data.check.buffers import Bytes, Offsets, Strings, rows_of

LANGUAGES: tuple[str, ...] = ("zh", "latin", "ja", "ko", "ru", "ar", "hi", "th", "other", "none")
SAMPLED_BYTES = 96  # looked at in each row; a shorter row is looked at whole

_SCRIPTS = (
    *("unseen", "sign", "han", "latin", "kana", "hangul", "cyrillic"),
    *("arabic", "devanagari", "thai", "other"),
)
# First byte, first and last second byte: a character's first two bytes in UTF-8 tell its script.
_RANGES: tuple[tuple[str, range, int, int], ...] = (
    ("latin", range(0xC3, 0xCB), 0x80, 0xBF),
    ("other", range(0xCE, 0xD0), 0x80, 0xBF),  # Greek
    ("cyrillic", range(0xD0, 0xD4), 0x80, 0xBF),
    ("cyrillic", range(0xD4, 0xD5), 0x80, 0xAF),
    ("other", range(0xD5, 0xD8), 0x80, 0xBF),  # Armenian, Hebrew
    ("arabic", range(0xD8, 0xDC), 0x80, 0xBF),
    ("other", range(0xDC, 0xE0), 0x80, 0xBF),
    ("other", range(0xE0, 0xE2), 0x80, 0xBF),
    ("devanagari", range(0xE0, 0xE1), 0xA4, 0xA5),
    ("thai", range(0xE0, 0xE1), 0xB8, 0xB9),
    ("hangul", range(0xE1, 0xE2), 0x84, 0x87),
    ("latin", range(0xE1, 0xE2), 0xBA, 0xBB),  # Vietnamese
    ("kana", range(0xE3, 0xE4), 0x81, 0x83),
    ("han", range(0xE3, 0xE4), 0x90, 0xBF),
    ("han", range(0xE4, 0xEA), 0x80, 0xBF),
    ("other", range(0xEA, 0xEB), 0x80, 0xAF),
    ("hangul", range(0xEA, 0xEB), 0xB0, 0xBF),
    ("hangul", range(0xEB, 0xED), 0x80, 0xBF),
    ("hangul", range(0xED, 0xEE), 0x80, 0x9E),
    ("han", range(0xEF, 0xF0), 0xA4, 0xAB),
    ("han", range(0xF0, 0xF1), 0xA0, 0xAF),
)


def _script_table() -> npt.NDArray[np.uint8]:
    """The script of a character by its first two bytes: first + 256 * second."""
    table = np.full((256, 256), _SCRIPTS.index("sign"), np.uint8)  # [second, first]
    table[:, 0x80:0xC0] = _SCRIPTS.index("unseen")  # in the middle of a character
    for blank in b" \t\n\r\v\f":
        table[:, blank] = _SCRIPTS.index("unseen")
    for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        table[:, [letter, letter + 32]] = _SCRIPTS.index("latin")
    for script, firsts, low, high in _RANGES:
        table[low : high + 1, firsts.start : firsts.stop] = _SCRIPTS.index(script)
    return table.reshape(-1)


_TABLE = _script_table()
ScriptCounts = dict[str, npt.NDArray[np.int64]]
_ROWS_AT_ONCE = 128  # few enough that all steps stay in the processor's cache
# Where in its share of the row each sample lies: not evenly, or a text with a period would fool it.
_JITTER = np.random.default_rng(7).integers(0, 1 << 16, SAMPLED_BYTES)


def language_of(texts: Strings, counts: ScriptCounts | None = None) -> npt.NDArray[np.uint8]:
    """For each row, the place of its language in LANGUAGES; `counts` where they are known."""
    counts = counts or script_counts(*rows_of(texts))
    han, kana = counts["han"], counts["kana"]
    # One Chinese character says about as much as three Latin letters.
    shares = np.stack(
        [
            *(3 * han + 2 * kana, 2 * counts["hangul"], counts["latin"], counts["cyrillic"]),
            *(counts["arabic"], counts["devanagari"], counts["thai"], counts["other"]),
        ]
    )
    names = ("zh", "ko", "latin", "ru", "ar", "hi", "th", "other")
    places = np.array([LANGUAGES.index(name) for name in names], np.uint8)
    languages = places[shares.argmax(axis=0)]
    # Japanese mixes kana with Chinese characters; Chinese only quotes a word now and then.
    japanese = (languages == LANGUAGES.index("zh")) & (kana * 8 > han)
    languages[japanese] = LANGUAGES.index("ja")
    languages[shares.max(axis=0) == 0] = LANGUAGES.index("none")
    return languages


def script_counts(data: Bytes, offsets: Offsets) -> ScriptCounts:
    """By script, the letters among the sampled characters of each row; 'sign' counts the rest."""
    by_row = np.empty((len(offsets) - 1, len(_SCRIPTS)), np.int64)
    for start in range(0, len(by_row), _ROWS_AT_ONCE):
        some = offsets[start : start + _ROWS_AT_ONCE + 1]
        by_row[start : start + len(some) - 1] = _counts(data, some)
    return {script: by_row[:, place] for place, script in enumerate(_SCRIPTS)}


def _counts(data: Bytes, offsets: Offsets) -> npt.NDArray[np.int64]:
    row_of_sample, places = _samples(offsets)
    first = data[places]
    second = data[np.minimum(places + 1, max(len(data) - 1, 0))]
    scripts = _TABLE[first + (second.astype(np.uint16) << 8)]
    slots = row_of_sample * len(_SCRIPTS) + scripts
    counts = np.bincount(slots, minlength=(len(offsets) - 1) * len(_SCRIPTS))
    return counts.reshape(-1, len(_SCRIPTS))


def _samples(offsets: Offsets) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The row and the place of each byte to look at."""
    lengths = np.diff(offsets)
    taken = np.minimum(lengths, SAMPLED_BYTES)
    rows = np.repeat(np.arange(len(lengths)), taken)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(taken) - taken, taken)
    length = lengths[rows]
    spread = (number * length + (_JITTER[number] * length >> 16)) // SAMPLED_BYTES
    return rows, offsets[rows] + np.where(length <= SAMPLED_BYTES, number, spread)
