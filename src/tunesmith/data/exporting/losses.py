"""What became of a record in a format: told by reading it back and comparing, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from tunesmith.data.conversation import Message, PreferencePair, StoredRecord, Text
from tunesmith.data.records import kind_of

_PARTS = {
    "tool calls": attrgetter("tool_calls"),
    "ids of tool calls": attrgetter("tool_call_id"),
    "weights": attrgetter("weight"),
    "reasoning": attrgetter("reasoning"),
    "names": attrgetter("name"),
}


def differences(record: StoredRecord, back: StoredRecord) -> set[str]:
    """The parts in which a record that was read back differs; none where it is the same."""
    if record == back:
        return set()
    if isinstance(record, Text) or isinstance(back, Text) or kind_of(record) != kind_of(back):
        return {"texts"} if kind_of(record) == kind_of(back) else {"kind of the row"}
    found = _in_turns(record.messages, back.messages)
    if isinstance(record, PreferencePair) and isinstance(back, PreferencePair):
        found |= _in_turns(record.chosen, back.chosen) | _in_turns(record.rejected, back.rejected)
    if record.tools != back.tools:
        found.add("descriptions of tools")
    return found or {"the judgement"}


def _in_turns(turns: Sequence[Message], back: Sequence[Message]) -> set[str]:
    found = {
        name
        for name, part in _PARTS.items()
        if [part(turn) for turn in turns if part(turn)] != [part(t) for t in back if part(t)]
        or (name == "weights" and _zeros(turns) != _zeros(back))
    }
    if [turn.role for turn in turns] != [turn.role for turn in back]:
        return found | {"turns"}
    if [turn.content for turn in turns] != [turn.content for turn in back]:
        return found | {"texts"}
    return found if found or list(turns) == list(back) else {"turns"}


def _zeros(turns: Sequence[Message]) -> int:
    return sum(turn.weight == 0 for turn in turns)
