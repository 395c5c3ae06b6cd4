"""One row to one record, for each format; RowUnusable says why a row cannot be used.

Questions, dialogues and texts are here, rows of preferences in `preferences.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from tunesmith.data.conversation import (
    Conversation,
    Message,
    Prompt,
    Record,
    StoredRecord,
    Text,
    UnpairedPreference,
)
from tunesmith.data.messages import (
    USUAL,
    RowUnusable,
    Tags,
    is_blank,
    json_or_self,
    plain,
    read_message,
    read_messages,
    read_tools,
    text_of,
)

Row = Mapping[str, Any]
Convert = Callable[[Row], StoredRecord]


@dataclass(frozen=True)
class Columns:
    """Which column holds what; None where the rows have no such column."""

    prompt: str | None = None
    response: str | None = None
    context: str | None = None  # the `input` of alpaca rows, put under the instruction
    history: str | None = None
    system: str | None = None
    messages: str | None = None
    tools: str | None = None
    text: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    label: str | None = None  # whether the answer is good
    margin: str | None = None  # by how much the chosen answer is better
    tags: Tags = USUAL

    def used(self) -> frozenset[str]:
        """The columns that are read."""
        values = [getattr(self, field.name) for field in fields(self) if field.name != "tags"]
        return frozenset(value for value in values if value is not None)


class ConvertBy(Protocol):
    """Makes a record of a row, by its columns."""

    def __call__(self, row: Row, columns: Columns) -> StoredRecord: ...


def to_learn(record: StoredRecord) -> Record:
    """What stages sft and pt learn of a record; RowUnusable where that is nothing.

    Neither answer of a pair is right by itself, so a pair waits for the preference stages.
    """
    if isinstance(record, Conversation | Text):
        return record
    if isinstance(record, UnpairedPreference):
        if record.desirable:
            return Conversation(record.messages, record.tools)
        raise RowUnusable("undesirable_answer")
    raise RowUnusable("no_answer" if isinstance(record, Prompt) else "preference_row")


def text_row(row: Row, columns: Columns) -> Text:
    """A row of plain text."""
    text = cell(row, columns.text)
    if is_blank(text):
        raise RowUnusable("empty_text")
    return Text(text)


def question_row(row: Row, columns: Columns) -> Conversation:
    """A question and its answer in columns: alpaca and prompt/response."""
    prompt = row.get(columns.prompt or "")
    if isinstance(prompt, list) and any(map(columns.tags.is_turn, prompt)):
        return _prompt_messages(read_messages(prompt, columns.tags), row, columns)
    asked = question(row, columns)
    answer = cell(row, columns.response)
    if is_blank(answer):
        raise RowUnusable("empty_answer")
    tools = tools_of(row, columns)
    return Conversation((*asked, plain("assistant", answer)), tools)


def question(row: Row, columns: Columns) -> list[Message]:
    """What comes before the answer: system message, earlier turns, the question itself."""
    asked = cell(row, columns.prompt)
    if columns.context and (context := cell(row, columns.context)):
        asked = f"{asked}\n{context}" if asked else context
    if is_blank(asked):
        raise RowUnusable("empty_question")
    turns = system_of(row, columns)
    if columns.history and row.get(columns.history):
        turns += _history(row, columns)
    turns.append(plain("user", asked))
    return turns


def _prompt_messages(context: list[Message], row: Row, columns: Columns) -> Conversation:
    """A prompt that is itself a list of messages: only the response is learned."""
    response = row.get(columns.response or "")
    answers: list[Any] = (
        response if isinstance(response, list) else [{"role": "assistant", "content": response}]
    )
    learned = read_messages(answers, columns.tags)
    if not any(turn.content.strip() or turn.tool_calls for turn in learned):
        raise RowUnusable("empty_answer")
    tools = tools_of(row, columns)
    return Conversation((*[replace(turn, weight=0) for turn in context], *learned), tools)


def messages_row(row: Row, columns: Columns) -> Conversation:
    """A list of turns: OpenAI messages (role, content) and sharegpt (from, value)."""
    messages = dialogue(row, columns)
    reason = "no_answer"
    for message in messages:
        if message.role == "assistant":
            if not is_blank(message.content) or message.tool_calls or message.reasoning:
                return Conversation(tuple(messages), tools_of(row, columns))
            reason = "empty_answer"
    raise RowUnusable(reason)


def dialogue(row: Row, columns: Columns) -> list[Message]:
    """The turns of a row, behind the system message that stands in a column of its own."""
    turns = row.get(columns.messages or "")
    if not isinstance(turns, list):
        turns = json_or_self(turns)
    if not isinstance(turns, list) or not turns:
        raise RowUnusable("no_messages")
    messages = read_messages(turns, columns.tags)
    return messages if messages[0].role == "system" else system_of(row, columns) + messages


def system_of(row: Row, columns: Columns) -> list[Message]:
    """The system message that stands in a column of its own; none where the cell is empty."""
    if not columns.system or not row.get(columns.system):
        return []
    system = cell(row, columns.system)
    return [] if is_blank(system) else [plain("system", system)]


def tools_of(row: Row, columns: Columns) -> tuple[Mapping[str, Any], ...]:
    """The tools that a row describes."""
    value = row.get(columns.tools) if columns.tools else None
    return read_tools(value) if value else ()


def _history(row: Row, columns: Columns) -> list[Message]:
    """Earlier turns: pairs [question, answer], or messages with roles."""
    history = json_or_self(row.get(columns.history or "")) or []
    if not isinstance(history, list):
        raise RowUnusable("history_is_no_list")
    turns: list[Message] = []
    for entry in history:
        if isinstance(entry, dict):
            turns.append(read_message(entry, columns.tags))
        elif isinstance(entry, list | tuple) and len(entry) == 2:
            turns += [plain("user", text_of(entry[0])), plain("assistant", text_of(entry[1]))]
        else:
            raise RowUnusable("history_is_no_list_of_pairs")
    return turns


def cell(row: Row, column: str | None) -> str:
    """A cell as text; numbers are written out, lists and objects are refused."""
    value = row.get(column) if column else None
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | dict):
        raise RowUnusable("cell_is_not_text")
    return str(value)
