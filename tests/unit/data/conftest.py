"""Small tokenizers with the templates of real families, and their quirks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tunesmith.data.chat_template import builtin_template
from tunesmith.data.names import TEMPLATES as BUILTIN
from tunesmith.data.tokenizer import TextTokenizer

REPOSITORY = Path(__file__).parents[3]
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Family:
    """A template, the special tokens it writes, and the ones that end a text or begin it."""

    template: str
    specials: tuple[str, ...]
    eos: str
    bos: str | None = None

    @property
    def source(self) -> str:
        if self.template in BUILTIN:
            return builtin_template(self.template)
        return (TEMPLATES / f"{self.template}.jinja").read_text(encoding="utf-8")


_CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_LLAMA = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>")
_GLM = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
FAMILIES = {
    "chatml": Family("chatml", _CHATML, "<|im_end|>"),
    "qwen3": Family("qwen3", _CHATML, "<|im_end|>"),
    "closed_think": Family("closed_think", _CHATML, "<|im_end|>"),
    "llama3": Family("llama3", ("<|begin_of_text|>", *_LLAMA), "<|eot_id|>", "<|begin_of_text|>"),
    "mistral": Family("mistral", ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", "<s>"),
    "mistral_moving": Family("mistral_moving", ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", "<s>"),
    "gemma": Family(
        "gemma",
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        "<eos>",
        "<bos>",
    ),
    "glm4": Family("glm4", (*_GLM, "<|endoftext|>"), "<|endoftext|>"),
    "alpaca": Family("alpaca", ("</s>",), "</s>"),
    "undelimited": Family("undelimited", ("</s>",), "</s>"),
}


def write_tokenizer(
    folder: Path, family: Family, *, merges: tuple[tuple[str, str], ...] = ()
) -> Path:
    """A model folder with a byte-level tokenizer: one token a byte, and the given merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(a + b for a, b in merges)]
    core = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, list(merges)))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True) for text in family.specials])
    core.save(str(folder / "tokenizer.json"))
    config = {"eos_token": family.eos, "bos_token": family.bos, "chat_template": family.source}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def real_tokenizers() -> list[Path]:
    """Folders with real tokenizers beside the repository or named by TUNESMITH_TEST_TOKENIZERS."""
    named = os.environ.get("TUNESMITH_TEST_TOKENIZERS", "")
    roots = [REPOSITORY.parent / "shared" / "tokenizers", *([Path(named)] if named else [])]
    return sorted(file.parent for root in roots for file in root.glob("*/tokenizer.json"))


_made: dict[str, TextTokenizer] = {}


@pytest.fixture(scope="session")
def tokenizer_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TextTokenizer]:
    """The tokenizer of a family by name, made once."""

    def make(name: str) -> TextTokenizer:
        if name not in _made:
            folder = write_tokenizer(tmp_path_factory.mktemp(name), FAMILIES[name])
            _made[name] = TextTokenizer.load(folder)
        return _made[name]

    return make


@pytest.fixture(params=[*FAMILIES, *real_tokenizers()], ids=lambda which: Path(which).name)
def any_tokenizer(
    request: pytest.FixtureRequest, tokenizer_of: Callable[[str], TextTokenizer]
) -> TextTokenizer:
    """The tokenizer of each small family, and each real one that is at hand."""
    if isinstance(request.param, str):
        return tokenizer_of(request.param)
    key = str(request.param)
    if key not in _made:
        _made[key] = TextTokenizer.load(request.param)
    return _made[key]


@pytest.fixture(scope="session")
def tokenizer_folder(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Writes a model folder for a family, with merges of choice."""

    def write(name: str, **options: tuple[tuple[str, str], ...]) -> Path:
        return write_tokenizer(tmp_path_factory.mktemp(name), FAMILIES[name], **options)

    return write
