"""Adapter tuning through PEFT: upper layers attend to learned vectors beside the text.

LLaMA-Adapter (Zhang and others 2023, arXiv 2303.16199), in the form and the names of PEFT's
"adaption prompt". The keys and values of the N learned vectors of a layer come from its own frozen
matrices. Each query attends to them by a softmax of its own, apart from that over the text, and a
gate that begins at zero says how much of the answer is added. So training begins exactly at the
base, and a token meets its vectors wherever it lies: packing and padding change nothing.

Shapes: B rows, T tokens, D hidden, N vectors, H heads, E head width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tunesmith.errors import RecipeError
from tunesmith.recipe.capabilities import refusal_of_family
from tunesmith.recipe.prompts import AdapterTuning

if TYPE_CHECKING:
    from peft import PeftModel


def new_adaption(model: Any, adapter: AdapterTuning, seed: int) -> PeftModel:
    """The frozen model with new vectors and closed gates, drawn on the CPU from `seed`.

    PEFT would hold them in the number format of the base, and draw them on its device.
    """
    from peft import AdaptionPromptConfig, TaskType, get_peft_model

    config = AdaptionPromptConfig(
        task_type=TaskType.CAUSAL_LM,
        adapter_len=adapter.virtual_tokens,
        adapter_layers=min(adapter.layers, int(model.config.num_hidden_layers)),
    )
    with torch.random.fork_rng(devices=[]):
        tuned: Any = get_peft_model(model, config)
        torch.manual_seed(seed)
        for attention in adapted_attentions(tuned):
            drawn = torch.empty(attention.adaption_prompt.shape).normal_()
            device = attention.adaption_prompt.device
            attention.adaption_prompt = nn.Parameter(drawn.to(device))
            attention.adaption_gate = nn.Parameter(torch.zeros(1, device=device))
            attention.forward = partial(_attended, attention)
    return tuned


def adapted_attentions(model: nn.Module) -> Iterator[Any]:
    """The attention of each layer that has vectors, from the lowest on."""
    return (part for part in model.modules() if has_vectors_beside(part))


def has_vectors_beside(part: nn.Module) -> bool:
    """True for the attention of a layer that attends to learned vectors."""
    return "adaption_gate" in part._parameters


def refuse_other_attention(config: Any) -> None:
    """RecipeError for a base, by its configuration, whose attention PEFT does not know."""
    told = refusal_of_family("adapter", config.model_type)
    if told is not None:
        raise RecipeError(
            told.message,
            hint=told.hint,
            code="method_of_other_families",
            field="adapter.kind",
            method="adapter",
            family=config.model_type,
            known=told.values["known"],
        )
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if width * config.num_attention_heads != config.hidden_size:
        raise _odd_attention("its heads together are not as wide as its hidden states")
    if getattr(config, "attention_bias", False):
        raise _odd_attention("a bias stands behind its attention, which PEFT would add twice")


def _odd_attention(why: str) -> RecipeError:
    return RecipeError(
        f"adapter.kind is adapter, but this model takes no vectors beside its text: {why}.",
        hint="Write adapter.kind: prefix, which learns vectors in every layer too, or lora.",
        code="attention_without_vectors",
        field="adapter.kind",
    )


def _attended(attention: Any, *inputs: Any, **named: Any) -> tuple[Tensor, ...]:
    """What the attention of a layer gives, and the gated answer of its vectors on top.

    The mathematics are PEFT's, from exact vectors to a base of any number format.
    """
    output_BTD, *others = attention.model(*inputs, **named)
    hidden_BTD = inputs[0] if inputs else named["hidden_states"]
    vectors_1ND = attention.adaption_prompt.to(hidden_BTD.dtype)
    of_layer = _of_gpt2 if hasattr(attention.model, "c_attn") else _of_llama
    query_BHTE, key_1HNE, value_1HNE = of_layer(attention.model, hidden_BTD, vectors_1ND, named)
    scores_BHTN = query_BHTE @ key_1HNE.transpose(2, 3) / math.sqrt(query_BHTE.shape[-1])
    shares_BHTN = attention.adaption_gate * scores_BHTN.softmax(-1, dtype=torch.float32)
    added_BTD = (shares_BHTN.to(value_1HNE.dtype) @ value_1HNE).transpose(1, 2).flatten(2)
    if hasattr(attention.model, "o_proj"):  # PEFT adds in GPT-2 without its last matrix
        added_BTD = attention.model.o_proj(added_BTD)
    return (output_BTD + added_BTD, *others)


def _of_llama(
    layer: Any, hidden_BTD: Tensor, vectors_1ND: Tensor, named: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, rotated to their places, and keys and values of the vectors, which have none."""
    from peft.tuners.adaption_prompt.utils import llama_rotate_half

    query = _by_head(layer.q_proj(hidden_BTD), layer.head_dim)
    cos, sin = (part.unsqueeze(1) for part in named["position_embeddings"])
    key, value = (
        _by_head(project(vectors_1ND), layer.head_dim).repeat_interleave(
            layer.num_key_value_groups, dim=1
        )
        for project in (layer.k_proj, layer.v_proj)
    )
    return query * cos + llama_rotate_half(query) * sin, key, value


def _of_gpt2(
    layer: Any, hidden_BTD: Tensor, vectors_1ND: Tensor, named: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    del named  # places are in the hidden states
    query, _, _ = layer.c_attn(hidden_BTD).split(layer.split_size, dim=2)
    _, key, value = layer.c_attn(vectors_1ND).split(layer.split_size, dim=2)
    query, key, value = (_by_head(part, layer.head_dim) for part in (query, key, value))
    return query, key, value


def _by_head(x_BTD: Tensor, width: int) -> Tensor:
    """[B, T, H E] -> [B, H, T, E]"""
    return x_BTD.unflatten(2, (-1, width)).transpose(1, 2)
