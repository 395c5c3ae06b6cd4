"""The tokenizer opens model folders of every vintage, and tells what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import ModelError


def test_text_survives_encoding(any_tokenizer: TextTokenizer) -> None:
    text = "  Hello,\n\n世界 🙂\t1 + 1 = 2"
    assert any_tokenizer.decode(any_tokenizer.encode(text)) == text
    assert any_tokenizer.encode_batch([text, "a"]) == [
        any_tokenizer.encode(text),
        any_tokenizer.encode("a"),
    ]


def test_special_tokens_in_text_are_one_token(any_tokenizer: TextTokenizer) -> None:
    assert any_tokenizer.eos_token is not None
    assert any_tokenizer.encode(f"a{any_tokenizer.eos_token}")[-1] == any_tokenizer.eos_id
    assert any_tokenizer.decode([any_tokenizer.eos_id or 0], skip_special_tokens=True) == ""


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        TextTokenizer.load(tmp_path)


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{]}', "utf-8")
    tokenizer = TextTokenizer.load(tmp_path)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        tokenizer.encode("a")
    with pytest.raises(ModelError, match="not valid JSON"):
        _ = tokenizer.added_tokens


def test_a_template_file_wins_over_the_one_in_the_config(
    tokenizer_folder: Callable[..., Path],
) -> None:
    folder = tokenizer_folder("chatml")
    (folder / "chat_template.jinja").write_text("{{ 'mine' }}", "utf-8")
    assert TextTokenizer.load(folder).chat_template == "{{ 'mine' }}"


def test_named_templates_and_token_objects_are_understood(
    tokenizer_folder: Callable[..., Path],
) -> None:
    folder = tokenizer_folder("chatml")
    templates = [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]
    config = {"eos_token": {"content": "<|im_end|>"}, "chat_template": templates}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    tokenizer = TextTokenizer.load(folder)
    assert tokenizer.chat_template == "d"
    assert tokenizer.eos_id == tokenizer.token_id("<|im_end|>")
    assert tokenizer.bos_id is None
    assert tokenizer.pad_id is None


def test_added_tokens_are_read_without_the_vocabulary(any_tokenizer: TextTokenizer) -> None:
    core = any_tokenizer.core.get_added_tokens_decoder()
    assert any_tokenizer.added_tokens == {token.content: at for at, token in core.items()}
    special = {token.content for token in core.values() if token.special}
    assert any_tokenizer.special_tokens == special | {any_tokenizer.eos_token}
    assert any_tokenizer.vocab_size == any_tokenizer.core.get_vocab_size()
