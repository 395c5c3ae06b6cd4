"""Rows of every format become the same records, and the choice is explained."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    Prompt,
    StoredRecord,
    Text,
    ToolCall,
)
from tunesmith.data.convert import RowUnusable, to_learn
from tunesmith.data.formats import Layout, find_layout
from tunesmith.data.prompts import as_prompt
from tunesmith.data.records import from_json, kind_of, to_json
from tunesmith.errors import DataError
from tunesmith.recipe import Dataset

QA = (Message("user", "q"), Message("assistant", "a"))


def layout(*rows: dict[str, Any], **wanted: Any) -> Layout:
    return find_layout(rows, Dataset(dataset="d.jsonl", **wanted), "d.jsonl")


def convert(row: dict[str, Any], **wanted: Any) -> StoredRecord:
    return layout(row, **wanted).convert(row)


def test_alpaca_puts_the_input_under_the_instruction_and_history_first() -> None:
    row = {
        "instruction": "sum",
        "input": "1 2",
        "output": "3",
        "system": "be short",
        "history": [["q", "a"]],
    }
    assert convert(row) == Conversation(
        (
            Message("system", "be short"),
            *QA,
            Message("user", "sum\n1 2"),
            Message("assistant", "3"),
        )
    )
    assert layout(row).why == "alpaca: it has the columns instruction and output"


def test_sharegpt_knows_its_roles_calls_and_tools() -> None:
    row = {
        "system": "S",
        "tools": '[{"name": "clock", "parameters": {}}]',
        "conversations": [
            {"from": "human", "value": "time?"},
            {"from": "function_call", "value": '{"name": "clock", "arguments": {"zone": 1}}'},
            {"from": "observation", "value": "12"},
            {"from": "gpt", "value": "noon"},
        ],
    }
    assert layout(row).format == "sharegpt"
    assert convert(row) == Conversation(
        (
            Message("system", "S"),
            Message("user", "time?"),
            Message("assistant", "", (ToolCall("clock", {"zone": 1}),)),
            Message("tool", "12"),
            Message("assistant", "noon"),
        ),
        ({"type": "function", "function": {"name": "clock", "parameters": {}}},),
    )


def test_openai_messages_keep_weights_calls_names_and_reasoning() -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "clock", "arguments": '{"zone": 1}'},
    }
    row = {
        "messages": [
            {"role": "developer", "content": "S"},
            {"role": "user", "content": [{"type": "text", "text": "time?"}]},
            {"role": "assistant", "content": None, "tool_calls": [call], "weight": 0},
            {"role": "tool", "content": "12", "tool_call_id": "c1"},
            {"role": "assistant", "content": "noon", "reasoning_content": "hm", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "clock"}}],
    }
    record = convert(row)
    assert isinstance(record, Conversation)
    assert record.messages == (
        Message("system", "S"),
        Message("user", "time?"),
        Message("assistant", "", (ToolCall("clock", {"zone": 1}, "c1"),), weight=0),
        Message("tool", "12", tool_call_id="c1"),
        Message("assistant", "noon", reasoning="hm", weight=1),
    )
    assert len(record.tools) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "response": "a"},
        {"question": "q", "answer": "a"},
        {"Question": "q", "Answer": "a"},
        {"问题": "q", "答案": "a"},
        {"提问": "q", "回答": "a"},
        {"指令": "q", "输入": "", "输出": "a"},
        {"input": "q", "output": "a"},
        {"prompt": "q", "completion": "a"},
        {"instruction": "q", "output": "a"},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"conversations": [{"role": "user", "content": "q"}, {"role": "model", "content": "a"}]},
        {"对话": '[{"role": "用户", "content": "q"}, {"role": "助手", "content": "a"}]'},
    ],
)
def test_usual_column_names_are_recognised(row: dict[str, Any]) -> None:
    """C1"""
    assert convert(row) == Conversation(QA)


def test_columns_are_mapped_by_the_recipe() -> None:
    """C2: prompt_field, response_field and history_field."""
    row = {"x": "q2", "y": "a2", "h": '[["q", "a"]]', "s": "S"}
    record = convert(row, prompt_field="x", response_field="y", history_field="h", system_field="s")
    assert record == Conversation(
        (Message("system", "S"), *QA, Message("user", "q2"), Message("assistant", "a2"))
    )


def test_history_may_be_messages() -> None:
    row = {"prompt": "q2", "response": "a2", "history": [{"role": "user", "content": "q1"}]}
    record = convert(row)
    assert isinstance(record, Conversation)
    assert record.messages[0] == Message("user", "q1")


def test_a_prompt_of_messages_is_context() -> None:
    row = {
        "prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "old"}],
        "completion": [{"role": "assistant", "content": "a"}],
    }
    record = convert(row)
    assert isinstance(record, Conversation)
    assert [message.weight for message in record.messages] == [0, 0, None]


def test_text_alone_is_plain_text() -> None:
    assert convert({"text": "once upon"}) == Text("once upon")


def test_a_wrong_column_names_what_exists_and_the_nearest() -> None:
    with pytest.raises(DataError, match="no column 'promt'") as bad:
        layout({"prompt": "q", "reply": "a"}, prompt_field="promt")
    assert "The columns are: prompt, reply" in bad.value.message
    assert bad.value.hint == "Did you mean 'prompt'?"


def test_columns_without_meaning_are_listed() -> None:
    with pytest.raises(DataError, match="The columns are: foo, bar"):
        layout({"foo": 1, "bar": 2})


def test_a_format_that_the_rows_do_not_have_is_refused() -> None:
    with pytest.raises(DataError, match="no column for the response"):
        layout({"instruction": "q", "text": "a"}, format="alpaca")


def test_columns_are_looked_for_in_all_first_rows() -> None:
    assert layout({"instruction": "q"}, {"instruction": "q", "output": "a"}).format == "alpaca"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "response": "  "}, "empty_answer"),
        ({"prompt": "", "response": "a"}, "empty_question"),
        ({"prompt": {"a": 1}, "response": "a"}, "cell_is_not_text"),
        ({"prompt": "q", "response": "a", "history": "what"}, "history_is_no_list"),
        ({"prompt": "q", "response": "a", "history": ["what"]}, "history_is_no_list_of_pairs"),
        ({"messages": [{"role": "boss", "content": "q"}]}, "unknown_role"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "content_is_not_text"),
        ({"messages": [{"role": "assistant", "content": "a", "weight": 2}]}, "weight_not_0_or_1"),
        ({"text": " "}, "empty_text"),
    ],
)
def test_an_unusable_row_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowUnusable, match=f"^{reason}$"):
        convert(row)


def test_a_row_that_lost_its_turns_is_unusable() -> None:
    whole = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    for messages in (None, [], "text", ["turn"]):
        with pytest.raises(RowUnusable):
            layout(whole).convert({"messages": messages})


def test_numbers_in_cells_are_text() -> None:
    assert convert({"question": 1, "answer": 2.5}) == Conversation(
        (Message("user", "1"), Message("assistant", "2.5"))
    )


def test_turns_with_other_keys_and_speakers_are_read_by_their_tags() -> None:
    row = {
        "talk": [
            {"who": "Kunde", "said": "time?"},
            {"who": "Aufruf", "said": '{"name": "clock", "arguments": {}}'},
            {"who": "Uhr", "said": "12"},
            {"who": "Berater", "said": "noon"},
        ],
        "who_we_are": "S",
        "helpers": '[{"name": "clock"}]',
    }
    found = layout(
        row,
        messages_field="talk",
        system_field="who_we_are",
        tools_field="helpers",
        role_tag="who",
        content_tag="said",
        user_tag="Kunde",
        assistant_tag="Berater",
        function_tag="Aufruf",
        observation_tag="Uhr",
    )
    assert found.convert(row) == Conversation(
        (
            Message("system", "S"),
            Message("user", "time?"),
            Message("assistant", "", (ToolCall("clock", {}),)),
            Message("tool", "12"),
            Message("assistant", "noon"),
        ),
        ({"type": "function", "function": {"name": "clock"}},),
    )
    assert found.used == {"talk", "who_we_are", "helpers"}
    assert found.why.endswith("(who and said)")


def test_a_layout_names_its_kind_and_the_columns_that_it_uses() -> None:
    found = layout({"prompt": "q", "response": "a", "id": 7})
    assert found.kind == "conversation"
    assert {"prompt", "response"} <= found.used
    assert "id" not in found.used
    assert layout({"text": "t"}).kind == "text"


def test_columns_that_only_later_rows_have_are_not_lost() -> None:
    later = {"instruction": "q", "input": "i", "output": "a", "system": "S"}
    record = layout({"instruction": "q", "output": "a"}).convert(later)
    assert record == Conversation(
        (Message("system", "S"), Message("user", "q\ni"), Message("assistant", "a"))
    )
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    record = layout({"messages": turns}).convert({"messages": turns, "tools": [{"name": "t"}]})
    assert isinstance(record, Conversation)
    assert record.tools


def test_a_question_takes_context_and_tools_only_from_columns_that_are_named() -> None:
    row = {"question": "q", "answer": "a", "tools": "hammer", "input": "i"}
    assert convert(row) == Conversation(QA)
    record = convert({**row, "tools": []}, context_field="input", tools_field="tools")
    assert record == Conversation((Message("user", "q\ni"), Message("assistant", "a")))


def test_arguments_that_are_no_object_stay_as_they_were_written() -> None:
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": '["a"]'}]},
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": ["a"]}]},
    ]
    record = convert({"messages": turns})
    assert isinstance(record, Conversation)
    calls = [message.tool_calls[0].arguments for message in record.messages[1:]]
    assert calls == ['["a"]', '["a"]']


def test_openai_rows_for_reinforcement_are_questions_with_fields() -> None:
    row = {"messages": [{"role": "user", "content": "q"}], "reference": "42", "level": 3}
    asked = convert(row)
    assert asked == Prompt((Message("user", "q"),), {"reference": "42", "level": 3})
    assert layout(row).kind == "prompt"
    with pytest.raises(RowUnusable, match="no_answer"):
        to_learn(asked)


def test_questions_in_a_column_without_answers_are_questions_with_fields() -> None:
    found = layout({"prompt": "q", "solution": 7})
    assert found.kind == "prompt"
    asked = found.convert({"prompt": "q", "solution": 7, "hint": None})
    assert asked == Prompt((Message("user", "q"),), {"solution": 7})


def test_the_answer_of_a_row_is_the_reference_of_its_question() -> None:
    turns = (Message("user", "q"), Message("assistant", "a"))
    asked = as_prompt(Conversation(turns), {"schema": {}})
    assert asked == Prompt(turns[:1], {"reference": "a", "schema": {}})
    pair = PreferencePair(turns[:1], turns[1:], (Message("assistant", "b"),))
    assert as_prompt(pair, {}) == Prompt(turns[:1], {"reference": "a"})
    with pytest.raises(RowUnusable, match="no_question"):
        as_prompt(Text("t"), {})


def test_a_question_with_fields_is_kept_as_json() -> None:
    asked = Prompt((Message("user", "q"),), {"schema": {"type": "object"}})
    assert from_json(to_json(asked)) == asked
    assert kind_of(asked) == "prompt"


def test_a_stray_row_does_not_decide_the_format() -> None:
    stray = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    rows: list[dict[str, Any]] = [{"instruction": f"q{n}", "output": "a"} for n in range(19)]
    layout = find_layout([rows[0], stray, *rows[1:]], Dataset(dataset="a.jsonl"), "a.jsonl")
    assert layout.format == "alpaca"
    assert "19 of the first 20 rows have these columns" in layout.why


def test_a_list_of_words_is_no_question_and_no_turn_either() -> None:
    row = {"instruction": ["a"], "output": "b"}
    layout = find_layout([{"instruction": "q", "output": "a"}], Dataset(dataset="a"), "a")
    with pytest.raises(RowUnusable, match="cell_is_not_text"):
        layout.convert(row)


@pytest.mark.parametrize("field", ["prompt", "messages"])
def test_a_missing_column_is_named_for_the_recipe_and_for_the_command_line(field: str) -> None:
    wanted = Dataset(dataset="a", format="messages" if field == "messages" else "alpaca")
    with pytest.raises(DataError) as missing:
        find_layout([{"x": "q", "y": "a"}], wanted, "a")
    assert f"{field}_field in data.train" in missing.value.hint
    assert ("on the command line" in missing.value.hint) is (field == "prompt")
