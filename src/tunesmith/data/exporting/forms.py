"""How a record is written as a row of a format. Read FORMS first.

    records     {"messages": [...], "tools": [...]}; pairs have `chosen` and `rejected` beside,
                judged answers `label`; {"text": "..."}
    marked      the same, and each row names its kind, for files that hold several
    questions   {"question", "answer", "system", "history"}, as spreadsheets show them
    alpaca      the same under alpaca's names
    sharegpt    {"conversations": [{"from", "value"}], "system", "tools"}
    openai      lines of OpenAI's fine-tuning files

A format has several forms where a later one holds what an earlier one does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson

from tunesmith.data import first_rows as names
from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    Prompt,
    StoredRecord,
    Text,
    ToolCall,
    UnpairedPreference,
)
from tunesmith.data.formats import OF_KINDS, RECORD_KIND
from tunesmith.data.messages import is_blank
from tunesmith.data.records import kind_of
from tunesmith.errors import DataError

ExportFormat = Literal["jsonl", "csv", "xlsx", "parquet", "alpaca", "sharegpt", "openai"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
Dialogue = Conversation | PreferencePair | UnpairedPreference | Prompt
Row = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """One way to write records, and the names that other columns must not have beside them.

    A reserved label is one only where a column of judgements is meant; `own` names always are.
    """

    write: Callable[[StoredRecord], Row]
    reserved: frozenset[str]
    own: frozenset[str] = frozenset()


# ---------------------------------------------------------------- messages


def as_record(record: StoredRecord) -> Row:
    """The record with OpenAI's messages."""
    if isinstance(record, Text):
        return {"text": record.text}
    row: Row = {"messages": _messages(record.messages)}
    if isinstance(record, PreferencePair):
        row["chosen"], row["rejected"] = _messages(record.chosen), _messages(record.rejected)
    if isinstance(record, UnpairedPreference):
        row["label"] = record.desirable
    if isinstance(record, Prompt):
        row = {**record.fields, **row}
    if record.tools:
        row["tools"] = list(record.tools)
    return row


def as_marked(record: StoredRecord) -> Row:
    """The same, and what kind of record it is."""
    return {RECORD_KIND: kind_of(record), **as_record(record)}


def as_openai(record: StoredRecord) -> Row:
    """The record as a line of OpenAI's fine-tuning files."""
    row = as_record(_dialogue(record, "openai"))
    if not isinstance(record, PreferencePair):
        return row
    answers = {"preferred_output": row.pop("chosen"), "non_preferred_output": row.pop("rejected")}
    return {"input": row, **answers}


def _messages(messages: Iterable[Message]) -> list[Row]:
    return [_message(message) for message in messages]


def _message(message: Message) -> Row:
    told: Row = {"role": message.role, "content": message.content, **_beside_text(message)}
    if message.tool_calls:
        told["tool_calls"] = [_call(call) for call in message.tool_calls]
    return told


def _beside_text(message: Message) -> Row:
    told = {
        "reasoning_content": message.reasoning,
        "name": message.name,
        "weight": message.weight,
        "tool_call_id": message.tool_call_id,
    }
    return {name: value for name, value in told.items() if value is not None}


def _call(call: ToolCall) -> Row:
    arguments = call.arguments
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments).decode()
    function = {"name": call.name, "arguments": arguments}
    return {**({"id": call.id} if call.id else {}), "type": "function", "function": function}


# ---------------------------------------------------------------- sharegpt

_FROM = {"user": "human", "assistant": "gpt", "tool": "observation", "system": "system"}


def as_sharegpt(record: StoredRecord) -> Row:
    """The record with turns of `from` and `value`, the system text beside them."""
    record = _dialogue(record, "sharegpt")
    system, turns = _system_apart(record.messages)
    row: Row = {"conversations": [turn for message in turns for turn in _turns(message)]}
    if system is not None:
        row["system"] = system
    if record.tools:
        row["tools"] = orjson.dumps(list(record.tools)).decode()
    if isinstance(record, PreferencePair):
        row["chosen"], row["rejected"] = _answer(record.chosen), _answer(record.rejected)
    if isinstance(record, UnpairedPreference):
        row["kto_tag"] = record.desirable
    return row


def _system_apart(messages: Sequence[Message]) -> tuple[str | None, Sequence[Message]]:
    """The system text where it can stand in a column of its own, and the turns behind it."""
    first = messages[0] if messages else None
    if first is None or first.role != "system" or _beside_text(first) or is_blank(first.content):
        return None, messages
    if len(messages) > 1 and messages[1].role == "system":
        return None, messages
    return first.content, messages[1:]


def _answer(answer: Sequence[Message]) -> Row | list[Row]:
    turns = [turn for message in answer for turn in _turns(message)]
    return turns[0] if len(turns) == 1 else turns


def _turns(message: Message) -> Iterator[Row]:
    """One turn; calls behind a text are a turn of their own, which is all that sharegpt has."""
    beside = _beside_text(message)
    if message.content or not message.tool_calls:
        yield {"from": _FROM[message.role], "value": message.content, **beside}
        beside.clear()
    if message.tool_calls:
        calls = [_named_call(call) for call in message.tool_calls]
        value = calls[0] if len(calls) == 1 else calls
        yield {"from": "function_call", "value": orjson.dumps(value).decode(), **beside}


def _named_call(call: ToolCall) -> Row:
    told: Row = {"name": call.name, "arguments": call.arguments}
    return {**told, "id": call.id} if call.id else told


# ---------------------------------------------------------------- questions


def as_alpaca(record: StoredRecord) -> Row:
    """The record as instruction and output, earlier turns as pairs."""
    cells = _questions(_dialogue(record, "alpaca"))
    told = {"instruction": cells.pop("question"), "input": ""}
    if "answer" in cells:
        told["output"] = cells.pop("answer")
    return told | cells


def as_question(record: StoredRecord) -> Row:
    """The record as question and answer; plain text under its own name."""
    return {"text": record.text} if isinstance(record, Text) else _questions(record)


def _questions(record: Dialogue) -> Row:
    system, history, question, answer = _in_pairs(record.messages)
    row: Row = {"question": question}
    if isinstance(record, PreferencePair):
        row["chosen"], row["rejected"] = _joined(record.chosen), _joined(record.rejected)
    else:
        row["answer"] = answer
    if isinstance(record, UnpairedPreference):
        row["kto_tag"] = record.desirable
    if history:
        row["history"] = history
    if system:
        row["system"] = system
    return row


def _in_pairs(messages: Sequence[Message]) -> tuple[str, list[list[str]], str, str]:
    """(system, earlier [question, answer] pairs, last question, last answer)."""
    system = "\n".join(m.content for m in messages if m.role == "system")
    pairs: list[list[str]] = []
    for message in messages:
        if message.role == "user":
            pairs.append([message.content, ""])
        elif message.role != "system":
            if not pairs:
                pairs.append(["", ""])
            pairs[-1][1] = "\n".join(filter(None, [pairs[-1][1], _told(message)]))
    *history, last = pairs or [["", ""]]
    return system, history, last[0], last[1]


def _joined(answer: Iterable[Message]) -> str:
    return "\n".join(map(_told, answer))


def _told(message: Message) -> str:
    """A turn as text; calls of tools as JSON."""
    calls = [orjson.dumps(_named_call(call)).decode() for call in message.tool_calls]
    return "\n".join(filter(None, [message.content, *calls]))


def _dialogue(record: StoredRecord, format: str) -> Dialogue:
    if isinstance(record, Text):
        raise DataError(
            f"The rows are plain text; {format} holds questions and answers only.",
            hint="Export with --format jsonl, csv, xlsx or parquet.",
            code="format_cannot_hold",
        )
    return record


# ---------------------------------------------------------------- which form for which format

_ANYWHERE = (
    *(*names.LISTS, *names.SYSTEMS, *names.CHOSEN, *names.REJECTED, *names.LABELS),
    *(*names.INSTRUCTIONS, RECORD_KIND),
)
_TURNS = frozenset([*_ANYWHERE, *names.TOOLS, "text"])
# A column called prompt would be taken for the question before ours is.
_QUESTIONS = frozenset(
    [*_ANYWHERE, *names.HISTORIES, "prompt", "question", "response", "answer", "text"]
)
_ALPACA = frozenset([*_ANYWHERE, *names.HISTORIES, "input", "output"])

_RECORDS = (Form(as_record, _TURNS), Form(as_marked, _TURNS, OF_KINDS.used()))
_TABLE = (Form(as_question, _QUESTIONS), *_RECORDS)
FORMS: dict[ExportFormat, tuple[Form, ...]] = {
    "jsonl": _RECORDS,
    "parquet": _RECORDS,
    "csv": _TABLE,
    "xlsx": _TABLE,
    "alpaca": (Form(as_alpaca, _ALPACA),),
    "sharegpt": (Form(as_sharegpt, _TURNS),),
    "openai": (Form(as_openai, _TURNS),),
}
ONE_KIND: tuple[ExportFormat, ...] = ("alpaca", "sharegpt", "openai")
