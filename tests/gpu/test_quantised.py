"""QLoRA by the library's CUDA kernels: the same weights, and products in bfloat16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tunesmith.engine.adapter import apply_adapter
from tunesmith.engine.methods.quantised import is_quantised, packed, quantise
from tunesmith.recipe import Lora

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
KINDS = ("nf4", "int8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_layer_computes_with_its_unpacked_weight(kind: str) -> None:
    torch.manual_seed(3)
    layer = nn.Linear(256, 192, dtype=torch.bfloat16)
    mine: Any = packed(layer, kind, torch.device("cuda"))
    weight = mine.weight
    assert (weight.device.type, weight.dtype) == ("cuda", torch.bfloat16)
    difference = (weight.cpu().float() - layer.weight.data.float()).abs().max()
    assert 0 < float(difference) < (0.02 if kind == "nf4" else 0.002)
    x = torch.randn(40, 256, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    made = mine(x)
    assert torch.equal(made, nn.functional.linear(x, weight, layer.bias.data.cuda()))
    made.sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, torch.ones_like(made) @ weight, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_packed_on_its_way_to_the_device(kind: str) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=264, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
    )  # fmt: skip
    model: Any = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    quantise(model, kind, torch.device("cuda"))
    tuned: Any = apply_adapter(model.to("cuda"), Lora(rank=4), seed=1)
    assert sum(is_quantised(part) for part in tuned.modules()) == 14
    ids = torch.tensor([[5, 60, 70, 80]], device="cuda")
    loss = tuned(ids, labels=ids).loss
    loss.backward()
    trained = [p for p in tuned.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    assert sum(float(p.grad.abs().sum()) for p in trained if p.grad is not None) > 0
