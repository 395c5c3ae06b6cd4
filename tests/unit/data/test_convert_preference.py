"""Rows that judge answers become pairs and judged answers; sft learns what is good in them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    StoredRecord,
    Text,
    ToolCall,
    UnpairedPreference,
)
from tunesmith.data.convert import RowUnusable, to_learn
from tunesmith.data.formats import Layout, find_layout
from tunesmith.data.prepare import Prepared, prepare
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import DataError
from tunesmith.recipe import Data, Dataset, DataSource, NoValidation, Sft

Row = dict[str, Any]

Q, GOOD, BAD = Message("user", "q"), Message("assistant", "good"), Message("assistant", "bad")
PAIR = PreferencePair((Q,), (GOOD,), (BAD,))
USER = {"role": "user", "content": "q"}
ANSWERS = {
    "chosen": {"role": "assistant", "content": "good"},
    "rejected": {"role": "assistant", "content": "bad"},
}
OPENAI = {
    "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
    "preferred_output": [ANSWERS["chosen"]],
    "non_preferred_output": [ANSWERS["rejected"]],
}
SHAREGPT = {
    "conversations": [{"from": "human", "value": "q"}],
    "chosen": {"from": "gpt", "value": "good"},
    "rejected": {"from": "gpt", "value": "bad"},
}
KTO = {"messages": [USER, ANSWERS["chosen"]], "label": True}


def layout(*rows: Row, **wanted: Any) -> Layout:
    return find_layout(rows, Dataset(dataset="d.jsonl", **wanted), "d.jsonl")


def convert(row: Row, **wanted: Any) -> StoredRecord:
    return layout(row, **wanted).convert(row)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"}, "alpaca"),
        (
            {"instruction": "q", "output": "", "chosen": "good", "rejected": "bad", "system": ""},
            "alpaca",
        ),
        (SHAREGPT, "sharegpt"),
        ({"messages": [USER], **ANSWERS}, "messages"),
        ({"messages": [USER], "chosen": "good", "rejected": "bad"}, "messages"),
        ({"prompt": "q", "chosen": "good", "rejected": "bad"}, "prompt_response"),
        ({"prompt": [USER], **ANSWERS}, "prompt_response"),
        ({"question": "q", "chosen": [ANSWERS["chosen"]], "rejected": "bad"}, "prompt_response"),
        (
            {"chosen": [USER, ANSWERS["chosen"]], "rejected": [USER, ANSWERS["rejected"]]},
            "messages",
        ),
        (
            {
                "prompt": "q",
                "chosen": [USER, ANSWERS["chosen"]],
                "rejected": [USER, ANSWERS["rejected"]],
            },
            "prompt_response",
        ),
        (
            {
                "prompt": "q",
                "chosen": '[{"role": "assistant", "content": "good"}]',
                "rejected": '{"role": "assistant", "content": "bad"}',
            },
            "prompt_response",
        ),
        (OPENAI, "messages"),
        (
            {
                "input": '{"messages": [{"role": "user", "content": "q"}]}',
                "preferred_completion": [ANSWERS["chosen"]],
                "non_preferred_completion": [ANSWERS["rejected"]],
            },
            "messages",
        ),
    ],
)
def test_pairs_of_every_shape_become_the_same_record(row: Row, name: str) -> None:
    found = layout(row)
    assert found.convert(row) == PAIR
    assert (found.kind, found.format) == ("preference_pair", name)
    assert "sft and pt learn nothing" in found.why


def test_alpaca_pairs_keep_context_history_and_system_message() -> None:
    row = {
        "instruction": "sum",
        "input": "1 2",
        "history": [["q", "a"]],
        "system": "S",
        "chosen": "3",
        "rejected": "4",
    }
    record = convert(row)
    assert isinstance(record, PreferencePair)
    assert [turn.content for turn in record.messages] == ["S", "q", "a", "sum\n1 2"]


def test_openai_pairs_keep_tools_and_calls() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    row = {
        **OPENAI,
        "input": {
            "messages": [USER],
            "tools": [{"type": "function", "function": {"name": "clock"}}],
        },
        "preferred_output": [{"role": "assistant", "content": None, "tool_calls": [call]}],
    }
    record = convert(row, format="messages")
    assert isinstance(record, PreferencePair)
    assert record.chosen == (Message("assistant", "", (ToolCall("clock", {}, "c"),)),)
    assert record.tools == ({"type": "function", "function": {"name": "clock"}},)


def test_the_used_columns_are_those_that_the_record_took() -> None:
    extra = {"id": 1, "score": 0.5}
    for row in (SHAREGPT, KTO, OPENAI):
        assert row.keys() <= layout({**row, **extra}).used
        assert not extra.keys() & layout({**row, **extra}).used


@pytest.mark.parametrize("label", [True, 1, 1.0, "true", "True "])
def test_judged_answers_are_kept_with_their_judgement(label: Any) -> None:
    record = convert({"prompt": "q", "completion": "good", "kto_tag": label})
    assert record == UnpairedPreference((Q, GOOD), desirable=True)


def test_a_dialogue_with_a_label_is_a_judged_answer() -> None:
    found = layout({**KTO, "label": False})
    assert found.convert({**KTO, "label": False}) == UnpairedPreference((Q, GOOD), desirable=False)
    assert found.kind == "unpaired_preference"
    assert "'label' says which answers are good" in found.why


def test_labels_of_classes_are_no_judgements() -> None:
    for label in (1, "positive", None):
        assert layout({**KTO, "label": label}).kind == "conversation"
    assert layout({**KTO, "label": 1}, label_field="label").kind == "unpaired_preference"


def test_answers_beside_a_pair_win_until_the_recipe_names_the_pair() -> None:
    row = {"instruction": "q", "output": "a", "chosen": "good", "rejected": "bad"}
    assert layout(row).kind == "conversation"
    assert "'chosen' and 'rejected' are left aside" in layout(row).why
    assert not {"chosen", "rejected"} & layout(row).used
    assert convert(row, chosen_field="chosen") == PAIR
    dialogue = {"messages": [USER, ANSWERS["chosen"]], "chosen": "good", "rejected": "bad"}
    assert layout(dialogue).kind == "conversation"


def test_an_answer_that_looks_like_json_stays_a_text() -> None:
    row = {"prompt": "q", "chosen": "[1, 2]", "rejected": '{"a": 1}'}
    record = convert(row)
    assert isinstance(record, PreferencePair)
    assert (record.chosen[0].content, record.rejected[0].content) == ("[1, 2]", '{"a": 1}')


@pytest.mark.parametrize(
    ("whole", "change", "reason"),
    [
        (SHAREGPT, {"chosen": {"from": "gpt", "value": " "}}, "empty_chosen"),
        (SHAREGPT, {"rejected": None}, "empty_rejected"),
        (
            SHAREGPT,
            {"chosen": [{"from": "gpt", "value": "a"}, {"from": "human", "value": "b"}]},
            "",
        ),
        (SHAREGPT, {"conversations": []}, "no_messages"),
        (OPENAI, {"input": "q"}, "input_is_no_object"),
        (OPENAI, {"input": {}}, "no_messages"),
        (KTO, {"label": "maybe"}, "label_not_true_or_false"),
        (KTO, {"messages": [ANSWERS["chosen"], USER]}, "no_answer"),
    ],
)
def test_an_unusable_row_says_why(whole: Row, change: Row, reason: str) -> None:
    with pytest.raises(RowUnusable, match=reason or "answer_of_another_role"):
        layout(whole).convert({**whole, **change})


def test_two_dialogues_without_a_common_question_are_no_pair() -> None:
    rows = {"chosen": [USER, ANSWERS["chosen"]], "rejected": [USER, ANSWERS["rejected"]]}
    other = {"role": "user", "content": "other"}
    with pytest.raises(RowUnusable, match="no_question"):
        layout(rows).convert({**rows, "rejected": [other, ANSWERS["rejected"]]})


def test_sft_learns_good_answers_and_nothing_of_bad_ones_and_pairs() -> None:
    good = UnpairedPreference((Q, GOOD), desirable=True)
    assert to_learn(good) == Conversation((Q, GOOD))
    assert to_learn(Text("t")) == Text("t")
    with pytest.raises(RowUnusable, match="undesirable_answer"):
        to_learn(UnpairedPreference((Q, BAD), desirable=False))
    with pytest.raises(RowUnusable, match="preference_row"):
        to_learn(PAIR)


def _prepared(folder: Path, tokenizer: TextTokenizer, rows: Sequence[Row]) -> Prepared:
    (folder / "d.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    data = Data(train=[DataSource(dataset="d.jsonl")], validation=NoValidation(), allow_small=True)
    return prepare(
        data,
        Sft(),
        tokenizer,
        seed=1,
        cache_dir=folder / "cache",
        base_dir=folder,
        max_context=None,
        on_progress=lambda *_: None,
    )


def test_a_run_counts_bad_answers_by_line_and_refuses_pairs(
    tmp_path: Path, tokenizer_of: Callable[[str], TextTokenizer]
) -> None:
    tokenizer = tokenizer_of("chatml")
    prepared = _prepared(tmp_path, tokenizer, [KTO, {**KTO, "label": False}, KTO])
    assert prepared.report["rows_kept"] == 2
    (source,) = prepared.report["sources"]
    assert source["dropped"]["undesirable_answer"]["lines"] == [2]
    with pytest.raises(DataError, match="preference_row 2") as caught:
        _prepared(tmp_path, tokenizer, [SHAREGPT, SHAREGPT])
    assert "this stage cannot learn" in caught.value.hint


_names = st.sampled_from(
    ["role", "from", "content", "value", "name", "tool_calls", "function", "a"]
)
_words = st.sampled_from(["user", "assistant", "gpt", "function_call", "system", "[1]", "{}", ""])
_cells = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _words | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=8,
)
_TURNS = [USER, ANSWERS["chosen"]]
_LAYOUTS = [
    layout(SHAREGPT),
    layout(OPENAI),
    layout(KTO),
    layout({"messages": _TURNS, "tools": []}),
    layout({"instruction": "q", "output": "a", "tools": []}, tools_field="tools"),
    layout({"instruction": "q", "output": "a", "kto_tag": True}),
    layout({"prompt": "q", "chosen": "a", "rejected": "b"}),
    layout({"chosen": _TURNS, "rejected": _TURNS}),
    layout({"text": "t"}),
]
_COLUMNS = sorted(frozenset[str]().union(*(found.used for found in _LAYOUTS)))


@given(st.dictionaries(st.sampled_from(_COLUMNS), _cells), st.sampled_from(_LAYOUTS))
def test_no_row_breaks_a_conversion(row: Row, found: Layout) -> None:
    with suppress(RowUnusable):
        found.convert(row)


@pytest.mark.parametrize(
    "key", ["role", "content", "name", "tool_calls", "weight", "function_call"]
)
@pytest.mark.parametrize("depth", [3, 900])
def test_deep_nesting_anywhere_breaks_no_conversion(key: str, depth: int) -> None:
    for deep in ("[" * depth + "]" * depth, '{"name":' * depth + "1" + "}" * depth):
        turn = {"role": "assistant", "content": "a", key: orjson.loads(deep)}
        called = {"function": {"name": "f", "arguments": orjson.loads(deep)}}
        for row in (
            {"messages": [turn], "tools": deep, "label": True},
            {"chosen": [USER, turn, turn], "rejected": [USER, turn, turn]},
            {"messages": [{"role": "assistant", "tool_calls": [called]}]},
        ):
            for found in _LAYOUTS:
                with suppress(RowUnusable):
                    found.convert(row)


def test_a_layout_goes_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(layout(SHAREGPT))).convert(SHAREGPT) == PAIR


@pytest.mark.parametrize("odd", ["bad", "no", "0", "否"])
def test_an_unusual_word_among_the_first_tags_does_not_hide_the_column(odd: str) -> None:
    rows = [{"instruction": "q", "output": "a", "kto_tag": tag} for tag in (True, odd, "yes")]
    layout = find_layout(rows, Dataset(dataset="a"), "a")
    judged = [layout.convert(row) for row in rows]
    assert [isinstance(r, UnpairedPreference) and r.desirable for r in judged] == [
        True,
        False,
        True,
    ]


def test_an_odd_label_among_judgements_costs_its_row_alone() -> None:
    rows = [{"instruction": "q", "output": "a", "label": tag} for tag in (True, False, "perhaps")]
    found = find_layout(rows, Dataset(dataset="a"), "a")
    assert found.kind == "unpaired_preference"
    judged = [found.convert(row) for row in rows[:2]]
    assert [isinstance(r, UnpairedPreference) and r.desirable for r in judged] == [True, False]
    with pytest.raises(RowUnusable, match="label_not_true_or_false"):
        found.convert(rows[2])


def test_a_tag_that_cannot_be_read_is_told_for_its_row() -> None:
    rows = [{"instruction": "q", "output": "a", "kto_tag": tag} for tag in ("oops", "maybe")]
    layout = find_layout(rows, Dataset(dataset="a"), "a")
    with pytest.raises(RowUnusable, match="label_not_true_or_false"):
        layout.convert(rows[0])
