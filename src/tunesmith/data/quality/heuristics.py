"""Quality by named reasons: each takes a share of the quality away, and all of them are told.

A row begins with 1. A reason with a penalty of 0.5 leaves half of it, another one half of that. The
reasons err: a short answer may be the best one, a poem repeats itself. Read before you remove.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tunesmith.data.check.rows import wrong_in
from tunesmith.data.check.texts import find_in_texts
from tunesmith.data.quality.measures import Measures, measure
from tunesmith.data.quality.texts import Pair, as_texts, pairs_of
from tunesmith.data.store.rows import StoredRow

# What each reason takes away. The first ones are findings of `data check`.
PENALTIES: dict[str, float] = {
    "meaningless": 0.8,
    "mojibake": 0.6,
    "placeholder": 0.6,
    "answer_repeats_question": 0.6,
    "broken_html": 0.2,
    "control_characters": 0.1,
    "wrong_turns": 0.3,  # roles out of order, empty turns, tool calls that do not parse
    "empty_answer": 0.9,
    "short_answer": 0.1,
    "short_question": 0.1,
    "few_letters": 0.4,
    "capitals_only": 0.3,
    "repeats_itself": 0.6,
    "stops_in_mid_sentence": 0.35,
    "no_sentence_marks": 0.2,
    "sentences_mixed_up": 0.5,
    "shares_no_word_with_question": 0.2,
}
REASONS = tuple(PENALTIES)
Bits = npt.NDArray[np.uint32]
_FINDINGS = REASONS[: REASONS.index("wrong_turns")]
_NO_MATTER = ("no_final_answer", "surrounding_space", "no_trained_turn")


def reasons_of_rows(rows: Sequence[StoredRow]) -> Bits:
    """For each row its reasons, as bits in the order of REASONS."""
    pairs = pairs_of(rows)
    bits = np.zeros(len(rows), np.uint32)
    for name, mask in find_in_texts(as_texts(pairs)).items():
        if name in _FINDINGS:
            bits[mask] |= _bit(name)
    for at, (row, pair) in enumerate(zip(rows, pairs, strict=True)):
        for name in _reasons(pair, measure(*pair)):
            bits[at] |= _bit(name)
        wrong = wrong_in(row.record).keys() - set(_NO_MATTER)
        if wrong:
            bits[at] |= _bit("wrong_turns")
        if _calls_tools(row):  # its answer is a call, which is no prose
            bits[at] &= ~_bit("empty_answer")
    return bits


def quality_of(bits: Bits) -> npt.NDArray[np.float32]:
    """What the reasons leave of 1."""
    quality = np.ones(len(bits), np.float32)
    for name, penalty in PENALTIES.items():
        quality[(bits & _bit(name)) > 0] *= 1 - penalty
    return np.round(quality, 3)


def names_of(bits: int) -> list[str]:
    """The reasons behind the bits of one row."""
    return [name for number, name in enumerate(REASONS) if bits >> number & 1]


def _bit(name: str) -> np.uint32:
    return np.uint32(1 << REASONS.index(name))


def _reasons(pair: Pair, facts: Measures) -> list[str]:
    question, answer = pair
    if not answer.strip():
        return ["empty_answer"]
    long = facts.answer_width >= 60
    told = {
        "short_answer": facts.answer_width < 8,
        "short_question": bool(question) and facts.question_width < 4,
        "few_letters": facts.letters < 0.5 and facts.answer_width >= 12,
        "capitals_only": facts.capitals > 0.6 and facts.answer_width >= 40 and facts.letters > 0.5,
        "repeats_itself": _repeats(answer, facts),
        "stops_in_mid_sentence": long and facts.ends_open > 0,
        "no_sentence_marks": facts.answer_width > 240 and facts.marks == 0 and "\n" not in answer,
        "sentences_mixed_up": facts.odd_ends > 0.34 or facts.odd_capitals > 0.3,
        "shares_no_word_with_question": long and facts.shared == 0 and facts.question_width >= 12,
    }
    return [name for name, is_so in told.items() if is_so]


def _repeats(answer: str, facts: Measures) -> bool:
    """Long texts pack better than short ones, and code says the same line again and again."""
    if "```" in answer or answer.count(";\n") >= 3:
        return facts.packed < 0.08
    limit = 0.22 if facts.answer_width < 1500 else 0.15
    return facts.packed < limit or (facts.answer_width >= 60 and facts.repeated > 0.34)


def _calls_tools(row: StoredRow) -> bool:
    return '"tool_calls"' in row.text
