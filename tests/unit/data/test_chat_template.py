"""Templates run here as they run in transformers, which is what users deploy with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jinja2 import TemplateError

from tunesmith.data.chat_template import ChatTemplate, TemplateRefused, find_template
from tunesmith.data.conversation import Message, ToolCall
from tunesmith.data.tokenizer import SPECIAL_NAMES, TextTokenizer
from tunesmith.errors import DataError

CHAT = [
    Message("user", "q <b> & 'x'"),
    Message("assistant", "a", reasoning="hm\nhm"),
    Message("user", "  q2\n"),
    Message("assistant", "<think>\nso\n</think>\n\na2"),
]
TOOL_USE = [
    Message("system", "S"),
    Message("user", "time?"),
    Message("assistant", "", (ToolCall("clock", {"zone": "中国"}, "call00001"),)),
    Message("tool", "12", name="clock", tool_call_id="call00001"),
    Message("assistant", "noon"),
]
TOOLS = [{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]


def ours(tokenizer: TextTokenizer, source: str, messages: list[Message], generate: bool) -> str:
    try:
        return ChatTemplate(source, tokenizer)(messages, TOOLS, generate=generate)
    except TemplateRefused as refusal:
        return f"refused: {refusal}"


def theirs(tokenizer: TextTokenizer, source: str, messages: list[Message], generate: bool) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    named = {name: tokenizer.special(name) for name in SPECIAL_NAMES}
    try:
        return render_jinja_template(
            [[message.for_template() for message in messages]],
            tools=TOOLS,
            chat_template=source,
            add_generation_prompt=generate,
            **{name: token for name, token in named.items() if token is not None},
        )[0][0]
    except TemplateError as refusal:
        return f"refused: {refusal}"


@pytest.mark.slow
@pytest.mark.parametrize("messages", [CHAT, CHAT[:3], TOOL_USE, TOOL_USE[:4]])
@pytest.mark.parametrize("generate", [False, True])
def test_a_template_writes_what_transformers_writes(
    any_tokenizer: TextTokenizer, messages: list[Message], generate: bool
) -> None:
    case = (any_tokenizer, any_tokenizer.chat_template or "", messages, generate)
    assert ours(*case) == theirs(*case)


SOURCES = [
    "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content }}"
    "{% break %}{% endfor %}",
    "{{ messages | tojson(indent=2) }}",
    "{% generation %}{{ messages[1].content }}{% endgeneration %}|",
    "{{ strftime_now('%Y') }}",
    "  {% if true %}\n  x\n  {% endif %}\n\n",
    "{{ raise_exception('no') }}",
    "{{ messages[9].content.missing }}",
    "{%- set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
    "{{ ns.n }}",
]


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_the_sandbox_offers_what_transformers_offers(
    tokenizer_of: Callable[[str], TextTokenizer], source: str
) -> None:
    case = (tokenizer_of("llama3"), source, CHAT, False)
    assert ours(*case) == theirs(*case)


def test_a_template_that_is_not_there_is_named_as_it_was_written(
    tokenizer_of: Callable[[str], TextTokenizer], tmp_path: Path
) -> None:
    """Where a run or a plan looks for it is no place that a user knows."""
    with pytest.raises(DataError, match=r"there is no file mine\.jinja\.") as caught:
        find_template("mine.jinja", tokenizer_of("chatml"), tmp_path)
    assert str(tmp_path) not in caught.value.message
    assert "chatml" in caught.value.hint
