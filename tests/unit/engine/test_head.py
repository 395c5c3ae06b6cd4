"""The chunked head says what `model(...).logits` and cross entropy say, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunesmith.engine import head as head_module
from tunesmith.engine.backbone import decoder_of
from tunesmith.engine.head import Head, language_loss
from tunesmith.errors import RecipeError
from tunesmith.recipe import Lora

Build = Callable[..., Any]
FAMILIES = (
    "llama", "qwen2", "qwen3", "mistral", "gemma3_text",
    "phi3", "glm4", "qwen3_moe", "deepseek_v3", "olmo2", "gpt2",
)  # fmt: skip
COMMON = {
    "vocab_size": 264, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
# Families whose head does more than a product.
TOUCHED = {
    "cohere": ("CohereConfig", {"logit_scale": 0.25}),
    "granite": ("GraniteConfig", {"logits_scaling": 8.0, "tie_word_embeddings": True}),
    "gemma2": (
        "Gemma2Config",
        {"head_dim": 8, "final_logit_softcapping": 2.0, "attn_logit_softcapping": None},
    ),
    "phi": ("PhiConfig", {}),  # a bias
}


def random_head(**options: Any) -> Head:
    generator = torch.Generator().manual_seed(0)
    dtype = options.pop("dtype", torch.float64)
    weight = nn.Parameter(torch.randn(50, 8, generator=generator, dtype=dtype))
    bias = options.pop("bias", False)
    bias_V = nn.Parameter(torch.randn(50, generator=generator, dtype=dtype)) if bias else None
    for parameter in (weight, bias_V):
        if parameter is not None:
            parameter.grad = torch.zeros_like(parameter)
    return Head(weight, bias_V, **options)


def random_positions(count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(count, 8, generator=generator, dtype=dtype).requires_grad_()
    return hidden, torch.randint(0, 50, (count,), generator=generator)


HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.3},
    "softcap": {"softcap": 3.0},
    "all": {"bias": True, "scale": 1.7, "softcap": 5.0},
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)
def test_chunks_give_the_loss_and_gradients_of_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], smoothing: float
) -> None:
    """PERFORMANCE 6: chunked loss against the plain one, forward and backward, to 1e-5."""
    monkeypatch.setattr(head_module, "MIN_CHUNK_ROWS", 3)
    monkeypatch.setattr(head_module, "CHUNK_BYTES", 1)
    head = random_head(**dict(options))
    hidden, labels = random_positions(10)
    loss, scores = language_loss(hidden, labels, head, num_targets=17, label_smoothing=smoothing)
    loss.backward()
    found = [hidden.grad, *(p.grad for p in (head.weight_VD, head.bias_V) if p is not None)]

    parameters = [p for p in (hidden, head.weight_VD, head.bias_V) if p is not None]
    logits = head.logits(hidden)
    expected = F.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing) / 17
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    of_each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    assert torch.allclose(scores.loss_N, of_each.float(), rtol=1e-5)
    assert torch.equal(scores.correct_N, logits.argmax(-1) == labels)
    wanted = torch.autograd.grad(expected, parameters)
    for gradient, reference in zip(found, wanted, strict=True):
        assert torch.allclose(gradient, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)
def test_gradients_are_those_of_finite_differences(options: dict[str, Any]) -> None:
    """PERFORMANCE 6: gradcheck of the custom function, by directional slopes of its own loss."""
    head = random_head(**dict(options))
    hidden, labels = random_positions(6)
    loss, _ = language_loss(hidden, labels, head, num_targets=1)
    loss.backward()
    for parameter in (hidden, head.weight_VD, head.bias_V):
        if parameter is None:
            continue
        nudge = torch.randn(parameter.shape, dtype=torch.float64)
        values: list[float] = []
        for direction in (1, -1):
            with torch.no_grad():
                parameter.data += direction * 1e-3 * nudge
                values.append(float(F.cross_entropy(head.logits(hidden), labels, reduction="sum")))
                parameter.data -= direction * 1e-3 * nudge
        slope = (values[0] - values[1]) / 2e-3
        assert slope == pytest.approx(float((parameter.grad * nudge).sum()), rel=1e-4, abs=1e-5)


def test_the_size_of_chunks_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, labels = random_positions(40)
    results: list[tuple[Tensor, ...]] = []
    for rows in (1, 7, 64):
        monkeypatch.setattr(head_module, "MIN_CHUNK_ROWS", rows)
        monkeypatch.setattr(head_module, "CHUNK_BYTES", 1)
        head = random_head()
        hidden.grad = None
        loss, scores = language_loss(hidden, labels, head, num_targets=40)
        loss.backward()
        results.append((loss.detach(), scores.loss_N, hidden.grad, head.weight_VD.grad))
    for other in results[1:]:
        assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)
def test_a_very_unlikely_label_has_a_finite_loss(options: dict[str, Any]) -> None:
    """Beyond a loss of 87 the probability itself is zero in float32."""
    head = random_head(dtype=torch.float32, **{**options, "softcap": options.get("softcap")})
    if head.softcap is not None:
        head = Head(head.weight_VD, head.bias_V, head.scale, 400.0)
    hidden, labels = random_positions(5, torch.float32)
    hidden.data *= 300 / head.scale
    expected = F.cross_entropy(head.logits(hidden), labels, reduction="none")
    assert float(expected.detach().max()) > 200
    loss, scores = language_loss(hidden, labels, head, num_targets=5)
    assert torch.allclose(scores.loss_N, expected, rtol=1e-5, atol=1e-4)
    loss.backward()
    (wanted,) = torch.autograd.grad(expected.sum() / 5, hidden)
    assert torch.allclose(hidden.grad, wanted, rtol=1e-4, atol=1e-5)


def test_no_label_is_no_loss_and_no_gradient() -> None:
    head = random_head()
    hidden, labels = random_positions(0)
    loss, scores = language_loss(hidden, labels, head, num_targets=0)
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.loss_N.shape == (0,)
    assert not head.weight_VD.grad.any()


def test_a_frozen_head_gets_no_gradient() -> None:
    head = random_head()
    head.weight_VD.requires_grad_(False)
    hidden, labels = random_positions(4)
    loss, _ = language_loss(hidden, labels, head, num_targets=4)
    loss.backward()
    assert hidden.grad.any()
    assert not head.weight_VD.grad.any()


def test_not_a_number_stays_visible() -> None:
    hidden, labels = random_positions(4)
    hidden.data[2] = float("nan")
    loss, scores = language_loss(hidden, labels, random_head(), num_targets=4)
    assert loss.isnan()
    assert scores.loss_N.isnan().tolist() == [False, False, True, False]


def assert_same_logits(model: Any) -> None:
    ids = torch.tensor([[5, 6, 7, 8, 250, 9]])
    with torch.no_grad():
        expected = model(ids).logits[0]
        hidden = decoder_of(model)(ids).last_hidden_state[0]
        head = Head.of(model)
        assert torch.allclose(head.logits(hidden), expected, atol=1e-6)
        labels = torch.tensor([1, 2, 3, 4, 5, 6])
        loss, _ = language_loss(hidden, labels, head, num_targets=6)
        assert float(loss) == pytest.approx(float(F.cross_entropy(expected, labels)), rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_of_every_family_gives_its_logits(plain: Build, family: str) -> None:
    assert_same_logits(plain(family))


@pytest.mark.parametrize("family", TOUCHED)
def test_scales_caps_and_biases_of_families_are_taken_over(family: str) -> None:
    import transformers

    class_name, extra = TOUCHED[family]
    config = getattr(transformers, class_name)(**{**COMMON, **extra})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    head = Head.of(model)
    touched = head.bias_V is not None, head.scale != 1.0, head.softcap is not None
    assert any(touched)
    assert_same_logits(model)


def test_tied_and_untied_heads_are_the_right_matrix(plain: Build) -> None:
    tied, untied = plain("llama"), plain("llama", tie_word_embeddings=False)
    assert Head.of(tied).weight_VD is tied.get_input_embeddings().weight
    assert Head.of(untied).weight_VD is not untied.get_input_embeddings().weight


def test_an_adapter_on_the_head_is_refused_since_it_would_not_be_trained(plain: Build) -> None:
    with pytest.raises(RecipeError, match="takes no adapter") as caught:
        plain("llama", Lora(rank=2, targets=["lm_head", "q_proj"]), tie_word_embeddings=False)
    assert "lm_head" in caught.value.message


def test_a_model_in_bfloat16_trains_its_head(bench: Build, table_of: Build) -> None:
    """The arena keeps float32 gradients beside a rounded model; the head's share is in them."""
    table = table_of([20, 30])
    for tied in (True, False):
        exact = bench("llama", tie_word_embeddings=tied)
        rounded = bench("llama", tie_word_embeddings=tied, dtype=torch.bfloat16)
        assert all(group.is_rounded for group in rounded.arena.groups)
        _, expected = exact.loss_and_gradients(table, [[0], [1]])
        _, found = rounded.loss_and_gradients(table, [[0], [1]])
        for name, gradient in expected.items():
            cosine = F.cosine_similarity(gradient.flatten(), found[name].flatten(), dim=0)
            assert cosine > 0.98, name
            ratio = float(found[name].norm() / gradient.norm())
            assert ratio == pytest.approx(1, abs=0.05), name
