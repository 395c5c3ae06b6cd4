"""Finished runs of tiny random models, whose norms, biases and adapters are not trivial."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
import transformers

from tunesmith.engine.adapter import apply_adapter, trainable_parameters
from tunesmith.engine.export import Result, write_artifacts
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.models import load_model
from tunesmith.recipe import Full, Lora, parse_recipe
from tunesmith.runs import RunDir

GEMMA = {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 64}
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {"head_dim": 16, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {"head_dim": 8, "sliding_window": 256}),
    "gemma2": ("Gemma2Config", GEMMA),
    "gemma3_text": ("Gemma3TextConfig", {**GEMMA, "num_hidden_layers": 7}),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}),
}
SIZES: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


MERGES = (("h", "e"), ("l", "l"), ("he", "ll"))


def add_merges(file: Path) -> None:
    """The shared tokenizer knows bytes only; no real one does."""
    content = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    for pair in MERGES:
        vocabulary["".join(pair)] = len(vocabulary)
    content["model"]["merges"] = [list(pair) for pair in MERGES]
    file.write_text(json.dumps(content), encoding="utf-8")


class MakeRun(Protocol):
    def __call__(
        self, family: str, *, kind: str = ..., dtype: torch.dtype = ..., **changes: Any
    ) -> Path: ...


@pytest.fixture
def narrator() -> Narrator:
    return Narrator(io.StringIO())


@pytest.fixture(scope="session")
def write_model(tiny_tokenizer_dir: Path) -> Callable[..., Path]:
    """`write_model(folder, family, dtype=..., **settings)` writes a random model."""

    def write(
        folder: Path, family: str, *, dtype: torch.dtype = torch.float32, **changes: Any
    ) -> Path:
        name, extra = CLASSES[family]
        config = getattr(transformers, name)(**{**SIZES, **extra, **changes})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            model = transformers.AutoModelForCausalLM.from_config(config)
            for parameter in model.parameters():
                width = 0.3 if parameter.ndim == 1 else 0.15
                parameter.data += width * torch.randn(parameter.shape)
        model.to(dtype).save_pretrained(folder)
        for file in tiny_tokenizer_dir.iterdir():
            shutil.copy(file, folder / file.name)
        add_merges(folder / "tokenizer.json")
        return folder

    return write


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> MakeRun:
    """`make_run("qwen3", kind="lora")` is a finished run; the same one each time."""
    made: dict[str, Path] = {}

    def make(
        family: str, *, kind: str = "lora", dtype: torch.dtype = torch.float32, **changes: Any
    ) -> Path:
        key = json.dumps([family, kind, str(dtype), changes], sort_keys=True, default=str)
        if key not in made:
            place = tmp_path_factory.mktemp(f"{family}-{kind}")
            base = write_model(place / "base", family, dtype=dtype, **changes)
            made[key] = finish_run(place / "run", base, kind)
        return made[key]

    return make


def finish_run(path: Path, base: Path, kind: str) -> Path:
    """A run whose weights are far from its base's."""
    rows = path.parent / "rows.jsonl"
    row = {"prompt": "Where is order 7?", "response": "On its way."}
    rows.write_text(f"{json.dumps(row)}\n" * 3, encoding="utf-8")
    recipe = parse_recipe(
        {
            "name": "tiny bot",
            "model": {"base": str(base)},
            "adapter": {"kind": kind},
            "data": {"train": [str(rows)], "validation": {"kind": "none"}},
        }
    )
    run = RunDir.create(path, json.dumps(recipe.model_dump(mode="json")), recipe_name="tiny")
    adapter = Lora(rank=4, alpha=8) if kind == "lora" else Full()
    model = apply_adapter(load_model(base, attention="auto"), adapter, seed=1)
    generator = torch.Generator().manual_seed(7)
    for _, part in trainable_parameters(model):
        part.data += torch.randn(part.shape, generator=generator) * 0.1
    facts = Result(1, 1, "done", 1.0, "cpu", "f", "0", stop_ids=(0, 2))
    write_artifacts(run, model, recipe=recipe, base_dir=base, tokenizer_dir=base, result=facts)
    return run.path
