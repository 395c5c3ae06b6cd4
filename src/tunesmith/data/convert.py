"""One row to one record, for each format; RowUnusable says why a row cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tunesmith.data.conversation import Conversation, Message, Record, Role, Text, ToolCall

Row = Mapping[str, Any]
Convert = Callable[[Row], Record]

ROLES: dict[str, Role] = {
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
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
}
_CALL_ROLES = ("function_call", "tool_call")


class RowUnusable(ValueError):
    """The row is left out and counted; the text is the reason in the data report."""


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


def text_row(row: Row, columns: Columns) -> Text:
    """A row of plain text."""
    text = _cell(row, columns.text)
    if not text.strip():
        raise RowUnusable("empty_text")
    return Text(text)


def question_row(row: Row, columns: Columns) -> Conversation:
    """A question and its answer in columns: alpaca and prompt/response."""
    prompt = row.get(columns.prompt or "")
    if isinstance(prompt, list):
        return _prompt_messages(prompt, row.get(columns.response or ""))
    question = "\n".join(filter(None, [_cell(row, columns.prompt), _cell(row, columns.context)]))
    answer = _cell(row, columns.response)
    if not question.strip():
        raise RowUnusable("empty_question")
    if not answer.strip():
        raise RowUnusable("empty_answer")
    turns = (*_history(row, columns), Message("user", question), Message("assistant", answer))
    return Conversation((*_system(row, columns), *turns))


def _prompt_messages(prompt: Sequence[Any], response: Any) -> Conversation:
    """A prompt that is itself a list of messages: only the response is learned."""
    context = [_message(turn) for turn in prompt]
    answers = (
        response if isinstance(response, list) else [{"role": "assistant", "content": response}]
    )
    learned = tuple(_message(turn) for turn in answers)
    if not any(turn.content.strip() or turn.tool_calls for turn in learned):
        raise RowUnusable("empty_answer")
    return Conversation((*[_unlearned(turn) for turn in context], *learned))


def _unlearned(turn: Message) -> Message:
    return Message(turn.role, turn.content, turn.tool_calls, turn.name, turn.reasoning, weight=0)


def messages_row(row: Row, columns: Columns) -> Conversation:
    """A list of turns: OpenAI messages (role, content) and sharegpt (from, value)."""
    turns = _json_or_self(row.get(columns.messages or ""))
    if not isinstance(turns, list) or not turns:
        raise RowUnusable("no_messages")
    messages = tuple(_message(turn) for turn in turns)
    if messages[0].role != "system":
        messages = (*_system(row, columns), *messages)
    if not any(message.role == "assistant" for message in messages):
        raise RowUnusable("no_answer")
    return Conversation(messages, _tools(row, columns))


def _message(turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise RowUnusable("turn_is_no_object")
    fields: dict[str, Any] = turn
    name = str(fields.get("role", fields.get("from", ""))).strip()
    role = ROLES.get(name.lower())
    if role is None:
        raise RowUnusable("unknown_role")
    content = fields.get("content", fields.get("value"))
    if name in _CALL_ROLES:
        return Message("assistant", "", _calls_in_text(content), weight=_weight(fields))
    return Message(
        role,
        _text(content),
        _calls(fields),
        name=_optional(fields.get("name")),
        reasoning=_optional(fields.get("reasoning_content") or fields.get("reasoning")),
        weight=_weight(fields),
        tool_call_id=_optional(fields.get("tool_call_id")),
    )


def _weight(fields: Mapping[str, Any]) -> int | None:
    weight = fields.get("weight")
    if weight is None:
        return None
    if weight not in (0, 1):
        raise RowUnusable("weight_not_0_or_1")
    return int(weight)


def _optional(value: Any) -> str | None:
    return None if value is None else str(value)


def _text(content: Any) -> str:
    """The content as text; OpenAI's list of parts is joined when all parts are text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts: list[Any] = content
        if all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
            return "".join(str(part.get("text", "")) for part in parts)
    raise RowUnusable("content_is_not_text")


def _calls(fields: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    calls = fields.get("tool_calls") or []
    legacy = fields.get("function_call")
    return tuple(_call(call) for call in [*calls, *([legacy] if legacy else [])])


def _calls_in_text(content: Any) -> tuple[ToolCall, ...]:
    """sharegpt writes one call, or a list of calls, as JSON text."""
    value = _json_or_self(content)
    calls = value if isinstance(value, list) else [value]
    return tuple(_call(call) for call in calls)


def _call(call: Any) -> ToolCall:
    if not isinstance(call, dict):
        raise RowUnusable("tool_call_is_no_object")
    function = call.get("function", call)
    if not isinstance(function, dict) or not function.get("name"):
        raise RowUnusable("tool_call_without_name")
    arguments = _json_or_self(function.get("arguments", {}))
    if not isinstance(arguments, dict):
        arguments = str(arguments)
    return ToolCall(str(function["name"]), arguments, _optional(call.get("id")))


def _tools(row: Row, columns: Columns) -> tuple[Mapping[str, Any], ...]:
    """Tool descriptions, each in OpenAI's form {type: function, function: {...}}."""
    tools = _json_or_self(row.get(columns.tools or "")) or []
    if not isinstance(tools, list):
        raise RowUnusable("tools_is_no_list")
    return tuple(_tool(tool) for tool in tools)


def _tool(tool: Any) -> Mapping[str, Any]:
    if not isinstance(tool, dict):
        raise RowUnusable("tool_is_no_object")
    return tool if "function" in tool else {"type": "function", "function": tool}


def _history(row: Row, columns: Columns) -> list[Message]:
    """Earlier turns: pairs [question, answer], or messages with roles."""
    history = _json_or_self(row.get(columns.history or "")) or []
    if not isinstance(history, list):
        raise RowUnusable("history_is_no_list")
    turns: list[Message] = []
    for entry in history:
        if isinstance(entry, dict):
            turns.append(_message(entry))
        elif isinstance(entry, list | tuple) and len(entry) == 2:
            turns += [Message("user", _text(entry[0])), Message("assistant", _text(entry[1]))]
        else:
            raise RowUnusable("history_is_no_list_of_pairs")
    return turns


def _system(row: Row, columns: Columns) -> list[Message]:
    system = _cell(row, columns.system)
    return [Message("system", system)] if system.strip() else []


def _cell(row: Row, column: str | None) -> str:
    """A cell as text; numbers are written out, lists and objects are refused."""
    value = row.get(column) if column else None
    if value is None:
        return ""
    if isinstance(value, list | dict):
        raise RowUnusable("cell_is_not_text")
    return str(value)


def _json_or_self(value: Any) -> Any:
    """The value behind JSON text; other text and other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
