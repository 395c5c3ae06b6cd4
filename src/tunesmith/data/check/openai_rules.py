"""OpenAI's rules for a training file, under the names that its validation report uses.

Source: the format rules of the fine-tuning API (chat, preference, completion and reinforcement
lines).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

MIN_LINES = 10
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_MESSAGE_KEYS = {
    *("role", "content", "name", "weight", "tool_calls", "function_call", "tool_call_id"),
    *("refusal", "audio"),
}
_ANSWER_KEYS = (
    ("preferred_output", "non_preferred_output"),
    ("preferred_completion", "non_preferred_completion"),
)

# What the lines are for; `any`: each line is held against the rules that its keys suggest.
Purpose = Literal["any", "supervised", "dpo", "reinforcement"]
Wrong = Iterator[tuple[str, str]]


def wrong_for_openai(row: Mapping[str, Any], purpose: Purpose = "any") -> Wrong:
    """(check, field) of what OpenAI would refuse or warn of in one line."""
    compares = "input" in row and any(good in row for good, _ in _ANSWER_KEYS)
    if purpose == "dpo" or (purpose == "any" and compares):
        yield from _in_preference(row)
    elif purpose == "reinforcement":
        yield from _in_question(row)
    elif "prompt" in row and "completion" in row:
        for name in ("prompt", "completion"):
            if not isinstance(row[name], str):
                yield "data_type", name
    else:
        yield from _in_chat(row)


def _in_chat(row: Mapping[str, Any]) -> Wrong:
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "missing_messages_list", "messages"
        return
    yield from _in_messages(messages, "messages")
    roles = {m.get("role") for m in messages if isinstance(m, dict)}
    if "assistant" not in roles:
        yield "example_missing_assistant_message", "messages"
    if not roles & {"system", "developer"}:
        yield "missing_system_message", "messages"
    if "user" not in roles:
        yield "missing_user_message", "messages"
    parallel = row.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        yield "data_type", "parallel_tool_calls"
    functions = row.get("functions")
    if functions is not None and not (isinstance(functions, list) and 1 <= len(functions) <= 128):
        yield "data_type", "functions"
    if row.get("tools") is not None and not isinstance(row["tools"], list):
        yield "data_type", "tools"


def _in_question(row: Mapping[str, Any]) -> Wrong:
    """Every key beside the messages is for the grader."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "missing_messages_list", "messages"
        return
    yield from _in_messages(messages, "messages")
    last = messages[-1]
    if isinstance(last, dict) and last.get("role") in _ROLES - {"user"}:
        yield "last_message_not_user", f"messages[{len(messages) - 1}].role"


def _in_messages(messages: list[Any], where: str) -> Wrong:
    for number, message in enumerate(messages):
        place = f"{where}[{number}]"
        if not isinstance(message, dict):
            yield "data_type", place
            continue
        if "role" not in message:
            yield "message_missing_key", f"{place}.role"
        elif message["role"] not in _ROLES:
            yield "unrecognized_role", f"{place}.role"
        calls = message.get("tool_calls") or message.get("function_call")
        if "content" not in message and not calls:
            yield "message_missing_key", f"{place}.content"
        elif not calls and not _is_content(message.get("content")):
            yield "missing_content", f"{place}.content"
        for key in sorted(message.keys() - _MESSAGE_KEYS):
            yield "message_unrecognized_key", f"{place}.{key}"


def _is_content(content: Any) -> bool:
    return bool(content) and isinstance(content, str | list)


def _in_preference(row: Mapping[str, Any]) -> Wrong:
    if not any(name in row for name in ("input", *_ANSWER_KEYS[0], *_ANSWER_KEYS[1])):
        yield "missing_messages_list", "input.messages"  # a line for something else
        return
    given = row.get("input")
    messages = given.get("messages") if isinstance(given, dict) else None
    if not isinstance(messages, list) or not messages:
        yield "missing_messages_list", "input.messages"
    else:
        yield from _in_messages(messages, "input.messages")
    pair = next((keys for keys in _ANSWER_KEYS if keys[0] in row), _ANSWER_KEYS[0])
    for name in pair:
        answers = row.get(name)
        if not isinstance(answers, list) or len(answers) != 1:
            yield "data_type", name
            continue
        yield from _in_messages(answers, name)
        answer = answers[0]
        if isinstance(answer, dict) and answer.get("role") not in ("assistant", "tool"):
            yield "unrecognized_role", f"{name}[0].role"
