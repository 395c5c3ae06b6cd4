"""Problems that the text of a row shows by itself, found in whole blocks of rows.

`find_in_texts` is the way in. One pass of RE2 over a block keeps the few rows that may hold
something; only those are looked at with the exact - and slow - patterns, one finding at a time.
`excerpt` shows what was found, `mended` repairs what can be repaired without a doubt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tunesmith.data.check import markup, mojibake, personal, placeholders
from tunesmith.data.check.buffers import Strings, pc, rows_of
from tunesmith.data.check.languages import ScriptCounts, script_counts
from tunesmith.data.check.loops import is_loop, may_loop

Mask = npt.NDArray[np.bool_]
Span = tuple[int, int]
EXCERPT_LENGTH = 80  # characters
# The findings that `mended` can mend, in the order in which to do it: removing control characters
# from garbled text first would destroy what the way back needs.
MENDABLE = ("mojibake", "control_characters", "broken_html", "surrounding_whitespace")


@dataclass(frozen=True)
class Texts:
    """The texts of a block, one entry a row; `whole` holds everything, the other two its turns."""

    questions: Strings
    answers: Strings
    whole: Strings


@dataclass(frozen=True)
class _Finder:
    """How to find one thing: the RE2 patterns match wherever `find` does.

    `likely` is looked for in all rows, as one pattern of all findings; `narrow`, which may be more
    exact, only in the rows where that was found.
    """

    likely: str
    find: Callable[[str], Span | None]
    narrow: str = ""


# Characters that no editor shows. A few scripts need some of them: Arabic and Hebrew the marks of
# direction, Arabic, Indic scripts and emoji the joiners.
_UNSEEN = "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x84\\x86-\\x9f\u2060\u202d\u202e\ufeff"
_MARKS = "\u200e\u200f\u202a-\u202c\u2066-\u2069"
_STRAY_JOINER = (
    "(?<![\u0600-\u0fff\u1000-\u109f\u1780-\u17ff\ufe0f\u2190-\u2bff\U0001f000-\U0001faff])"
    "[\u200c\u200d]"
)
# Thai, Lao, Burmese and Khmer write no spaces, and mark where a line may break.
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_STRAY_SPACE = f"(?<![{_NO_SPACES}])\u200b(?![{_NO_SPACES}])"
_CONTROL = re.compile(f"[{_UNSEEN}{_MARKS}]|{_STRAY_JOINER}|{_STRAY_SPACE}")
_CONTROL_RIGHT_TO_LEFT = re.compile(f"[{_UNSEEN}]|{_STRAY_JOINER}|{_STRAY_SPACE}")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_CONTROL_LIKELY = (
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}\x{200b}-\x{200f}\x{202a}-\x{202e}"
    r"\x{2060}\x{2066}-\x{2069}\x{feff}]"
)


def _find_control(text: str) -> Span | None:
    found = _control_pattern(text).search(text)
    return found.span() if found else None


def _control_pattern(text: str) -> re.Pattern[str]:
    return _CONTROL_RIGHT_TO_LEFT if _RIGHT_TO_LEFT.search(text) else _CONTROL


# Commands of LaTeX whose backslash was read as an escape: \\frac as a form feed and "rac".
_EATEN = (
    ("\x07", "a", "lpha|pprox|ngle|st"),
    ("\x08", "b", "egin|eta|ar|inom|oldsymbol|oxed|ullet|mod|ig[lr]?|igcup|igcap|ackslash|f"),
    ("\x0b", "v", "ec|ar(?:epsilon|phi|theta|nothing)|ee|dots"),
    ("\x0c", "f", "rac|orall|lat"),
)
_COMMANDS = tuple(
    (re.compile(f"{eaten}(?=(?:{names})(?![A-Za-z]))"), "\\\\" + letter)
    for eaten, letter, names in _EATEN
)
_BREAKS = re.compile(r"\x0b|(?<=\S)\x0c(?=\S)")  # of a line in Word, and of a page


def _without_control(text: str) -> str:
    for pattern, command in _COMMANDS:
        text = pattern.sub(command, text)
    return _control_pattern(text).sub("", _BREAKS.sub("\n", text))


_FINDERS = {
    "placeholder": _Finder(placeholders.LIKELY, placeholders.find_placeholder),
    "mojibake": _Finder(mojibake.LIKELY, mojibake.find_mojibake),
    "control_characters": _Finder(_CONTROL_LIKELY, _find_control),
    "broken_html": _Finder(markup.LIKELY, markup.find_markup),
    "personal_phone": _Finder(personal.NUMBER_LIKE, personal.find_phone),
    "personal_email": _Finder(personal.EMAIL_LIKE, personal.find_email),
    "personal_id_number": _Finder(personal.NUMBER_LIKE, personal.find_id_number, personal.ID_LIKE),
    "personal_bank_card": _Finder(
        personal.NUMBER_LIKE, personal.find_bank_card, personal.CARD_LIKE
    ),
    "personal_ip": _Finder(personal.ADDRESS_LIKE, personal.find_ip),
}
CODES = (*_FINDERS, "answer_repeats_question", "meaningless")
_ANYTHING = "|".join(dict.fromkeys(finder.likely for finder in _FINDERS.values()))


def find_in_texts(texts: Texts, counts: ScriptCounts | None = None) -> dict[str, Mask]:
    """By finding, the rows that have it. Findings that no row has are left out.

    `counts` are the script counts of the whole rows, where they are known.
    """
    counts = counts or script_counts(*rows_of(texts.whole))
    found = _by_pattern(texts.whole)
    for row in _rows_with(_empty_cells(texts.answers)):
        found.setdefault("placeholder", np.zeros(len(texts.whole), np.bool_))[row] = True
    found["answer_repeats_question"] = _repeated_questions(texts)
    found["meaningless"] = _meaningless(texts, counts)
    return {code: mask for code, mask in found.items() if mask.any()}


def stands_in(code: str, text: str) -> bool:
    """Whether this one text has what a pattern tells; False for findings about a whole row."""
    finder = _FINDERS.get(code)
    return finder is not None and finder.find(text) is not None


def excerpt(code: str, text: str) -> str:
    """At most 80 characters around what was found, on one line, unseen characters escaped."""
    finder = _FINDERS.get(code)
    start, end = (finder.find(text) if finder else None) or (0, 0)
    room = EXCERPT_LENGTH - len("......")
    # The text before gets a third of the room that the finding leaves, the rest goes behind it.
    core = _visible(text[start : min(end, start + room)])[:room]
    before = _visible(text[max(0, start - room) : start])
    shown_before = before[max(0, len(before) - (room - len(core)) // 3) :]
    after = _visible(text[end : end + room]) if end - start <= room else ""
    shown_after = after[: room - len(core) - len(shown_before)]
    left = "..." if len(shown_before) < len(before) or start > room else ""
    right = "..." if start + len(core) < end or len(shown_after) < len(text) - end else ""
    return f"{left}{shown_before}{core}{shown_after}{right}"


def mended(code: str, text: str) -> str | None:
    """The text without this problem; None where there is none or no mend is certain.

    Codes are those of MENDABLE; apply them in that order.
    """
    match code:
        case "mojibake":
            return mojibake.mend_mojibake(text)
        case "control_characters":
            garbled = mojibake.find_mojibake(text) is not None
            clean = text if garbled else _without_control(text)
        case "broken_html":
            return markup.mend_markup(text)
        case "surrounding_whitespace":
            clean = text.strip()
        case _:
            return None
    return clean if clean != text else None


def _by_pattern(whole: Strings) -> dict[str, Mask]:
    """The findings that a pattern tells."""
    rows = _rows_with(pc.match_substring_regex(whole, _ANYTHING))
    suspects = whole.take(pa.array(rows))
    found: dict[str, Mask] = {}
    matches: dict[str, Any] = {}
    for code, finder in _FINDERS.items():
        pattern = finder.narrow or finder.likely
        if pattern not in matches:
            matches[pattern] = pc.match_substring_regex(suspects, pattern)
        likely = matches[pattern]
        texts: list[str] = suspects.filter(likely).to_pylist()
        hits = [finder.find(text) is not None for text in texts]
        found[code] = np.zeros(len(whole), np.bool_)
        found[code][rows[_rows_with(likely)]] = hits
    return found


def _rows_with(matches: Any) -> npt.NDArray[np.int64]:
    """The numbers of the rows that are true; null counts as false."""
    return pc.indices_nonzero(matches).to_numpy(zero_copy_only=False).astype(np.int64)


def _lengths(texts: Strings) -> npt.NDArray[np.int64]:
    """The bytes of each row."""
    return np.diff(rows_of(texts)[1])


def _empty_cells(answers: Strings) -> Any:
    """Answers that are nothing but what an empty cell leaves behind."""
    short = _lengths(answers) <= 20
    cells = pc.if_else(pa.array(short), answers, pa.scalar("", answers.type))
    names = pa.array(placeholders.EMPTY_CELLS, answers.type)
    return pc.is_in(pc.ascii_lower(pc.utf8_trim_whitespace(cells)), names)


def _repeated_questions(texts: Texts) -> Mask:
    """Answers that are the question, or nearly all of it, or it and little more."""
    questions, answers = _lengths(texts.questions), _lengths(texts.answers)
    # Without white space the shorter text has 80% of the longer; with it, at least half.
    alike = (np.minimum(questions, answers) * 2 >= np.maximum(questions, answers)) & (answers > 0)
    rows = np.flatnonzero(alike)
    chosen = pa.array(rows)
    pairs = zip(
        texts.questions.take(chosen).to_pylist(),
        texts.answers.take(chosen).to_pylist(),
        strict=True,
    )
    repeated = np.zeros(len(questions), np.bool_)
    repeated[rows] = [_repeats(question, answer) for question, answer in pairs]
    return repeated


def _repeats(question: str, answer: str) -> bool:
    shorter, longer = sorted((_plain(question), _plain(answer)), key=len)
    return bool(shorter) and len(shorter) >= 0.8 * len(longer) and shorter in longer


def _plain(text: str) -> str:
    """The text without what does not matter to its meaning: case, white space, marks at the end."""
    return "".join(text.lower().split()).strip(".,;:!?'\"。，；：！？“”‘’…")


def _meaningless(texts: Texts, counts: ScriptCounts) -> Mask:
    """Rows of hardly any letters, answers of marks alone, and phrases that repeat without end."""
    signs = counts["sign"]
    letters = sum(counts.values()) - counts["unseen"] - signs
    found = np.zeros(len(texts.whole), np.bool_)
    likely = np.flatnonzero((signs > 0) & (letters * 4 <= signs))
    chosen = pa.array(likely)
    asked = texts.questions.take(chosen).to_pylist()
    said = texts.whole.take(chosen).to_pylist()
    # A list of numbers is a fine answer to a question in words.
    found[likely] = [
        _has_no_words(text) and (not question or _has_no_words(question))
        for question, text in zip(asked, said, strict=True)
    ]
    found[_rows_with(pc.match_substring_regex(texts.answers, r"^[\s\p{P}]*\p{P}{3,}\s*$"))] = True
    for spoken in (texts.answers, texts.whole):
        looping = np.flatnonzero(may_loop(spoken) & ~found)
        candidates = spoken.take(pa.array(looping)).to_pylist()
        found[looping] = [is_loop(text) for text in candidates]
        if not (_lengths(texts.answers) == 0).any():
            break
    return found


def _has_no_words(text: str) -> bool:
    """True for digits and marks alone; a sum such as 12 + 30 = 42 is a fair question."""
    signs = "".join(text[:10_000].split())
    letters = len(re.sub(r"[\W\d_]+", "", signs))
    return 20 * letters < len(signs) and not re.search(r"\d[-+*/×÷^=<>%]\d|=", signs)


def _visible(text: str) -> str:
    """One line, with an escape for each character that a terminal would not show."""
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    return character if character.isprintable() else character.encode("unicode_escape").decode()
