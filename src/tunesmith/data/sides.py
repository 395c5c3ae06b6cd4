"""What the preference stages learn of a record: answers behind one question, each on its own.

A stage reads its rows as one of the `View`s:

    answers     a conversation, and the answers in it           sft
    documents   one text in which everything is learned         pt
    pairs       a better and a worse answer, always together    dpo, simpo, orpo, cpo, rm
    judged      one answer and whether it is good               kto
    prompts     a question alone; see prompts.py                grpo
    all         each of these, as the rows are                  statistics
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    Prompt,
    Record,
    StoredRecord,
    UnpairedPreference,
)
from tunesmith.data.convert import to_learn
from tunesmith.data.messages import RowUnusable
from tunesmith.data.records import KINDS, Kind

View = Literal["answers", "documents", "pairs", "judged", "prompts", "all"]
VIEWS: dict[str, View] = {
    "sft": "answers",
    "pt": "documents",
    "dpo": "pairs",
    "simpo": "pairs",
    "orpo": "pairs",
    "cpo": "pairs",
    "rm": "pairs",
    "kto": "judged",
    "grpo": "prompts",
}
_MEANT: dict[View, tuple[Kind, ...]] = {
    "answers": ("conversation", "unpaired_preference"),
    "documents": ("text",),
    "pairs": ("preference_pair",),
    "judged": ("unpaired_preference", "preference_pair"),
    "prompts": ("prompt", "conversation"),
}


def kinds_for(view: View) -> tuple[Kind, ...]:
    """The kinds of records that a view is meant for; all of them where it does not say."""
    return _MEANT.get(view, KINDS)


@dataclass(frozen=True, slots=True)
class Side:
    """One conversation to learn from. `answer` names it where a record has several."""

    record: Record
    answer: str = ""
    desirable: bool = True
    margin: float = 0.0


def sides_of(record: StoredRecord, view: View) -> tuple[Side, ...]:
    """The conversations of a record that a view reads; RowUnusable where there are none."""
    if view == "pairs":
        return pair_sides(record)
    if view == "judged":
        return judged_sides(record)
    if view == "all" and isinstance(record, PreferencePair | UnpairedPreference):
        return judged_sides(record)
    return (Side(to_learn(record)),)


def pair_sides(record: StoredRecord) -> tuple[Side, ...]:
    """The better answer first."""
    if not isinstance(record, PreferencePair):
        raise RowUnusable("no_pair")
    if record.chosen == record.rejected:
        raise RowUnusable("answers_equal")
    return (
        Side(_answered(record, record.chosen), "chosen", True, record.margin or 0.0),
        Side(_answered(record, record.rejected), "rejected", False),
    )


def judged_sides(record: StoredRecord) -> tuple[Side, ...]:
    """One answer that was found good or bad; a pair is one of each."""
    if isinstance(record, PreferencePair):
        return pair_sides(record)
    if not isinstance(record, UnpairedPreference):
        raise RowUnusable("no_judgement")
    answer = _start_of_answer(record.messages)
    turns = (*_as_context(record.messages[:answer]), *record.messages[answer:])
    return (Side(Conversation(turns, record.tools), desirable=record.desirable),)


def all_sides(record: StoredRecord) -> tuple[Side, ...]:
    """Every answer of a record, whichever stage may read it, for previews."""
    if isinstance(record, PreferencePair):
        return (
            Side(_answered(record, record.chosen), "chosen", True, record.margin or 0.0),
            Side(_answered(record, record.rejected), "rejected", False),
        )
    if isinstance(record, UnpairedPreference):
        return judged_sides(record)
    if isinstance(record, Prompt):
        return (Side(Conversation(record.messages, record.tools)),)
    return (Side(record),)


def _answered(pair: PreferencePair, answer: Sequence[Message]) -> Conversation:
    return Conversation((*_as_context(pair.messages), *answer), pair.tools)


def _as_context(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Turns that are read and not learned: earlier answers are not what is judged."""
    return tuple(replace(turn, weight=0) if turn.role == "assistant" else turn for turn in messages)


def _start_of_answer(messages: Sequence[Message]) -> int:
    """Where the last answer begins: behind the last question, its calls of tools included."""
    asked = (at for at, turn in enumerate(messages) if turn.role in ("user", "system"))
    return max(asked, default=-1) + 1
