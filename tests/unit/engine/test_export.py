"""What a run leaves behind loads in other programs and says where it comes from."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tunesmith.engine.adapter import apply_adapter, known_notices, trainable_parameters
from tunesmith.engine.export import Artifact, Result, write_artifacts
from tunesmith.engine.model_sources import resolve_adapter, resolve_name
from tunesmith.engine.models import base_of_adapter, load_model, load_tokenizer_files
from tunesmith.errors import InputError, ModelError
from tunesmith.recipe import Full, Lora, Recipe, parse_recipe
from tunesmith.runs import EventWriter, RunDir, verify_manifest
from tunesmith.starter import starter_directory

TinyModel = Callable[[str], Path]
TOKENS = torch.tensor([[5, 6, 7, 8, 9, 10]])
RESULT = Result(
    step=20,
    last_step=30,
    reason="done",
    seconds=61.5,
    device="cpu (1 threads)",
    data_fingerprint="f" * 64,
    row_order_hash="0" * 64,
    stop_ids=(0, 2),
)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(TOKENS).logits


def recipe_for(base: Path, **changes: Any) -> Recipe:
    return parse_recipe(
        {
            "name": "support-bot",
            "model": {"base": str(base)},
            "data": {"train": ["questions.jsonl"], "validation": {"kind": "none"}},
            **changes,
        }
    )


LOSSES = (3.5, 2.0, 1.25, 1.5)  # at steps 0, 10, 20, 30


def new_run(path: Path, losses: Sequence[float] = LOSSES) -> RunDir:
    recipe = recipe_for(path.parent / "old-place").model_dump(mode="json")
    run = RunDir.create(path, json.dumps(recipe), recipe_name="support-bot")
    with EventWriter(run, 1) as events:
        events.emit("plan", rows=900, tokens_per_epoch=12_345, label_tokens_per_epoch=6_000)
        for step, loss in zip((0, 10, 20, 30), losses, strict=True):
            events.emit("evaluation", step=step, loss=loss, token_accuracy=0.5, rows=100)
    return run


def flatten_parameters(model: nn.Module) -> None:
    """Make every trained parameter a view of one tensor, as training does."""
    parameters = [part for _, part in trainable_parameters(model)]
    flat = torch.cat([part.data.flatten() for part in parameters])
    start = 0
    for part in parameters:
        part.data = flat[start : start + part.numel()].view(part.shape)
        start += part.numel()


def tuned_model(base: Path, adapter: Full | Lora) -> nn.Module:
    model = apply_adapter(load_model(base), adapter, seed=1)
    generator = torch.Generator().manual_seed(7)
    for _, part in trainable_parameters(model):
        part.data += torch.randn(part.shape, generator=generator) * 0.1
    flatten_parameters(model)
    return model


def export(
    run: RunDir, model: nn.Module, base: Path, recipe: Recipe, **more: Any
) -> list[Artifact]:
    return write_artifacts(
        run, model, recipe=recipe, base_dir=base, tokenizer_dir=base, result=RESULT, **more
    )


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "qwen3_moe", "gpt2"])
def test_a_fully_tuned_model_loads_with_plain_transformers(
    tiny_model_dir: TinyModel, tmp_path: Path, family: str
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = tiny_model_dir(family)
    run, model = new_run(tmp_path / "run"), tuned_model(base, Full())
    written = export(run, model, base, recipe_for(base, adapter={"kind": "full"}))
    assert written == [Artifact("model", "artifacts/model")]
    folder = run.artifacts_dir / "model"
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(logits(loaded), logits(model))
    assert AutoTokenizer.from_pretrained(folder).decode([2]) == "<|im_end|>"
    assert loaded.generation_config.eos_token_id == [0, 2]
    assert "attn_implementation" not in (folder / "config.json").read_text()


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi3", "qwen3_moe", "gpt2"])
def test_an_adapter_loads_with_plain_peft_and_its_merge_with_plain_transformers(
    tiny_model_dir: TinyModel, tmp_path: Path, family: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = tiny_model_dir(family)
    run, model = new_run(tmp_path / "run"), tuned_model(base, Lora(rank=4, alpha=8))
    recipe = recipe_for(base, adapter={"kind": "lora"}, export={"merge": True})
    assert [item.kind for item in export(run, model, base, recipe)] == ["adapter", "model"]
    plain = AutoModelForCausalLM.from_pretrained(base)
    with known_notices():
        adapted = PeftModel.from_pretrained(plain, str(run.artifacts_dir / "adapter"))
    assert torch.equal(logits(adapted), logits(model))
    merged = AutoModelForCausalLM.from_pretrained(run.artifacts_dir / "model")
    assert torch.allclose(logits(merged), logits(model), atol=1e-5)


def test_the_card_tells_what_was_done_and_whether_it_got_better(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    """H14: README.md is the card of the result, the base's text is BASE_README.md."""
    base = Path(shutil.copytree(tiny_model_dir("llama"), tmp_path / "base"))
    (base / "README.md").write_text("The base's own card.")
    (base / "LICENSE").write_text("Be kind.")
    run, model = new_run(tmp_path / "run"), tuned_model(base, Lora())
    export(run, model, base, recipe_for(base))
    card = (run.artifacts_dir / "README.md").read_text(encoding="utf-8")
    assert "library_name: peft" in card
    assert "| Loss | 3.5000 | 1.2500 |" in card
    assert "`questions.jsonl`" in card
    assert "PeftModel.from_pretrained" in card
    assert "tunesmith chat RUN --compare" in card
    assert "中文说明" in card
    assert str(tmp_path) not in card
    assert (run.artifacts_dir / "BASE_README.md").read_text() == "The base's own card."
    assert (run.artifacts_dir / "adapter" / "LICENSE").read_text() == "Be kind."


def test_the_card_says_so_when_training_made_the_model_worse(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    base = tiny_model_dir("llama")
    run = new_run(tmp_path / "run", (3.5, 7.0, 8.0, 9.0))
    export(run, tuned_model(base, Lora()), base, recipe_for(base))
    card = (run.artifacts_dir / "README.md").read_text(encoding="utf-8")
    assert "| Loss | 3.5000 | 8.0000 |" in card
    assert "did not fall below its value before training" in card
    assert "没有低于训练前" in card


@pytest.mark.slow
def test_the_programs_on_the_card_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = starter_directory()
    recipe = parse_recipe(
        {"model": {"base": "starter"}, "data": {"train": ["q"]}, "export": {"merge": True}}
    )
    run = new_run(tmp_path / "run")
    export(run, tuned_model(base, Lora()), base, recipe)
    card = (run.artifacts_dir / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(programs) == 2
    monkeypatch.chdir(run.artifacts_dir)
    with known_notices():
        for program in programs:
            exec(program.replace("max_new_tokens=200", "max_new_tokens=5"), {})
    assert capsys.readouterr().out.strip()


def test_the_settings_and_the_passport_are_complete(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    """G2: training_logs/user_params.json holds all settings."""
    base = tiny_model_dir("llama")
    run, recipe = new_run(tmp_path / "run"), recipe_for(base)
    picture = tmp_path / "loss.png"
    picture.write_bytes(b"png")
    export(run, tuned_model(base, Lora()), base, recipe, logs=[picture])
    logs = run.artifacts_dir / "training_logs"
    assert (logs / "loss.png").read_bytes() == b"png"
    assert parse_recipe(json.loads((logs / "user_params.json").read_text())) == recipe
    passport = json.loads((run.artifacts_dir / "passport.json").read_text())
    assert passport["seed"] == 42
    assert passport["data"] == {"fingerprint": "f" * 64, "row_order_sha256": "0" * 64}
    assert passport["versions"]["torch"] == torch.__version__
    assert passport["result"]["validation_after"]["step"] == 20
    assert passport["hardware"]["threads"] >= 1
    manifest = verify_manifest(run.artifacts_dir)
    assert {"README.md", "passport.json", "adapter/tokenizer.json"} <= {
        file.path for file in manifest.files
    }
    assert manifest.extra["step"] == 20


def test_exporting_again_replaces_what_was_there(tiny_model_dir: TinyModel, tmp_path: Path) -> None:
    base = tiny_model_dir("llama")
    run, recipe = new_run(tmp_path / "run"), recipe_for(base)
    (run.artifacts_dir / "stray").write_text("x")
    first = export(run, tuned_model(base, Lora()), base, recipe)
    weights = run.artifacts_dir / "adapter" / "adapter_model.safetensors"
    before = weights.read_bytes(), (weights.parent / "adapter_config.json").read_bytes()
    assert export(run, tuned_model(base, Lora()), base, recipe) == first
    assert (weights.read_bytes(), (weights.parent / "adapter_config.json").read_bytes()) == before
    assert not (run.artifacts_dir / "stray").exists()
    assert not list(run.path.glob(".artifacts*"))


def test_the_template_of_the_training_goes_with_the_result(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    base = tiny_model_dir("llama")
    run = new_run(tmp_path / "run")
    result = Result(**{**vars(RESULT), "chat_template": "{{ messages }}"})
    write_artifacts(
        run,
        tuned_model(base, Lora()),
        recipe=recipe_for(base),
        base_dir=base,
        tokenizer_dir=base,
        result=result,
    )
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.artifacts_dir / "adapter")
    assert tokenizer.chat_template == "{{ messages }}"


def test_a_run_is_a_base_for_the_next_training(tiny_model_dir: TinyModel, tmp_path: Path) -> None:
    base = tiny_model_dir("llama")
    run, model = new_run(tmp_path / "run"), tuned_model(base, Lora(rank=4, alpha=8))
    with pytest.raises(ModelError, match="has no result yet"):
        resolve_name(str(run.path))
    export(run, model, base, recipe_for(base))
    folder = resolve_name(str(run.path))
    assert folder == run.artifacts_dir / "adapter"
    assert base_of_adapter(folder) == base
    assert torch.allclose(logits(load_model(folder)), logits(model), atol=1e-5)
    assert load_tokenizer_files(folder, tmp_path / "cache") == folder
    assert resolve_adapter(str(run.path)) == folder
    again = apply_adapter(load_model(base), Lora(continue_from=str(run.path)), seed=1)
    assert torch.equal(logits(again), logits(model))


def test_an_adapter_finds_its_base_again_through_the_recipe_of_its_run(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_model_dir("llama"), tmp_path / "old-place"))
    run = new_run(tmp_path / "run")
    export(run, tuned_model(base, Lora()), base, recipe_for(base))
    moved = base.rename(tmp_path / "new-place")
    with pytest.raises(ModelError, match=r"base model of the adapter .* was not found"):
        base_of_adapter(run.artifacts_dir / "adapter")
    run.recipe_path.write_text(json.dumps(recipe_for(moved).model_dump(mode="json")))
    assert base_of_adapter(run.artifacts_dir / "adapter") == moved


def test_a_damaged_result_is_not_used(tiny_model_dir: TinyModel, tmp_path: Path) -> None:
    base = tiny_model_dir("llama")
    run = new_run(tmp_path / "run")
    export(run, tuned_model(base, Lora()), base, recipe_for(base))
    weights = run.artifacts_dir / "adapter" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"adapter_model\.safetensors"):
        resolve_name(str(run.path))


def test_contradictory_defaults_of_the_base_do_not_stop_the_export(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    base = tiny_model_dir("llama")
    model: Any = tuned_model(base, Full())
    model.generation_config.temperature = 0.6
    run = new_run(tmp_path / "run")
    export(run, model, base, recipe_for(base, adapter={"kind": "full"}))
    saved = json.loads((run.artifacts_dir / "model" / "generation_config.json").read_text())
    assert saved["do_sample"] is True
