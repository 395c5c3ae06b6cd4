"""Adapters go where the recipe says, start alike everywhere, and merge without a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunesmith.engine.adapter import (
    apply_adapter,
    decided_adapter,
    is_lora_b,
    lora_layers,
    merged_state,
    takes_decay,
    trainable_parameters,
)
from tunesmith.engine.methods.put_on import put_on
from tunesmith.engine.models import load_model, load_reward_model
from tunesmith.errors import ModelError, RecipeError
from tunesmith.recipe import Full, Lora
from tunesmith.recipe.adapters import Expand, Freeze

TinyModel = Callable[[str], Path]
FAMILIES = (
    "llama", "qwen2", "qwen3", "mistral", "gemma3_text",
    "phi3", "glm4", "qwen3_moe", "olmo2", "gpt2",
)  # fmt: skip
TOKENS = torch.tensor([[5, 6, 7, 8, 9, 10]])


def randomise(model: torch.nn.Module) -> None:
    """Give the B matrices values, which are zero at the start."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in trainable_parameters(model):
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(TOKENS).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_all_linear_covers_every_linear_layer_but_the_head(
    tiny_model_dir: TinyModel, family: str
) -> None:
    model = load_model(tiny_model_dir(family))
    before = logits(model)
    tuned = apply_adapter(model, Lora(rank=4, alpha=8), seed=1)
    leaves = {name.rsplit(".", 1)[-1] for name, _ in lora_layers(tuned)}
    assert len(leaves) >= 3
    assert "lm_head" not in leaves
    assert all("lora_" in name for name, _ in trainable_parameters(tuned))
    # B starts at zero, so nothing has changed yet.
    assert torch.equal(logits(tuned), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_weights_answer_like_base_and_adapter(
    tiny_model_dir: TinyModel, family: str
) -> None:
    tuned = apply_adapter(load_model(tiny_model_dir(family)), Lora(rank=4, alpha=8), seed=1)
    randomise(tuned)
    expected = logits(tuned)
    merged = load_model(tiny_model_dir(family))
    assert not torch.allclose(expected, logits(merged), atol=1e-3)
    merged.load_state_dict(merged_state(tuned))
    assert torch.allclose(logits(merged), expected, atol=1e-5)
    assert torch.equal(logits(tuned), expected)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_each_merged_weight_is_rounded_once(tiny_model_dir: TinyModel, family: str) -> None:
    tuned = apply_adapter(load_model(tiny_model_dir(family)), Lora(rank=8, alpha=24), seed=1)
    randomise(tuned)
    places = [part.data_ptr() for _, part in trainable_parameters(tuned)]
    merged = merged_state(tuned)
    assert [part.data_ptr() for _, part in trainable_parameters(tuned)] == places
    for name, layer in lora_layers(tuned.get_base_model()):
        a, b = (getattr(layer, f"lora_{x}")["default"].weight.double() for x in "AB")
        delta = 3 * (b @ a)
        base = layer.base_layer.weight
        exact = (base.double() + (delta.T if family == "gpt2" else delta)).float()
        assert torch.equal(merged[f"{name}.weight"], exact), name


def test_the_same_seed_gives_the_same_adapters(tiny_model_dir: TinyModel) -> None:
    def drawn(seed: int) -> list[torch.Tensor]:
        model = apply_adapter(load_model(tiny_model_dir("llama")), Lora(), seed=seed)
        return [parameter for _, parameter in trainable_parameters(model)]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_drawing_adapters_leaves_the_random_state_alone(tiny_model_dir: TinyModel) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    apply_adapter(load_model(tiny_model_dir("llama")), Lora(), seed=1)
    assert torch.equal(torch.rand(1), expected)


def test_adapters_are_float32_over_a_bfloat16_base(tiny_model_dir: TinyModel) -> None:
    model = load_model(tiny_model_dir("llama"), dtype=torch.bfloat16)
    tuned = apply_adapter(model, Lora(), seed=1)
    assert {part.dtype for _, part in trainable_parameters(tuned)} == {torch.float32}


def test_named_targets_and_nothing_else_get_adapters(tiny_model_dir: TinyModel) -> None:
    model = load_model(tiny_model_dir("llama"))
    tuned = apply_adapter(model, Lora(targets=["q_proj", "mlp.down_proj"]), seed=1)
    leaves = {name.rsplit(".", 1)[-1] for name, _ in lora_layers(tuned)}
    assert leaves == {"q_proj", "down_proj"}


def test_an_unknown_target_is_refused_with_what_exists(tiny_model_dir: TinyModel) -> None:
    model = load_model(tiny_model_dir("llama"))
    with pytest.raises(RecipeError, match="no layer named query_key_value, zzz") as caught:
        apply_adapter(model, Lora(targets=["query_key_value", "q_proj", "zzz"]), seed=1)
    assert "down_proj, gate_proj, k_proj" in caught.value.hint


def test_a_head_tied_to_the_embeddings_takes_no_adapter(tiny_model_dir: TinyModel) -> None:
    with pytest.raises(RecipeError, match="shares its weight with the embeddings"):
        apply_adapter(load_model(tiny_model_dir("llama")), Lora(targets=["lm_head"]), seed=1)


def test_full_tuning_trains_every_weight_once(tiny_model_dir: TinyModel) -> None:
    model = apply_adapter(load_model(tiny_model_dir("llama")), Full(), seed=1)
    names = [name for name, _ in trainable_parameters(model)]
    assert sum(part.numel() for _, part in trainable_parameters(model)) == 27_040
    assert "lm_head.weight" not in names  # tied to the embeddings


def test_an_earlier_adapter_goes_on_where_it_ended(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    first = apply_adapter(load_model(tiny_model_dir("llama")), Lora(rank=4, alpha=8), seed=1)
    randomise(first)
    first.save_pretrained(str(tmp_path / "first"), save_embedding_layers=False)
    warnings: list[tuple[str, ...]] = []
    again = apply_adapter(
        load_model(tiny_model_dir("llama")),
        Lora(rank=16, alpha=8, dropout=0.1, continue_from=str(tmp_path / "first")),
        seed=1,
        on_warning=lambda *warning: warnings.append(warning),
    )
    assert torch.equal(logits(again), logits(first))
    assert len(trainable_parameters(again)) == len(trainable_parameters(first))
    assert "adapter.rank is 16, but the adapter in" in warnings[0][1]
    assert len(warnings) == 1


def test_the_settings_of_a_continued_adapter_are_those_it_has(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    first = Lora(rank=4, alpha=8, targets=["q_proj", "v_proj"])
    tuned = apply_adapter(load_model(tiny_model_dir("llama")), first, seed=1)
    assert decided_adapter(tuned, first) is first
    tuned.save_pretrained(str(tmp_path / "first"), save_embedding_layers=False)
    asked = Lora(rank=16, alpha=32, dropout=0.1, continue_from=str(tmp_path / "first"))
    again = apply_adapter(load_model(tiny_model_dir("llama")), asked, seed=1)
    decided = decided_adapter(again, asked)
    assert isinstance(decided, Lora)
    assert (decided.rank, decided.alpha, decided.targets) == (4, 8, ["q_proj", "v_proj"])
    assert (decided.dropout, decided.continue_from) == (0.1, asked.continue_from)


def test_an_adapter_of_another_model_is_refused(tiny_model_dir: TinyModel, tmp_path: Path) -> None:
    first = apply_adapter(load_model(tiny_model_dir("llama")), Lora(rank=4), seed=1)
    first.save_pretrained(str(tmp_path / "first"), save_embedding_layers=False)
    recipe = Lora(rank=4, continue_from=str(tmp_path / "first"))
    with pytest.raises(ModelError, match="does not fit the base model"):
        apply_adapter(load_model(tiny_model_dir("gpt2")), recipe, seed=1)


def test_the_adapter_of_a_reward_model_is_no_start_for_another_stage(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    base = tiny_model_dir("llama")
    scorer = load_reward_model(
        base, seed=1, dtype=torch.float32, attention="sdpa", device=torch.device("cpu")
    )
    apply_adapter(scorer, Lora(rank=4), seed=1).save_pretrained(str(tmp_path / "scores"))
    recipe = Lora(rank=4, continue_from=str(tmp_path / "scores"))
    with pytest.raises(ModelError, match="adapter of a reward model"):
        apply_adapter(load_model(base), recipe, seed=1)


def test_an_adapter_of_another_size_is_refused_with_both_shapes(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    model = load_model(tiny_model_dir("llama"))
    width = model.config.hidden_size
    apply_adapter(model, Lora(rank=4, targets=["q_proj"]), seed=1).save_pretrained(str(tmp_path))
    file = tmp_path / "adapter_model.safetensors"
    save_file({n: torch.cat([t, t], dim=1) for n, t in load_file(file).items()}, file)
    with pytest.raises(ModelError, match=r"layers\.0\.self_attn\.q_proj") as refused:
        put_on(load_model(tiny_model_dir("llama")), tmp_path)
    assert f"[4, {2 * width}] in its files and [4, {width}] on this base" in str(refused.value)


def test_norms_and_biases_take_no_decay(tiny_model_dir: TinyModel) -> None:
    model = apply_adapter(load_model(tiny_model_dir("gpt2")), Full(), seed=1)
    decayed = {name for name, part in trainable_parameters(model) if takes_decay(name, part)}
    assert "transformer.h.0.attn.c_attn.weight" in decayed
    assert decayed.isdisjoint({"transformer.h.0.ln_1.weight", "transformer.h.0.attn.c_attn.bias"})


def test_lora_plus_knows_the_b_matrices(tiny_model_dir: TinyModel) -> None:
    model = apply_adapter(load_model(tiny_model_dir("llama")), Lora(), seed=1)
    names = [name for name, _ in trainable_parameters(model)]
    assert sum(map(is_lora_b, names)) == len(names) // 2


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "mistral"])
def test_new_layers_change_nothing_at_first_and_are_spread_evenly(
    plain: Callable[..., Any], family: str
) -> None:
    """LLaMA-Pro: the model begins as it was."""
    before = plain(family, num_hidden_layers=4)
    tuned = plain(family, num_hidden_layers=4)
    tuned = apply_adapter(tuned, Expand(blocks=2), seed=1)
    with torch.no_grad():
        assert torch.equal(tuned(TOKENS).logits, before(TOKENS).logits)
    layers = tuned.model.layers
    assert tuned.config.num_hidden_layers == len(layers) == 6
    trained = [any(p.requires_grad for p in layer.parameters()) for layer in layers]
    assert trained == [False, False, True, False, False, True]
    assert [layer.self_attn.layer_idx for layer in layers] == [0, 1, 2, 3, 4, 5]
    assert {id(layer.self_attn.config) for layer in layers} == {id(tuned.config)}
    with pytest.raises(RecipeError) as caught:
        apply_adapter(plain(family, num_hidden_layers=4), Expand(blocks=3), seed=1)
    assert caught.value.details["fitting"] == [1, 2, 4]


def test_the_layers_to_train_are_counted_from_the_end_or_the_beginning(
    plain: Callable[..., Any],
) -> None:
    def names(**settings: Any) -> set[str]:
        model = apply_adapter(plain("llama", num_hidden_layers=3), Freeze(**settings), seed=1)
        return {".".join(n.split(".")[:4]) for n, _ in trainable_parameters(model)}

    assert {n.split(".")[2] for n in names(layers=2)} == {"1", "2"}
    assert names(layers=-1, modules=["mlp"]) == {"model.layers.0.mlp"}
    extra = names(layers=1, modules="mlp", extra_modules=["norm", "embed_tokens"])
    assert extra == {"model.layers.2.mlp", "model.norm.weight", "model.embed_tokens.weight"}
    for wrong in ({"layers": 4}, {"modules": ["nothing"]}, {"extra_modules": ["nothing"]}):
        with pytest.raises(RecipeError):
            names(**wrong)
