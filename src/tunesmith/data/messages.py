"""One turn as rows write it -> Message: OpenAI's keys, sharegpt's, or others by their names.

    {"role": "user", "content": "..."}   {"from": "human", "value": "..."}
    {"from": "function_call", "value": '{"name": ..., "arguments": ...}'}

Most rows are plain turns and there are millions of them, so plain turns leave `read_message` early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from tunesmith.data.conversation import Message, Role, ToolCall

Speaker = Role | Literal["call"]
"""A role, or the speaker of turns whose text is a tool call."""

SPEAKERS: Mapping[str, Speaker] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "用户": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "助手": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
}


class RowUnusable(ValueError):
    """The row is left out and counted; the text is the reason in the data report."""


@dataclass(frozen=True)
class Tags:
    """How turns are written: the keys of speaker and words, and who the speakers are.

    The usual keys and names are understood beside them.
    """

    role: str
    content: str
    speakers: Mapping[str, Speaker]

    def is_turn(self, value: Any) -> bool:
        """True for an object that names a speaker."""
        return isinstance(value, dict) and (
            self.role in value or "role" in value or "from" in value
        )

    def speaker(self, name: Any) -> Speaker | None:
        """Who goes by this name; None for a name that is not known."""
        if not isinstance(name, str):
            return None
        return self.speakers.get(name) or self.speakers.get(name.strip().lower())

    def speaker_of(self, turn: Any) -> Speaker | None:
        """Who speaks in a turn; None for a name that is not known."""
        if not isinstance(turn, dict):
            return None
        fields: dict[str, Any] = turn
        name = fields.get(self.role)
        return self.speaker(fields.get("role", fields.get("from")) if name is None else name)


USUAL = Tags("role", "content", SPEAKERS)


# A frozen dataclass looks up and calls a setter of `object` for each field; setting the slots
# themselves takes half of the time, and nearly all messages of a file are made here.
_SLOTS = ("role", "content", "tool_calls", "name", "reasoning", "weight", "tool_call_id")
_role, _content, *_others = (Message.__dict__[name].__set__ for name in _SLOTS)
_calls_slot, _name, _reasoning, _weight_slot, _call_id = _others
_new = object.__new__


def plain(role: Role, content: str) -> Message:
    """Message(role, content), made fast."""
    message = _new(Message)
    _role(message, role)
    _content(message, content)
    _calls_slot(message, ())
    _name(message, None)
    _reasoning(message, None)
    _weight_slot(message, None)
    _call_id(message, None)
    return message


def read_messages(turns: Sequence[Any], tags: Tags) -> list[Message]:
    """All turns of a list."""
    return [read_message(turn, tags) for turn in turns]


def read_message(turn: Any, tags: Tags = USUAL) -> Message:
    """One turn; RowUnusable says what is wrong with it."""
    if not isinstance(turn, dict):
        raise RowUnusable("turn_is_no_object")
    fields: dict[str, Any] = turn
    name, content = fields.get(tags.role), fields.get(tags.content)
    if name is None:
        name = fields.get("role", fields.get("from", ""))
    if content is None:
        content = fields.get("content", fields.get("value"))
    speaker = tags.speaker(name)
    if speaker is None:
        raise RowUnusable("unknown_role")
    if speaker == "call":
        return Message(
            "assistant",
            "",
            _calls_in_text(content),
            name=_optional(fields.get("name")),
            reasoning=_optional(fields.get("reasoning_content") or fields.get("reasoning")),
            weight=_weight(fields),
        )
    if len(fields) == 2 and isinstance(content, str):
        return plain(speaker, content)
    return Message(
        speaker,
        text_of(content),
        _calls(fields),
        name=_optional(fields.get("name")),
        reasoning=_optional(fields.get("reasoning_content") or fields.get("reasoning")),
        weight=_weight(fields),
        tool_call_id=_optional(fields.get("tool_call_id")),
    )


def text_of(content: Any) -> str:
    """The content as text; OpenAI's list of parts is joined when all parts are text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts: list[Any] = content
        if all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
            return "".join(text_of(part.get("text")) for part in parts)
    raise RowUnusable("content_is_not_text")


def read_tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Tool descriptions, each in OpenAI's form {type: function, function: {...}}."""
    tools = json_or_self(value) or []
    if not isinstance(tools, list):
        raise RowUnusable("tools_is_no_list")
    return tuple(_tool(tool) for tool in tools)


def _tool(tool: Any) -> Mapping[str, Any]:
    if not isinstance(tool, dict):
        raise RowUnusable("tool_is_no_object")
    return tool if "function" in tool else {"type": "function", "function": tool}


def is_blank(text: str) -> bool:
    """True for a text without a visible character; found without copying a long one."""
    return not text or text.isspace()


def json_or_self(value: Any) -> Any:
    """The value behind JSON text; other text and other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _weight(fields: Mapping[str, Any]) -> int | None:
    weight = fields.get("weight")
    if weight is None:
        return None
    if weight not in (0, 1):
        raise RowUnusable("weight_not_0_or_1")
    return int(weight)


def _optional(value: Any) -> str | None:
    """A short text that may be missing. Objects are refused: those of many levels have no text."""
    if value is None or value == "":
        return None
    if isinstance(value, list | dict):
        raise RowUnusable("name_or_id_is_not_text")
    return str(value)


def _calls(fields: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    calls = fields.get("tool_calls") or []
    if not isinstance(calls, list):
        raise RowUnusable("tool_calls_is_no_list")
    found: list[Any] = calls
    legacy = fields.get("function_call")
    return tuple(_call(call) for call in ([*found, legacy] if legacy else found))


def _calls_in_text(content: Any) -> tuple[ToolCall, ...]:
    """sharegpt writes one call, or a list of calls, as JSON text."""
    value = json_or_self(content)
    calls = value if isinstance(value, list) else [value]
    return tuple(_call(call) for call in calls)


def _call(call: Any) -> ToolCall:
    if not isinstance(call, dict):
        raise RowUnusable("tool_call_is_no_object")
    fields: dict[str, Any] = call
    function = fields.get("function", fields)
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise RowUnusable("tool_call_without_name")
    return ToolCall(name, _arguments(function.get("arguments", {})), _optional(fields.get("id")))


def _arguments(said: Any) -> Mapping[str, Any] | str:
    """An object, also one written as JSON text; anything else as the text that it is written as."""
    value = json_or_self(said)
    if isinstance(value, dict):
        return value  # pyright: ignore[reportUnknownVariableType]
    if isinstance(said, str):
        return said
    try:
        return orjson.dumps(said, default=str).decode()
    except orjson.JSONEncodeError:
        raise RowUnusable("tool_call_arguments_not_json") from None
