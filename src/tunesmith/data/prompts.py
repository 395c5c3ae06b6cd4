"""What the reinforcement stage reads of a record: a question, and what its rewards may look at.

A row that has an answer gives it as the field `reference`; columns that are no part of the record
are fields by their own names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    Prompt,
    StoredRecord,
    Text,
    UnpairedPreference,
)
from tunesmith.data.convert import Columns, Row, dialogue, question, tools_of
from tunesmith.data.messages import RowUnusable

REFERENCE = "reference"


def prompt_row(row: Row, columns: Columns) -> Prompt:
    """A list of turns that ends with a question, and every other column."""
    messages = dialogue(row, columns)
    if messages[-1].role not in ("user", "tool"):
        raise RowUnusable("no_question")
    return Prompt(tuple(messages), fields_beside(row, columns.used()), tools_of(row, columns))


def stored_prompt_row(row: Row, columns: Columns) -> Prompt:
    """A record as `records.to_json` writes it: its fields stand in an object."""
    found = prompt_row({name: row.get(name) for name in ("messages", "tools")}, columns)
    return Prompt(found.messages, dict(row.get("fields") or {}), found.tools)


def question_alone_row(row: Row, columns: Columns) -> Prompt:
    """A question in a column, and every other column."""
    asked = tuple(question(row, columns))
    return Prompt(asked, fields_beside(row, columns.used()), tools_of(row, columns))


def fields_beside(row: Row, used: frozenset[str]) -> dict[str, Any]:
    """What a row says beside its record; empty cells say nothing."""
    return {name: value for name, value in row.items() if name not in used and value is not None}


def as_prompt(record: StoredRecord, beside: Mapping[str, Any]) -> Prompt:
    """The question of a record; its answer is a reference. RowUnusable where nothing is asked."""
    if isinstance(record, Prompt):
        return record
    if isinstance(record, Text):
        raise RowUnusable("no_question")
    if isinstance(record, PreferencePair):
        return _with_reference(record.messages, record.chosen, record.tools, beside)
    good = not isinstance(record, UnpairedPreference) or record.desirable
    asked, answer = _apart(record)
    return _with_reference(asked, answer if good else (), record.tools, beside)


def _apart(record: Conversation | UnpairedPreference) -> tuple[Sequence[Message], ...]:
    """The turns up to the last question, and those behind it."""
    roles = [message.role for message in record.messages]
    asked = [at for at, role in enumerate(roles) if role == "user"]
    if not asked:
        raise RowUnusable("no_question")
    return record.messages[: asked[-1] + 1], record.messages[asked[-1] + 1 :]


def _with_reference(
    asked: Sequence[Message],
    answer: Sequence[Message],
    tools: tuple[Mapping[str, Any], ...],
    beside: Mapping[str, Any],
) -> Prompt:
    said = "\n".join(turn.content for turn in answer if turn.role == "assistant" and turn.content)
    return Prompt(tuple(asked), {**({REFERENCE: said} if said else {}), **beside}, tools)
