"""Adapter tuning: PEFT's own numbers, from the base exactly, packed or alone, refused before work.

Its methods, stages and resumption are tested with those of the others (test_methods.py,
test_pairs_of_choices.py).
"""

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
from tunesmith.engine.methods.adaption import adapted_attentions
from tunesmith.engine.methods.quantised import num_packed
from tunesmith.engine.models import load_model
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.setup import load_trainable, open_base
from tunesmith.engine.train import train
from tunesmith.engine.weights import write_adapter
from tunesmith.errors import ModelError, RecipeError, TunesmithError
from tunesmith.evaluation.served import places_of
from tunesmith.models.presets import capabilities
from tunesmith.recipe import load_recipe, parse_recipe
from tunesmith.recipe.capabilities import Choice, refusal
from tunesmith.recipe.prompts import AdapterTuning
from tunesmith.recipe.training import OptimizerKind
from tunesmith.runs import EventWriter, RunDir, read_events
from tunesmith.serving.errors import AdapterMismatch
from tunesmith.serving.loading import load_served
from tunesmith.serving.lora import read_pairs
from tunesmith.serving.options import Options

TinyModel = Callable[[str], Path]
CPU = torch.device("cpu")
ROWS = [[5, 6, 7, 8, 9, 10, 11], [20, 21], [30, 31, 32, 33]]
FAMILIES = ("llama", "mistral", "gpt2")


def tuned(
    folder: Path,
    attention: str = "sdpa",
    *,
    layers: int = 30,
    dtype: torch.dtype = torch.float32,
) -> Any:
    """With gates that have begun to open, each layer's own."""
    model = load_model(folder, attention=attention, dtype=dtype)
    adapter = AdapterTuning(virtual_tokens=3, layers=layers)
    made: Any = apply_adapter(model, adapter, seed=3).eval()
    for number, part in enumerate(adapted_attentions(made)):
        part.adaption_gate.data.fill_(0.7 - number / 2)
    return made


def in_peft(base: Path, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The saved files by plain PEFT on plain transformers."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with known_notices():
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
        return PeftModel.from_pretrained(model, folder).eval()


def logits_of(model: Any, row: list[int]) -> Tensor:
    return model(input_ids=torch.tensor([row])).logits[0]


def packed_logits(model: Any, attention: str) -> list[Tensor]:
    """Of the engine, all rows behind each other."""
    backbone, head = build_backbone(model, attention=attention), Head.of(model)
    borders = [0]
    for row in ROWS:
        borders.append(borders[-1] + len(row))
    ids = torch.tensor([token for row in ROWS for token in row])
    positions = torch.cat([torch.arange(len(row)) for row in ROWS])
    hidden = backbone(ids, positions, Documents(tuple(borders)))
    return [head.logits(hidden[start:end]) for start, end in pairwise(borders)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_training_begins_at_the_base_to_the_last_bit(
    tiny_model_dir: TinyModel, family: str, dtype: torch.dtype
) -> None:
    base = load_model(tiny_model_dir(family), dtype=dtype).eval()
    before = [logits_of(base, row) for row in ROWS]
    model = apply_adapter(base, AdapterTuning(), seed=3).eval()
    assert all(
        torch.equal(logits_of(model, row), old) for row, old in zip(ROWS, before, strict=True)
    )
    learned = trainable_parameters(model)
    assert {part.dtype for _, part in learned} == {torch.float32}
    assert len(learned) == 2 * len(list(adapted_attentions(model))) == 4


def test_vectors_begin_as_those_of_peft(tiny_model_dir: TinyModel) -> None:
    from peft import AdaptionPromptConfig, get_peft_model

    config = AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_len=3, adapter_layers=2)
    torch.manual_seed(3)
    with known_notices():
        theirs = trainable_parameters(get_peft_model(load_model(tiny_model_dir("llama")), config))
    model = apply_adapter(
        load_model(tiny_model_dir("llama")), AdapterTuning(virtual_tokens=3), seed=3
    )
    own = trainable_parameters(model)
    assert [name for name, _ in own] == [name for name, _ in theirs]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(own, theirs, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 30])
@pytest.mark.parametrize("family", FAMILIES)
def test_saved_files_are_those_of_peft_and_give_its_numbers(
    tiny_model_dir: TinyModel, tmp_path: Path, family: str, layers: int
) -> None:
    base = tiny_model_dir(family)
    model = tuned(base, layers=layers)
    write_adapter(model, tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_bytes())
    assert settings["peft_type"] == "ADAPTION_PROMPT"
    assert (settings["adapter_len"], settings["adapter_layers"]) == (3, min(layers, 2))
    plain, untouched = in_peft(base, tmp_path), load_model(base).eval()
    for row in ROWS:
        made = logits_of(model, row)
        assert torch.allclose(made, logits_of(plain, row), atol=1e-6)
        assert float((made - logits_of(untouched, row)).abs().max()) > 0.01
    short = in_peft(base, tmp_path, torch.bfloat16)  # PEFT rounds the vectors to the base there
    exact = logits_of(tuned(base, layers=layers, dtype=torch.bfloat16), ROWS[0])
    assert torch.allclose(exact.float(), logits_of(short, ROWS[0]).float(), atol=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_compute_and_learn_as_each_alone_does_in_peft(
    tiny_model_dir: TinyModel, tmp_path: Path, family: str
) -> None:
    from peft import PeftModel

    base = tiny_model_dir(family)
    flat, alone = tuned(base, register_flat_attention()), tuned(base)
    write_adapter(flat, tmp_path)
    with known_notices():
        plain: Any = PeftModel.from_pretrained(load_model(base), tmp_path, is_trainable=True).eval()
    expected = [logits_of(plain, row) for row in ROWS]
    sum((part**2).sum() for part in expected).backward()  # pyright: ignore
    for model, attention in ((flat, "flat"), (alone, "sdpa")):
        found = packed_logits(model, attention)
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.allclose(ours, theirs, atol=2e-5)
        sum((part**2).sum() for part in found).backward()  # pyright: ignore
        for (_, ours), (_, theirs) in zip(
            trainable_parameters(model), trainable_parameters(plain), strict=True
        ):
            assert ours.grad is not None
            assert theirs.grad is not None
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def test_layers_are_checkpointed_without_another_gradient(tiny_model_dir: TinyModel) -> None:
    gradients: list[list[Tensor]] = []
    for every in (0, 1, 2):
        model = tuned(tiny_model_dir("llama"), register_flat_attention())
        backbone = build_backbone(model, attention="flat", checkpointing=every)
        ids, places = torch.tensor(ROWS[0] + ROWS[1]), torch.tensor([*range(7), 0, 1])
        backbone(ids, places, Documents((0, 7, 9))).square().sum().backward()
        gradients.append([p.grad for _, p in trainable_parameters(model) if p.grad is not None])
    assert len(gradients[0]) == 4
    for others in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients[0], others, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_switched_off_it_is_the_base_and_on_again_it_is_not(
    tiny_model_dir: TinyModel, family: str
) -> None:
    model = tuned(tiny_model_dir(family), register_flat_attention())
    base = load_model(tiny_model_dir(family)).eval()
    if family != "gpt2":  # which is never fused
        why = why_not_fused(model, model.get_base_model().get_decoder())
        assert why == "vectors beside the text in layers.0.self_attn"
    on = packed_logits(model, "flat")
    with model.disable_adapter():
        for ours, row in zip(packed_logits(model, "flat"), ROWS, strict=True):
            assert torch.allclose(ours, logits_of(base, row), atol=2e-5)
    again = packed_logits(model, "flat")
    assert all(torch.equal(a, b) for a, b in zip(on, again, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_follow_the_vectors_alone_and_in_batches(
    tiny_model_dir: TinyModel, family: str
) -> None:
    from transformers import GenerationConfig

    model = tuned(tiny_model_dir(family))
    config = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0)
    together = continued(model, ROWS, 0, CPU, generation_config=config)
    width = max(map(len, ROWS))
    for row, answer in zip(ROWS, together, strict=True):
        written = list(row)
        for _ in range(6):
            written.append(int(logits_of(model, written)[-1].argmax()))
        assert answer[width:] == written[len(row) :]
        assert continued(model, [row], 0, CPU, generation_config=config) == [written]


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_quantised_base_gives_the_numbers_of_its_packed_weights(
    tiny_model_dir: TinyModel, tmp_path: Path, quantization: str
) -> None:
    recipe = parse_recipe(
        {
            "model": {"base": str(tiny_model_dir("llama")), "quantization": quantization},
            "adapter": {"kind": "adapter", "virtual_tokens": 3},
            "data": {"train": "rows.jsonl"},
            "training": {"device": "cpu"},
        }
    )
    run, reporter = RunDir(tmp_path), Reporter(None)
    base = open_base(recipe, run, reporter, CPU)
    model: Any = load_trainable(recipe, run, base, reporter).eval()
    linears = [part for part in model.modules() if type(part) is torch.nn.Linear]
    assert linears == [model.get_output_embeddings()]
    assert num_packed(model) > 10_000
    for part in adapted_attentions(model):
        part.adaption_gate.data.fill_(0.5)
    # The same weights, rounded but not packed.
    whole = tuned(tiny_model_dir("llama"))
    packed = dict(model.named_modules())
    for name, part in whole.named_modules():
        if isinstance(part, torch.nn.Linear) and not name.endswith("lm_head"):
            part.weight.data = packed[name].weight.detach()
    for ours, theirs in zip(adapted_attentions(whole), adapted_attentions(model), strict=True):
        ours.load_state_dict(dict(theirs.named_parameters(recurse=False)), strict=False)
    made = packed_logits(model, "flat")
    for ours, row in zip(made, ROWS, strict=True):
        assert torch.allclose(ours, logits_of(whole, row), atol=2e-5)
    sum(part.sum() for part in made).backward()  # pyright: ignore
    assert all(float(p.grad.abs().sum()) > 0 for _, p in trainable_parameters(model))  # pyright: ignore


@pytest.mark.parametrize("rule", ["adamw", "adamw_8bit", "adam_mini"])
def test_gates_open_and_the_loss_falls_by_every_rule(
    tiny_model_dir: TinyModel, tmp_path: Path, rule: OptimizerKind
) -> None:
    rows = [{"question": f"Number {n}?", "answer": f"It is {n * n}."} for n in range(6)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "model": {"base": str(tiny_model_dir("llama"))},
        "adapter": {"kind": "adapter"},
        "data": {
            **{"train": [{"dataset": str(data)}], "validation": {"kind": "none"}},
            **{"allow_small": True, "max_length": 256},
        },
        "training": {
            **{"epochs": 40, "batch_size": 6, "learning_rate": 0.1, "device": "cpu"},
            **{"schedule": {"warmup_ratio": 0}, "optimizer": {"kind": rule}},
        },
        "report": {"tensorboard": False, "curves": False},
    }
    run = RunDir.create(tmp_path / "run", json.dumps(recipe), recipe_name="test")
    with EventWriter(run, 1) as writer:
        train(load_recipe(run.recipe_path), run, Reporter(writer), Ranks(), CPU)
    losses = [each["loss"] for each in read_events(run.events_path)[0] if each["type"] == "step"]
    assert losses[-1] < losses[0] - 0.1
    assert load_recipe(run.resolved_path).adapter == AdapterTuning(layers=2)
    made = in_peft(tiny_model_dir("llama"), run.artifacts_dir / "adapter")
    gates = [float(part.adaption_gate.detach().abs()) for part in adapted_attentions(made)]
    assert len(gates) == 2
    assert min(gates) > 0.5


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"stage": {"kind": "rm"}}, "no_place_for_score"),
        ({"export": {"merge": True}}, "vectors_not_merged"),
        ({"training": {"optimizer": {"kind": "muon"}}}, "muon_needs_matrices"),
        ({"training": {"optimizer": {"kind": "apollo"}}}, "projection_of_adapters"),
        ({"training": {"optimizer": {"kind": "badam"}}}, "blocks_of_all_weights"),
        ({"training": {"optimizer": {"kind": "adafactor"}}}, "gates_stay_closed"),
        ({"model": {"base": "starter", "new_tokens": "<a>"}}, "tokens_not_trained"),
    ],
)
def test_wrong_combinations_are_refused_by_the_recipe(changes: dict[str, Any], code: str) -> None:
    recipe = {"model": "starter", "data": {"train": "rows.jsonl"}, "adapter": {"kind": "adapter"}}
    with pytest.raises(TunesmithError) as caught:
        parse_recipe({**recipe, **changes})
    assert [each["code"] for each in caught.value.details["problems"]] == [code]
    assert refusal(Choice(stage="grpo", method="adapter")) is None
    assert refusal(Choice(stage="dpo", method="adapter", quantization="nf4")) is None


def test_only_families_that_peft_knows_are_offered() -> None:
    from peft.tuners.adaption_prompt.config import TRANSFORMERS_MODEL_CONFIG

    def able(family: str) -> set[str]:
        return {
            row.stage for row in capabilities(family) if row.method == "adapter" and row.available
        }

    for family in TRANSFORMERS_MODEL_CONFIG:
        assert able(family) == {row.stage for row in capabilities(family)} - {"rm"}
    assert able("qwen3") == set()
    assert able("")  # nobody knows
    [told] = {
        (row.reason("en"), row.reason("zh"))
        for row in capabilities("qwen3")
        if row.method == "adapter" and row.stage != "rm"
    }
    assert all("gpt2, llama, mistral" in each and "prefix" in each for each in told)


@pytest.mark.parametrize(
    ("family", "changes", "code"),
    [
        ("qwen3", {}, "method_of_other_families"),
        ("gemma3_text", {}, "method_of_other_families"),
        ("mistral", {"head_dim": 16}, "attention_without_vectors"),
        ("llama", {"attention_bias": True}, "attention_without_vectors"),
    ],
)
def test_another_attention_is_refused_before_any_weight_is_read(
    tiny_model_dir: TinyModel, tmp_path: Path, family: str, changes: dict[str, Any], code: str
) -> None:
    base = shutil.copytree(tiny_model_dir(family), tmp_path / "base")
    settings = json.loads((base / "config.json").read_bytes()) | changes
    (base / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    recipe = parse_recipe(
        {
            "model": {"base": str(base)},
            "adapter": {"kind": "adapter"},
            "data": {"train": "rows.jsonl"},
            "training": {"device": "cpu"},
        }
    )
    with pytest.raises(RecipeError) as caught:
        open_base(recipe, RunDir(tmp_path), Reporter(None), CPU)
    assert caught.value.code == code
    assert "prefix" in caught.value.hint


def test_what_cannot_be_merged_or_served_is_refused_before_any_work(
    tiny_model_dir: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = prompts.shipped()[:1]
    monkeypatch.setattr(prompts, "shipped", lambda: shipped)
    monkeypatch.setattr(walks, "ANSWER_TOKENS", 8)
    base = tiny_model_dir("llama")
    model = tuned(base)
    model.peft_config["default"].base_model_name_or_path = str(base)
    folder = tmp_path / "vectors"
    write_adapter(model, folder)
    loads = {
        "vectors_not_merged": load_model,
        "attention_not_served": lambda place: load_served(Options(str(place), device="cpu")),
    }
    for code, load in loads.items():
        with pytest.raises(ModelError, match="adapter tuning") as caught:
            load(folder)
        assert caught.value.code == code
        assert "tunesmith chat" in caught.value.hint
    with pytest.raises(ModelError) as caught:
        export(Order(str(folder), "merged", tmp_path / "merged"), Narrator(io.StringIO()))
    assert caught.value.code == "vectors_not_merged"
    assert not (tmp_path / "merged").exists()
    done = export(Order(str(folder), "adapter", tmp_path / "copy"), Narrator(io.StringIO()))
    assert done["parity"]["status"] == "passed"
    with pytest.raises(AdapterMismatch, match="beside the text"):
        read_pairs(folder, {})
    assert [place.weights().is_asked for place in places_of(str(base), str(folder))] == [
        True,
        False,
    ]
