"""Calls of tools are read in the form in which the template writes them, in streams as well."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.serving.conftest import write_tiny_tokenizer

from tunesmith.data.renderer import Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.serving.answers import ChatChoice, ChatText
from tunesmith.serving.order import Delta
from tunesmith.serving.tools import ToolFormat, find_format, read_calls

TAGGED = ToolFormat("tagged", "<tool_call>", "</tool_call>")
LISTED = ToolFormat("listed", "[TOOL_CALLS]")
BARE = ToolFormat("bare")
CALL = '{"name": "look", "arguments": {"at": "it"}}'
CALL_TEXT = "{{- '%s' + ({'name': c.function.name, 'arguments': c.function.arguments} | tojson) }}"
TEMPLATE = (
    "{%- for m in messages %}{{- m.role + ':' + m.content }}"
    "{%- for c in m.tool_calls or [] %}" + CALL_TEXT + "{%- endfor %}{%- endfor %}"
)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("<tool_call>", TAGGED),
        ("[TOOL_CALLS]", LISTED),
        ("", BARE),
    ],
)
def test_the_template_tells_the_form(tmp_path: Path, tag: str, expected: ToolFormat) -> None:
    folder = write_tiny_tokenizer(
        tmp_path / tag.strip("<>[]") / "t", chat_template=TEMPLATE.replace("%s", tag)
    )
    assert find_format(Renderer(TextTokenizer.load(folder))) == expected


def test_a_template_that_writes_no_calls_has_no_form(tmp_path: Path) -> None:
    folder = write_tiny_tokenizer(tmp_path, chat_template="{{ messages[0].content }}")
    assert find_format(Renderer(TextTokenizer.load(folder))) is None


@pytest.mark.parametrize(
    ("text", "form", "rest"),
    [
        (f"<tool_call>\n{CALL}\n</tool_call>", TAGGED, ""),
        (f"Wait. <tool_call>{CALL}", TAGGED, "Wait."),  # cut off behind its JSON
        (f"[TOOL_CALLS][{CALL}]", LISTED, ""),
        (CALL.replace("arguments", "parameters"), BARE, ""),
    ],
)
def test_a_call_is_read(text: str, form: ToolFormat, rest: str) -> None:
    left, [call] = read_calls(text, form)
    assert left == rest
    assert call.name == "look"
    assert json.loads(call.arguments) == {"at": "it"}
    assert call.id.startswith("call_")


def test_two_calls_are_two() -> None:
    text = f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>"
    assert len(read_calls(text, TAGGED)[1]) == 2
    assert len(read_calls(f"[TOOL_CALLS][{CALL}, {CALL}]", LISTED)[1]) == 2


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>{oops</tool_call>",
        "<tool_call>3</tool_call>",
        "<tool_call>{}</tool_call>",
        "<tool",
    ],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    assert read_calls(text, TAGGED) == (text, [])
    told = ChatText(TAGGED)
    assert told.push(text) + told.finish() == text


@given(
    text=st.sampled_from(
        [
            "Just text",
            f"Wait.\n<tool_call>{CALL}</tool_call>",
            f"<tool_call>{CALL}</tool_call> done",
            "a < b and <tool",
            "  ",
        ]
    ),
    cuts=st.lists(st.integers(1, 9), max_size=12),
    form=st.sampled_from([TAGGED, LISTED, BARE, None]),
)
def test_a_stream_with_calls_is_the_whole_answer(
    text: str, cuts: list[int], form: ToolFormat | None
) -> None:
    told = ChatText(form)
    pieces, rest = "", text
    for size in [*cuts, len(text)]:
        pieces += told.push(rest[:size])
        rest = rest[size:]
    pieces += told.finish()
    at_once = ChatText(form)
    whole = at_once.push(text) + at_once.finish()
    assert pieces == whole
    calls = [replace(call, id="") for call in told.calls]
    assert calls == [replace(call, id="") for call in at_once.calls]
    if not calls:
        assert whole == text
    else:
        assert "tool_call" not in whole


def test_an_answer_with_calls_ends_with_tool_calls(tmp_path: Path) -> None:
    tokenizer = TextTokenizer.load(write_tiny_tokenizer(tmp_path))
    choice = ChatChoice(0, ChatText(TAGGED), tokenizer)
    chunks = choice.take(Delta(f"<tool_call>{CALL}</tool_call>", 9, finish="stop"))
    assert [list(chunk["delta"]) for chunk in chunks] == [["role", "content"], ["tool_calls"], []]
    assert chunks[-1]["finish_reason"] == "tool_calls"
    whole = choice.to_dict()
    assert whole["message"]["content"] is None
    assert whole["message"]["tool_calls"][0]["function"]["name"] == "look"
