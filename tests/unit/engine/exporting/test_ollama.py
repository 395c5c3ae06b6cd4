"""The Modelfile's template writes what the chat template writes.

Go's template language is read here as far as the templates use it: range, if, else if, else, end,
assignments and texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.chat_template import ChatTemplate, builtin_template
from tunesmith.data.conversation import Message
from tunesmith.data.names import TEMPLATES
from tunesmith.engine.exporting.errors import ExportRefused
from tunesmith.engine.exporting.formats import Choice, format_of
from tunesmith.engine.exporting.ollama import GO_TEMPLATES, go_template, modelfile, recognise
from tunesmith.engine.exporting.source import Source, find_source

SYSTEM, ONE = Message("system", "Be brief."), Message("user", "Wo? 你好")
TWO, THREE = Message("assistant", "Here."), Message("user", "And {{ this }}?")
CHATS = [(ONE,), (SYSTEM, ONE), (ONE, TWO, THREE), (SYSTEM, ONE, TWO, THREE)]
QWEN = (
    "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}"
    "{%- endif %}{%- for m in messages %}"
    "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def go(template: str, messages: Sequence[Message]) -> str:
    """What Go writes for some messages."""
    tokens = re.split(r"({{.*?}})", template)
    tree, rest = _parse(iter([token for token in tokens if token]))
    assert rest == ""
    return _run(tree, {"messages": messages})


def _parse(tokens: Iterator[str]) -> tuple[list[Any], str]:
    nodes: list[Any] = []
    for token in tokens:
        if not token.startswith("{{"):
            nodes.append(token)
            continue
        word = token[2:-2].strip()
        if word.split()[0] in ("else", "end"):
            return nodes, word
        if word.startswith(("range", "if")):
            branches, end = [], word
            while end != "end":
                body, after = _parse(tokens)
                branches.append((end, body))
                end = after
            nodes.append(branches)
        else:
            nodes.append((word,))
    return nodes, ""


def _run(nodes: list[Any], scope: dict[str, Any]) -> str:
    text = ""
    for node in nodes:
        if isinstance(node, str):
            text += node
        elif isinstance(node, tuple):
            text += _value(node[0], scope)
        elif node[0][0].startswith("range"):
            for message in scope["messages"]:
                scope["turn"] = message
                text += _run(node[0][1], scope)
        else:
            text += next((_run(body, scope) for test, body in node if _holds(test, scope)), "")
    return text


def _holds(test: str, scope: dict[str, Any]) -> bool:
    words = test.removeprefix("else").strip().removeprefix("if").strip()
    if not words:
        return True
    if words.startswith("eq "):
        name, value = words[3:].split(" ", 1)
        return _value(name, scope) == json.loads(value)
    return bool(_value(words, scope))


def _value(word: str, scope: dict[str, Any]) -> str:
    if word == ".Role":
        return scope["turn"].role
    if word == ".Content":
        return scope["turn"].content
    assigned = re.fullmatch(r"(\$\w+) :?= (.+)", word)
    if assigned:
        scope[assigned[1]] = _value(assigned[2], scope)
        return ""
    return scope[word] if word.startswith("$") else json.loads(word)


def with_template(folder: Path, template: str) -> Source:
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings |= {"chat_template": template, "bos_token": "<|endoftext|>"}
    file.write_text(json.dumps(settings))
    return find_source(str(folder), base=None, on_progress=lambda *_: None)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_built_in_template_is_known_and_writes_the_same_in_go(
    name: str, write_model: Any, tmp_path: Path
) -> None:
    assert set(GO_TEMPLATES) == set(TEMPLATES)
    source = with_template(write_model(tmp_path / "model", "llama"), builtin_template(name))
    found = recognise(source)
    assert found is not None
    assert (found.name, found.system) == (name, None)
    for messages in CHATS:
        known = ChatTemplate(builtin_template(name), source.renderer.tokenizer)
        expected = known(messages, generate=True)
        assert go(go_template(source), messages) == expected


def test_a_system_message_that_a_template_adds_becomes_that_of_the_modelfile(
    write_model: Any, tmp_path: Path
) -> None:
    source = with_template(write_model(tmp_path / "model", "qwen2"), QWEN)
    text = modelfile(source, "bot-f16.gguf")
    assert text.startswith('FROM ./bot-f16.gguf\nTEMPLATE """{{ range .Messages }}<|im_start|>')
    assert 'SYSTEM """You are kind."""\n' in text
    assert 'PARAMETER stop "<|im_end|>"\n' in text


@pytest.mark.parametrize("in_history", [True, False])
def test_an_empty_thought_before_answers_is_written_too(
    in_history: bool, write_model: Any, tmp_path: Path
) -> None:
    thought = "<think>\\n\\n</think>\\n\\n"
    text = builtin_template("chatml").replace("assistant\\n'", f"assistant\\n{thought}'")
    if in_history:
        text = text.replace(
            "message.content +",
            f"('{thought}' if message.role == 'assistant' else '') + message.content +",
        )
    source = with_template(write_model(tmp_path / "model", "llama"), text)
    found = recognise(source)
    assert found is not None
    assert found.leads_all == in_history
    for messages in CHATS:
        expected = source.renderer.template(messages, generate=True)
        assert expected.endswith("<think>\n\n</think>\n\n")
        assert go(go_template(source), messages) == expected


def test_a_token_that_readers_put_before_a_text_is_not_written_twice(
    write_model: Any, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, processors

    folder = write_model(tmp_path / "model", "llama")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    source = with_template(folder, builtin_template("llama3"))
    assert go_template(source).startswith("{{ range .Messages }}")
    chatml = with_template(folder, builtin_template("chatml"))
    assert go_template(chatml).startswith("{{ range .Messages }}")
    from tunesmith.engine.exporting.gguf.writing import begins_with_bos

    assert begins_with_bos(source)
    assert not begins_with_bos(chatml)


def test_a_template_of_another_kind_is_refused(write_model: Any, tmp_path: Path) -> None:
    odd = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    source = with_template(write_model(tmp_path / "model", "llama"), odd)
    with pytest.raises(ExportRefused, match="not one that is known") as refused:
        format_of("ollama", source, Choice())
    assert refused.value.code == "ollama_template_unknown"


def test_a_template_that_differs_in_later_turns_only_is_not_taken_for_another(
    write_model: Any, tmp_path: Path
) -> None:
    odd = builtin_template("chatml").replace(
        "message.content +", "(message.content if loop.index < 3 else '') +"
    )
    source = with_template(write_model(tmp_path / "model", "llama"), odd)
    assert recognise(source) is None


def test_the_texts_that_a_recipe_puts_around_turns_are_in_the_template(
    write_model: Any, tmp_path: Path
) -> None:
    from dataclasses import replace

    from tunesmith.data.renderer import Renderer

    source = with_template(write_model(tmp_path / "model", "llama"), builtin_template("chatml"))
    renderer = Renderer(source.renderer.tokenizer, instruction_template="Q {{x}}: {instruction}!")
    wrapped = replace(source, renderer=renderer)
    from tunesmith.data.conversation import Conversation

    expected = renderer.prompt_text(Conversation((SYSTEM, ONE)))
    assert go(go_template(wrapped), (SYSTEM, ONE)) == expected
    assert "Q {{x}}: Wo? 你好!" in expected
