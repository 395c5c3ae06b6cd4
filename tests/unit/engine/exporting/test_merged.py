"""What is merged or copied computes the same as the adapter on its base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.engine.adapter import known_notices
from tunesmith.engine.exporting.errors import ExportRefused
from tunesmith.engine.exporting.formats import Choice, format_of
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.source import Source, find_source, load_tuned

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "gpt2")
TOKENS = torch.tensor([[5, 60, 7, 80, 9, 100, 11, 12]])


def source_of(run: Path, base: str | None = None) -> Source:
    return find_source(str(run), base=base, on_progress=lambda *_: None)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(TOKENS).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["merged", "adapter"])
def test_the_export_computes_what_the_adapter_on_its_base_does(
    family: str, name: Any, make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    source = source_of(make_run(family))
    written = format_of(name, source, Choice())
    written.write(tmp_path, narrator)
    expected = logits(load_tuned(source, dtype=torch.float32))
    torch.testing.assert_close(logits(written.read(tmp_path).model), expected, rtol=0, atol=1e-5)
    bare = logits(find_bare(source))
    assert (bare - expected).abs().max() > 0.1  # the adapter does something


def find_bare(source: Source) -> Any:
    from tunesmith.engine.models import load_model

    return load_model(source.directory, attention="auto")


def test_merging_rounds_each_weight_of_a_bfloat16_base_once(
    make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    source = source_of(make_run("llama", dtype=torch.bfloat16))
    written = format_of("merged", source, Choice())
    written.write(tmp_path, narrator)
    assert written.precision == "bfloat16"
    merged = written.read(tmp_path).model.state_dict()
    exact = load_tuned(source, dtype=torch.float64).merge_and_unload().state_dict()
    for name, value in exact.items():
        assert torch.equal(merged[name], value.bfloat16().float()), name


def test_a_model_whose_weights_were_all_trained_is_exported_as_it_is(
    make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    source = source_of(make_run("qwen2", kind="full"))
    written = format_of("merged", source, Choice())
    written.write(tmp_path, narrator)
    kept = load_tuned(source, dtype=torch.float32).state_dict()
    for name, value in written.read(tmp_path).model.state_dict().items():
        assert torch.equal(value, kept[name]), name
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == [2]
    with pytest.raises(ExportRefused, match="no adapter") as refused:
        format_of("adapter", source, Choice())
    assert refused.value.code == "no_adapter"


def test_an_adapter_with_magnitudes_of_its_own_is_merged_by_peft(
    make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    from peft import LoraConfig, get_peft_model

    source = source_of(make_run("llama"))
    base: Any = find_bare(source)
    settings = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], use_dora=True)
    with known_notices():
        tuned: Any = get_peft_model(base, settings)
    for name, part in tuned.named_parameters():
        if part.requires_grad:
            torch.manual_seed(len(name))
            part.data += 0.2 * torch.randn(part.shape)
    place = tmp_path / "dora"
    tuned.peft_config["default"].base_model_name_or_path = str(source.directory)
    tuned.save_pretrained(str(place))
    written = format_of("merged", source_of(place), Choice())
    written.write(tmp_path / "out", narrator)
    expected = logits(tuned.eval())
    torch.testing.assert_close(
        logits(written.read(tmp_path / "out").model), expected, rtol=0, atol=1e-5
    )


def test_a_quantised_base_is_refused_until_a_full_one_is_named(
    make_run: Any, tmp_path: Path
) -> None:
    import shutil

    run = Path(shutil.copytree(make_run("llama"), tmp_path / "run"))
    full = source_of(run).directory
    base = Path(shutil.copytree(full, tmp_path / "quantised"))
    settings = json.loads((base / "config.json").read_text())
    settings["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (base / "config.json").write_text(json.dumps(settings))
    adapter = Path(shutil.copytree(run / "artifacts" / "adapter", tmp_path / "adapter"))
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(base)
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ExportRefused, match="gptq") as refused:
        source_of(adapter)
    assert refused.value.code == "base_is_quantised"
    assert "--base" in refused.value.hint
    assert source_of(adapter, base=str(full)).directory == full


def test_another_base_is_refused_where_there_is_no_adapter(make_run: Any) -> None:
    run = make_run("qwen2", kind="full")
    with pytest.raises(ExportRefused) as refused:
        source_of(run, base="starter")
    assert refused.value.code == "base_without_adapter"


def test_the_words_of_the_training_go_along(
    make_run: Any, tmp_path: Path, narrator: Narrator
) -> None:
    source = source_of(make_run("llama"))
    for name in ("merged", "adapter"):
        folder = tmp_path / name
        folder.mkdir()
        written = format_of(name, source, Choice())  # type: ignore[arg-type]
        written.write(folder, narrator)
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        assert template == source.renderer.chat_template
        messages = [{"role": "user", "content": "Wo bist du? 你在哪？"}]
        ids = written.read(folder).tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True
        )["input_ids"]
        assert source.renderer.tokenizer.decode(ids).endswith("<|im_start|>assistant\n")
