"""A tokenizer from `tokenizer.json`: text to ids and back, without transformers.

Opening a folder is cheap: the large vocabulary is only parsed when the first text is encoded, so a
run whose tokens are cached starts without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from tunesmith.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

TEMPLATE_FILE = "chat_template.jinja"
_CONTEXT = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len")
_NO_LIMIT = 1 << 30
SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")


class TextTokenizer:
    """The vocabulary, special tokens and chat template of one model folder."""

    def __init__(self, raw: bytes, config: dict[str, Any], chat_template: str | None) -> None:
        self._raw = raw
        self.config = config
        self.chat_template = chat_template
        self.fingerprint = hashlib.sha256(raw).hexdigest()
        self.context: int | None = None  # tokens that the model takes, where its folder says it

    @classmethod
    def load(cls, directory: Path) -> TextTokenizer:
        """Open the tokenizer of a model folder."""
        file = directory / "tokenizer.json"
        if not file.is_file():
            raise ModelError(
                f"{directory} has no tokenizer.json.",
                hint="Use a model folder with a fast tokenizer, or convert its tokenizer first.",
            )
        config = _read_config(directory)
        tokenizer = cls(file.read_bytes(), config, _read_template(directory, config))
        tokenizer.context = _read_context(directory, config)
        return tokenizer

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; the vocabulary is parsed there again."""
        return {name: value for name, value in self.__dict__.items() if name != "core"}

    @cached_property
    def core(self) -> Tokenizer:
        """The `tokenizers` object; parsing it takes a moment for large vocabularies."""
        from tokenizers import Tokenizer

        try:
            core = Tokenizer.from_buffer(self._raw)
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(f"tokenizer.json cannot be read: {error}") from error
        core.no_truncation()
        core.no_padding()
        return core

    @cached_property
    def added_tokens(self) -> dict[str, int]:
        """Tokens that are found in a text before anything else is split."""
        return {token["content"]: token["id"] for token in self._added}

    @cached_property
    def special_tokens(self) -> frozenset[str]:
        """Added tokens that are marked special, and the end-of-text token."""
        names = {token["content"] for token in self._added if token.get("special")}
        return frozenset(names | ({self.eos_token} if self.eos_token else set()))

    @cached_property
    def _added(self) -> list[dict[str, Any]]:
        """The list of added tokens alone: it stands before the vocabulary, which is huge."""
        key = b'"added_tokens"'
        at = self._raw.find(key)
        if at < 0:
            return []
        text = self._raw[at + len(key) :].decode("utf-8").lstrip().removeprefix(":").lstrip()
        try:
            return json.JSONDecoder().raw_decode(text)[0]
        except json.JSONDecodeError as error:
            raise ModelError(f"tokenizer.json is not valid JSON: {error}") from error

    def special(self, name: str) -> str | None:
        """The text of a named special token such as `bos_token`."""
        value = self.config.get(name)
        return value.get("content") if isinstance(value, dict) else value

    @property
    def eos_token(self) -> str | None:
        return self.special("eos_token")

    @property
    def bos_token(self) -> str | None:
        return self.special("bos_token")

    @cached_property
    def bos_id(self) -> int | None:
        return self._special_id("bos_token")

    @cached_property
    def eos_id(self) -> int | None:
        return self._special_id("eos_token")

    @cached_property
    def pad_id(self) -> int | None:
        return self._special_id("pad_token")

    @property
    def vocab_size(self) -> int:
        return self.core.get_vocab_size(with_added_tokens=True)

    @cached_property
    def adds_bos(self) -> bool:
        """True when the tokenizer itself begins a text with its begin-of-text token."""
        ids = self.core.encode("a").ids
        return bool(ids) and self.bos_id is not None and ids[0] == self.bos_id

    def token_id(self, token: str) -> int | None:
        """The id of one token, None when the vocabulary has no such token."""
        added = self.added_tokens.get(token)
        return added if added is not None else self.core.token_to_id(token)

    def encode(self, text: str) -> list[int]:
        """Ids of one text; special tokens in the text are parsed, none are added."""
        return self.core.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores."""
        encodings = self.core.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(self, texts: Sequence[str]) -> list[Encoding]:
        """Encodings of many texts that also know which characters each token covers."""
        return self.core.encode_batch(list(texts), add_special_tokens=False)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of some ids."""
        return self.core.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def _special_id(self, name: str) -> int | None:
        token = self.special(name)
        return None if token is None else self.token_id(token)


def _read_config(directory: Path) -> dict[str, Any]:
    """tokenizer_config.json on top of the older special_tokens_map.json."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        file = directory / name
        if file.is_file():
            try:
                config |= orjson.loads(file.read_bytes())
            except orjson.JSONDecodeError as error:
                raise ModelError(f"{file} is not valid JSON: {error}") from error
    return config


def _read_context(directory: Path, tokenizer_config: dict[str, Any]) -> int | None:
    """What config.json says, else the tokenizer, whose 1e30 stands for not knowing."""
    file = directory / "config.json"
    values: list[Any] = []
    if file.is_file():
        try:
            config: dict[str, Any] = orjson.loads(file.read_bytes())
        except orjson.JSONDecodeError as error:
            raise ModelError(f"{file} is not valid JSON: {error}") from error
        text = config.get("text_config") or config
        values = [text.get(name) for name in _CONTEXT]
    values.append(tokenizer_config.get("model_max_length"))
    return next((v for v in values if isinstance(v, int) and 0 < v < _NO_LIMIT), None)


def _read_template(directory: Path, config: dict[str, Any]) -> str | None:
    file = directory / TEMPLATE_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several named templates
        named: dict[str, str] = {entry["name"]: entry["template"] for entry in template}
        return named.get("default") or next(iter(named.values()), None)
    return template
