"""Vectors in front of the text: PEFT's own numbers, packed or alone, refused before work."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.engine.adapter import apply_adapter, known_notices, trainable_parameters
from tunesmith.engine.attention import Documents, register_flat_attention
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.exporting.command import Order, export
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity import prompts, walks
from tunesmith.engine.fused import why_not_fused
from tunesmith.engine.generate import continued
from tunesmith.engine.head import Head
from tunesmith.engine.methods.prompts import vectors_off
from tunesmith.engine.models import load_model
from tunesmith.engine.weights import write_adapter
from tunesmith.errors import ModelError, TunesmithError
from tunesmith.recipe import parse_recipe
from tunesmith.recipe.capabilities import Choice, refusal
from tunesmith.recipe.prompts import Prefix, Prompt, PTuning

TinyModel = Callable[[str], Path]
CPU = torch.device("cpu")
ROWS = [[5, 6, 7, 8, 9, 10, 11], [20, 21], [30, 31, 32, 33]]
METHODS = {
    "prompt": Prompt(virtual_tokens=3),
    "random": Prompt(virtual_tokens=3, init="random"),
    "p_tuning": PTuning(virtual_tokens=3, encoder_width=8),
    "prefix": Prefix(virtual_tokens=3),
    "projected": Prefix(virtual_tokens=3, projection=True, encoder_width=8),
}
FAMILIES = ("llama", "qwen3", "gemma3_text", "gpt2")


def tuned(folder: Path, adapter: Prompt | PTuning | Prefix, attention: str = "sdpa") -> Any:
    return apply_adapter(load_model(folder, attention=attention), adapter, seed=3)


def packed_logits(model: Any, rows: list[list[int]], attention: str) -> list[Tensor]:
    """Of the engine, all rows behind each other."""
    backbone, head = build_backbone(model, attention=attention), Head.of(model)
    borders = [0]
    for row in rows:
        borders.append(borders[-1] + len(row))
    ids = torch.tensor([token for row in rows for token in row])
    positions = torch.cat([torch.arange(len(row)) for row in rows])
    hidden = backbone(ids, positions, Documents(tuple(borders)))
    return [head.logits(hidden[start:end]) for start, end in pairwise(borders)]


def logits_of_peft(model: Any, row: list[int]) -> Tensor:
    return model(input_ids=torch.tensor([row])).logits[0, -len(row) :]


@pytest.mark.parametrize("name", METHODS)
def test_vectors_begin_as_those_of_peft(tiny_model_dir: TinyModel, name: str) -> None:
    from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model

    common: dict[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3}
    config: Any = PromptEncoderConfig(encoder_hidden_size=8, **common)
    if name in ("prefix", "projected"):
        projects = name == "projected"
        config = PrefixTuningConfig(prefix_projection=projects, encoder_hidden_size=8, **common)
    elif name != "p_tuning":
        kind = "RANDOM" if name == "random" else "SAMPLE_VOCAB"
        config = PromptTuningConfig(prompt_tuning_init=kind, **common)
    torch.manual_seed(3)
    with known_notices():
        theirs = get_peft_model(load_model(tiny_model_dir("llama")), config)
    peft = trainable_parameters(theirs)
    own = trainable_parameters(tuned(tiny_model_dir("llama"), METHODS[name]))
    assert [part for part, _ in own] == [part for part, _ in peft]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(own, peft, strict=True))


# The configuration of the tiny GPT-2 names key-value heads, which it has not and PEFT believes.
BY_FAMILY = [
    (name, family)
    for name in ("prompt", "p_tuning", "prefix", "projected")
    for family in (FAMILIES if METHODS[name].kind != "prefix" else FAMILIES[:3])
]


@pytest.mark.parametrize(
    ("name", "family"), [*BY_FAMILY, ("prefix", "narrow"), ("prompt", "narrow")]
)
def test_packed_rows_compute_as_each_alone_does_in_peft(
    tiny_model_dir: TinyModel, tmp_path: Path, family: str, name: str
) -> None:
    if family == "narrow":  # the last tokens of the longest row no longer see what is in front
        base = shutil.copytree(tiny_model_dir("mistral"), tmp_path / "narrow")
        settings = json.loads((base / "config.json").read_bytes()) | {"sliding_window": 4}
        (base / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    else:
        base = tiny_model_dir(family)
    plain = tuned(base, METHODS[name]).eval()
    flat = tuned(base, METHODS[name], register_flat_attention()).eval()
    expected = [logits_of_peft(plain, row) for row in ROWS]
    for model, attention in ((flat, "flat"), (plain, "sdpa")):
        found = packed_logits(model, ROWS, attention)
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.allclose(ours, theirs, atol=2e-5)
    # So are the gradients of what learns.
    sum((part**2).sum() for part in packed_logits(flat, ROWS, "flat")).backward()  # pyright: ignore
    sum((logits_of_peft(plain, row) ** 2).sum() for row in ROWS).backward()  # pyright: ignore
    for (_, ours), (_, theirs) in zip(
        trainable_parameters(flat), trainable_parameters(plain), strict=True
    ):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["prompt", "prefix"])
def test_switched_off_it_is_the_base(tiny_model_dir: TinyModel, name: str) -> None:
    model = tuned(tiny_model_dir("llama"), METHODS[name], register_flat_attention()).eval()
    base = load_model(tiny_model_dir("llama")).eval()
    backbone: Any = build_backbone(model, attention="flat")
    with torch.no_grad(), backbone.adapters_off():
        found = packed_logits(model, ROWS, "flat")
        for ours, row in zip(found, ROWS, strict=True):
            assert torch.allclose(ours, base(input_ids=torch.tensor([row])).logits[0], atol=2e-5)
    why = why_not_fused(model, model.get_base_model().get_decoder())
    assert why == "vectors in front of the text"


def test_layers_are_checkpointed_without_another_gradient(tiny_model_dir: TinyModel) -> None:
    gradients: list[list[Tensor]] = []
    for checkpointing in (False, True):
        model = tuned(tiny_model_dir("llama"), METHODS["prefix"], register_flat_attention())
        backbone = build_backbone(model, attention="flat", checkpointing=checkpointing)
        ids = torch.tensor(ROWS[0] + ROWS[1])
        places = torch.cat([torch.arange(len(row)) for row in ROWS[:2]])
        backbone(ids, places, Documents((0, 7, 9))).square().sum().backward()
        gradients.append([p.grad for _, p in trainable_parameters(model) if p.grad is not None])
    assert gradients[0]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_model_whose_layers_share_no_shape_is_refused(tiny_model_dir: TinyModel) -> None:
    model = load_model(tiny_model_dir("llama"))
    model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(TunesmithError, match="some of its layers have no keys") as caught:
        apply_adapter(model, METHODS["prefix"], seed=0)
    assert caught.value.code == "layers_without_prefix"


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "family"),
    [*(("random", each) for each in FAMILIES), *(("prefix", each) for each in FAMILIES[:3])],
)
def test_answers_follow_the_vectors_alone_and_in_batches(
    tiny_model_dir: TinyModel, family: str, name: str
) -> None:
    from transformers import GenerationConfig

    model = tuned(tiny_model_dir(family), METHODS[name]).eval()
    config = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0)
    together = continued(model, ROWS, 0, CPU, generation_config=config)
    width = max(map(len, ROWS))
    for row, answer in zip(ROWS, together, strict=True):
        written = list(row)
        for _ in range(6):
            written.append(int(logits_of_peft(model, written)[-1].argmax()))
        assert answer[width:] == written[len(row) :]
        assert continued(model, [row], 0, CPU, generation_config=config) == [written]
    base = load_model(tiny_model_dir(family)).eval()
    with vectors_off(model):
        off = continued(model, ROWS, 0, CPU, generation_config=config)
    assert off == continued(base, ROWS, 0, CPU, generation_config=config)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"stage": {"kind": "rm"}}, "vectors_of_another_stage"),
        ({"export": {"merge": True}}, "vectors_not_merged"),
        ({"training": {"optimizer": {"kind": "muon"}}}, "muon_needs_matrices"),
        ({"training": {"optimizer": {"kind": "apollo"}}}, "projection_of_adapters"),
    ],
)
@pytest.mark.parametrize("kind", ["prompt", "p_tuning", "prefix"])
def test_wrong_combinations_are_refused_by_the_recipe(
    kind: str, changes: dict[str, Any], code: str
) -> None:
    recipe = {"model": "starter", "data": {"train": "rows.jsonl"}, "adapter": {"kind": kind}}
    with pytest.raises(TunesmithError) as caught:
        parse_recipe({**recipe, **changes})
    assert [each["code"] for each in caught.value.details["problems"]] == [code]
    checkpointed: dict[str, Any] = {
        "model": {"base": "starter", "attention": "sdpa"},
        "training": {"activation_checkpointing": True},
    }
    if kind == "prefix":
        with pytest.raises(TunesmithError, match=r"model\.attention: flat"):
            parse_recipe({**recipe, **checkpointed})
    else:
        parse_recipe({**recipe, **checkpointed})
    for fine in ("off", "auto"):
        parse_recipe({**recipe, **checkpointed, "training": {"activation_checkpointing": fine}})
    grpo = refusal(Choice(stage="grpo", method=kind))
    assert grpo is not None
    assert grpo.code == "vectors_of_another_stage"
    assert refusal(Choice(stage="dpo", method=kind, quantization="nf4")) is None


@pytest.mark.parametrize("name", ["p_tuning", "projected"])
def test_what_cannot_be_merged_is_refused_before_any_work(
    tiny_model_dir: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shipped = prompts.shipped()[:1]
    monkeypatch.setattr(prompts, "shipped", lambda: shipped)
    monkeypatch.setattr(walks, "ANSWER_TOKENS", 8)
    base = tiny_model_dir("llama")
    model = tuned(base, METHODS[name])
    model.peft_config["default"].base_model_name_or_path = str(base)
    folder = tmp_path / "vectors"
    write_adapter(model, folder)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert caught.value.code == "vectors_not_merged"
    assert "tunesmith serve-model" in caught.value.hint
    with pytest.raises(ModelError) as caught:
        export(Order(str(folder), "merged", tmp_path / "merged"), Narrator(io.StringIO()))
    assert caught.value.code == "vectors_not_merged"
    assert not (tmp_path / "merged").exists()
    done = export(Order(str(folder), "adapter", tmp_path / "copy"), Narrator(io.StringIO()))
    assert done["parity"]["status"] == "passed"
