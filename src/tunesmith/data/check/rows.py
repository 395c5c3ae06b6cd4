"""What is wrong in one record, seen without any other row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    StoredRecord,
    Text,
    UnpairedPreference,
)

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
        turns = _in_turns(record.messages, record.tools, learns=True)
        found = [*turns, *_in_answers(record.messages)]
        return dict(reversed(found))
    is_good = isinstance(record, UnpairedPreference) and record.desirable
    found = [*_in_turns(record.messages, record.tools, learns=is_good)]
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
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], *, learns: bool
) -> Iterator[tuple[str, str]]:
    """Faults of turns; where answers are learned, an empty one is an error."""
    if not is_in_order(tuple([message.role for message in messages])):
        yield "roles_out_of_order", "messages"
    if any(message.tool_calls or message.role == "tool" for message in messages):
        yield from _in_results(messages)
    for number, message in enumerate(messages):
        if message.tool_calls:
            yield from _in_calls(message, f"messages[{number}].tool_calls", tools)
        elif not message.content or message.content.isspace():
            is_learned = message.role == "assistant" and message.weight != 0 and learns
            is_empty = is_learned and not message.reasoning
            yield "empty_answer" if is_empty else "empty_turn", f"messages[{number}]"


def _in_calls(
    message: Message, where: str, tools: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    described = {_name(tool) for tool in tools}
    if any(isinstance(call.arguments, str) for call in message.tool_calls):
        yield "tool_arguments_not_json", where
    if any(call.name not in described for call in message.tool_calls):
        yield "tool_not_described", where


def _in_results(messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
    """Calls whose result never comes, and results of calls that nobody made."""
    waiting: list[str | None] = []  # ids of calls, as far as they have any
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if message.role == "tool":
            named = message.tool_call_id
            known = [call for call in waiting if call is None or named is None or call == named]
            if named is not None and not known:
                yield "tool_call_id_unknown", where
            elif known:
                waiting.remove(known[0])
            continue
        if waiting:
            yield "tool_result_missing", where
        waiting = [call.id for call in message.tool_calls]


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
