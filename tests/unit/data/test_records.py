"""Records survive the way to JSON and back."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    Text,
    ToolCall,
    UnpairedPreference,
)
from tunesmith.data.records import KINDS, from_json, kind_of, to_json

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_objects = st.dictionaries(st.text(), _json, max_size=3)
_calls = st.builds(ToolCall, st.text(), _objects | st.text(), st.none() | st.text())
_messages = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.text(),
    st.lists(_calls, max_size=2).map(tuple),
    st.none() | st.text(),
    st.none() | st.text(),
    st.sampled_from([None, 0, 1]),
    st.none() | st.text(),
)
_turns = st.lists(_messages, max_size=3).map(tuple)
_tools = st.lists(_objects, max_size=2).map(tuple)
_records = (
    st.builds(Conversation, _turns, _tools)
    | st.builds(Text, st.text())
    | st.builds(PreferencePair, _turns, _turns, _turns, _tools)
    | st.builds(UnpairedPreference, _turns, st.booleans(), _tools)
)


@given(_records)
def test_a_record_written_as_json_and_read_again_is_the_same(record: object) -> None:
    written = orjson.dumps(to_json(record))  # type: ignore[arg-type]
    assert from_json(orjson.loads(written)) == record
    assert kind_of(record) in KINDS  # type: ignore[arg-type]


def test_a_plain_message_is_written_as_role_and_content_only() -> None:
    record = Conversation((Message("user", "hi"), Message("assistant", "hello", weight=0)))
    assert to_json(record) == {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello", "weight": 0},
        ]
    }
