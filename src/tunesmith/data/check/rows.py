"""What is wrong in one record, seen without any other row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tunesmith.data.conversation import Conversation, Message, PreferencePair, StoredRecord, Text

_LETTERS = {"system": "s", "user": "u", "assistant": "a", "tool": "t"}
# A system turn, then questions and answers in turn; an answer may be followed by tools' replies and
# further answers. A last question without an answer has a finding of its own.
_ORDER = re.compile(r"s?(?:ua(?:t+a)*)*u?")


def wrong_in(record: StoredRecord) -> dict[str, str]:
    """The first field of everything that is wrong, by code."""
    if isinstance(record, Text):
        return {}
    if isinstance(record, Conversation):
        if _is_plain_answer(record.messages):
            return {}
        found = [*_in_turns(record.messages, record.tools), *_in_answers(record.messages)]
        return dict(reversed(found))
    found = [*_in_turns(record.messages, record.tools)]
    if isinstance(record, PreferencePair) and record.chosen == record.rejected:
        found.append(("answers_equal", "rejected"))
    return dict(reversed(found))


def _is_plain_answer(messages: Sequence[Message]) -> bool:
    """A question and an answer with nothing about them: what most rows are, decided fast."""
    if len(messages) != 2:
        return False
    question, answer = messages
    text = answer.content
    return (
        question.role == "user"
        and answer.role == "assistant"
        and answer.weight != 0
        and not answer.tool_calls
        and bool(text)
        and not (text[0].isspace() or text[-1].isspace())
        and bool(question.content)
        and not question.content.isspace()
    )


def _in_turns(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    if not is_in_order(tuple([message.role for message in messages])):
        yield "roles_out_of_order", "messages"
    for number, message in enumerate(messages):
        if message.tool_calls:
            yield from _in_calls(message, f"messages[{number}].tool_calls", tools)
        elif not message.content or message.content.isspace():
            yield "empty_turn", f"messages[{number}]"


def _in_calls(
    message: Message, where: str, tools: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    described = {_name(tool) for tool in tools}
    if any(isinstance(call.arguments, str) for call in message.tool_calls):
        yield "tool_arguments_not_json", where
    if described and any(call.name not in described for call in message.tool_calls):
        yield "tool_not_described", where


def _name(tool: Mapping[str, Any]) -> Any:
    function = tool.get("function")
    return function.get("name") if isinstance(function, dict) else None


def _in_answers(messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
    answers = [message for message in messages if message.role == "assistant"]
    if answers and all(answer.weight == 0 for answer in answers):
        yield "no_trained_turn", "messages"
    if messages and messages[-1].role != "assistant":
        yield "no_final_answer", f"messages[{len(messages) - 1}]"
    for answer in answers:
        text = answer.content
        if text and (text[0].isspace() or text[-1].isspace()):
            yield "surrounding_space", "answer"
            return


@lru_cache(4096)
def is_in_order(roles: tuple[str, ...]) -> bool:
    """Whether turns follow each other as in a conversation."""
    return _ORDER.fullmatch("".join(_LETTERS[role] for role in roles)) is not None
