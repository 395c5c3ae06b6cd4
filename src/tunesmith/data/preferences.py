"""Rows that judge answers: a better and a worse one, or one that was found good or bad.

The two answers of a pair are texts, turns or lists of turns; or each is a whole dialogue, and what
the two have in common is the question. An answer that is judged alone is read as any other row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    UnpairedPreference,
)
from tunesmith.data.convert import (
    Columns,
    Row,
    cell,
    dialogue,
    messages_row,
    question,
    question_row,
    system_of,
    tools_of,
)
from tunesmith.data.messages import RowUnusable, Tags, is_blank, json_or_self, plain, read_messages

JUDGEMENTS = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "good", "keep", "好", "是"), True),
    **dict.fromkeys(("false", "0", "0.0", "no", "bad", "remove", "坏", "否"), False),
}
_ANSWERING = ("assistant", "tool")
_QUOTES = ("[", "{")


def pair_row(row: Row, columns: Columns) -> PreferencePair:
    """A better and a worse answer to the same turns."""
    chosen = _answer(row, columns.chosen, columns.tags)
    rejected = _answer(row, columns.rejected, columns.tags)
    if _is_dialogue(chosen) and _is_dialogue(rejected):
        shared = _shared(chosen, rejected)
        context, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
        if context and context[0].role != "system":
            context = [*system_of(row, columns), *context]
    else:
        context = _context(row, columns)
    if not context:
        raise RowUnusable("no_question")
    return PreferencePair(
        tuple(context),
        _checked(chosen, "empty_chosen"),
        _checked(rejected, "empty_rejected"),
        tools_of(row, columns),
        _margin(row, columns),
    )


def _margin(row: Row, columns: Columns) -> float | None:
    value = row.get(columns.margin or "")
    if value is None or value == "":
        return None
    try:
        margin = float(value)
    except (TypeError, ValueError):
        raise RowUnusable("margin_is_no_number") from None
    if isinstance(value, bool) or not math.isfinite(margin):
        raise RowUnusable("margin_is_no_number")
    return margin


def openai_pair_row(row: Row, columns: Columns) -> PreferencePair:
    """OpenAI's line of preferences: {input: {messages, tools}, and one list for each answer}.

    `columns.prompt` is the column of the input; `messages` and `tools` lie inside of it.
    """
    given = json_or_self(row.get(columns.prompt or ""))
    if not isinstance(given, dict):
        raise RowUnusable("input_is_no_object")
    wanted = (columns.chosen, columns.rejected, columns.margin)
    answers = {name: row.get(name) for name in wanted if name}
    inside: dict[str, Any] = given
    return pair_row({**inside, **answers}, columns)


def judged_question_row(row: Row, columns: Columns) -> UnpairedPreference:
    """A question and an answer in columns, and whether the answer is good."""
    return _judged(row, columns, question_row)


def judged_messages_row(row: Row, columns: Columns) -> UnpairedPreference:
    """A list of turns, and whether the last answer in it is good."""
    return _judged(row, columns, messages_row)


def _judged(
    row: Row, columns: Columns, convert: Callable[[Row, Columns], Conversation]
) -> UnpairedPreference:
    desirable = _judgement(row.get(columns.label or ""))
    if desirable is None:
        raise RowUnusable("label_not_true_or_false")
    record = convert(row, columns)
    if record.messages[-1].role != "assistant":
        raise RowUnusable("no_answer")
    return UnpairedPreference(record.messages, desirable, record.tools)


def _judgement(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return (
        JUDGEMENTS.get(str(value).strip().lower()) if isinstance(value, str | int | float) else None
    )


def _answer(row: Row, column: str | None, tags: Tags) -> list[Message]:
    """One answer: a turn, a list of turns, or a text."""
    value = row.get(column or "")
    turns = _turns(value, tags)
    if turns is not None:
        return read_messages(turns, tags)
    return [plain("assistant", cell(row, column))]


def _turns(value: Any, tags: Tags) -> list[Any] | None:
    """The turns in a cell, also as JSON text. Other JSON, such as [1, 2], is an answer's text."""
    is_text = isinstance(value, str)
    if is_text:
        if not value.lstrip().startswith(_QUOTES):
            return None
        value = json_or_self(value)
    turns: list[Any] = value if isinstance(value, list) else [value]
    if is_text:
        return turns if turns and all(tags.is_turn(turn) for turn in turns) else None
    return turns if isinstance(value, list | dict) else None


def _is_dialogue(answer: list[Message]) -> bool:
    return bool(answer) and answer[0].role not in _ANSWERING


def _shared(chosen: list[Message], rejected: list[Message]) -> int:
    """How many turns two dialogues have in common, each keeping an answer of its own."""
    pairs = zip(chosen[:-1], rejected[:-1], strict=False)
    try:
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    except RecursionError:
        raise RowUnusable("nested_too_deeply") from None


def _context(row: Row, columns: Columns) -> list[Message]:
    if columns.messages:
        return dialogue(row, columns)
    prompt = row.get(columns.prompt or "")
    if isinstance(prompt, list):
        return read_messages(prompt, columns.tags)
    return question(row, columns)


def _checked(answer: list[Message], empty: str) -> tuple[Message, ...]:
    says_something = False
    for turn in answer:
        if turn.role not in _ANSWERING:
            raise RowUnusable("answer_of_another_role")
        says_something = says_something or bool(turn.tool_calls) or not is_blank(turn.content)
    if not says_something:
        raise RowUnusable(empty)
    return tuple(answer)
