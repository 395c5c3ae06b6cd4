"""Records as JSON and back: the one form in which dataset versions keep them.

    {"messages": [{"role": "user", "content": "..."}, ...], "tools": [...]}
    {"text": "..."}
    {"messages": [...], "chosen": [...], "rejected": [...], "margin": 1.5, "tools": [...]}
    {"messages": [...], "desirable": true, "tools": [...]}
    {"messages": [...], "fields": {"schema": ...}, "tools": [...]}

The messages are OpenAI's, with `reasoning` and `weight` beside; fields that say nothing are left
out. `from_json(to_json(record)) == record` for every record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal, get_args

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

Kind = Literal["conversation", "text", "preference_pair", "unpaired_preference", "prompt"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_OPTIONAL = ("name", "reasoning", "weight", "tool_call_id")
_NOTHING = (None,) * len(_OPTIONAL)
_optional_values = attrgetter(*_OPTIONAL)


def kind_of(record: StoredRecord) -> Kind:
    """The record's kind, as manifests and reports name it."""
    match record:
        case Conversation():
            return "conversation"
        case Text():
            return "text"
        case PreferencePair():
            return "preference_pair"
        case UnpairedPreference():
            return "unpaired_preference"
        case Prompt():
            return "prompt"


def to_json(record: StoredRecord) -> dict[str, Any]:
    """The record as a JSON object."""
    if isinstance(record, Text):
        return {"text": record.text}
    fields: dict[str, Any] = {"messages": _messages(record.messages)}
    if isinstance(record, PreferencePair):
        fields["chosen"] = _messages(record.chosen)
        fields["rejected"] = _messages(record.rejected)
        if record.margin is not None:
            fields["margin"] = record.margin
    elif isinstance(record, UnpairedPreference):
        fields["desirable"] = record.desirable
    elif isinstance(record, Prompt):
        fields["fields"] = dict(record.fields)
    if record.tools:
        fields["tools"] = list(record.tools)
    return fields


def from_json(fields: Mapping[str, Any]) -> StoredRecord:
    """The record behind an object that `to_json` made; KeyError for any other."""
    if "text" in fields:
        return Text(fields["text"])
    messages = _read_messages(fields["messages"])
    tools = tuple(fields.get("tools", ()))
    if "chosen" in fields:
        chosen, rejected = _read_messages(fields["chosen"]), _read_messages(fields["rejected"])
        return PreferencePair(messages, chosen, rejected, tools, fields.get("margin"))
    if "desirable" in fields:
        return UnpairedPreference(messages, fields["desirable"], tools)
    if "fields" in fields:
        return Prompt(messages, fields["fields"], tools)
    return Conversation(messages, tools)


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [_message(message) for message in messages]


def _message(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [_call(call) for call in message.tool_calls]
    values = _optional_values(message)
    if values == _NOTHING:
        return fields
    told = zip(_OPTIONAL, values, strict=True)
    return fields | {name: value for name, value in told if value is not None}


def _call(call: ToolCall) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
    return fields if call.id is None else {**fields, "id": call.id}


def _read_messages(messages: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(_read_message(fields) for fields in messages)


def _read_message(fields: Mapping[str, Any]) -> Message:
    if len(fields) == 2:
        return Message(fields["role"], fields["content"])
    calls = tuple(
        ToolCall(call["name"], call["arguments"], call.get("id"))
        for call in fields.get("tool_calls", ())
    )
    optional = {name: fields[name] for name in _OPTIONAL if name in fields}
    return Message(fields["role"], fields["content"], calls, **optional)
