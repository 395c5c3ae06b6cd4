"""Which models GGUF can hold: the family's name there, its numbers, and how its weights are laid.

A setting that the readers of GGUF files do not compute is refused by name: a file that loads and
answers something else is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tunesmith.engine.exporting.errors import ExportRefused

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PretrainedConfig

GEMMA_PERIOD = {"gemma2": 2, "gemma3": 6}  # every such layer attends to everything
# Layers of the models of 27 B, which alone scale their queries otherwise than by the head's width.
_GEMMA_27B = {"gemma2": 46, "gemma3": 62}
_SILU, _GELU = ("silu", "swish"), ("gelu_pytorch_tanh",)


@dataclass(frozen=True)
class Family:
    """How a family of transformers is called and laid out in GGUF."""

    architecture: str
    permutes: bool = False  # query and key rows, for the rotation of neighbours
    shifts_norms: bool = False  # norms are stored as 1 + weight
    activations: tuple[str, ...] = _SILU


FAMILIES = {
    "llama": Family("llama", permutes=True),
    "mistral": Family("llama", permutes=True),
    "qwen2": Family("qwen2"),
    "qwen3": Family("qwen3"),
    "gemma2": Family("gemma2", shifts_norms=True, activations=_GELU),
    "gemma3_text": Family("gemma3", shifts_norms=True, activations=_GELU),
}


def family_of(config: PretrainedConfig) -> Family:
    """The family of a model; ExportRefused says what GGUF cannot hold of it."""
    kind = str(config.model_type)
    if kind not in FAMILIES:
        raise ExportRefused(
            f"Models of the family {kind} cannot be written as GGUF.",
            hint=f"GGUF is written for {', '.join(FAMILIES)}; `--format merged` takes every model.",
            code="gguf_family_unknown",
            family=kind,
        )
    family = FAMILIES[kind]
    for problem in _problems(config, family):
        raise ExportRefused(
            f"This {kind} model cannot be written as GGUF: {problem}.",
            hint="`--format merged` keeps every setting.",
            code="gguf_setting_unknown",
        )
    return family


def _problems(config: Any, family: Family) -> list[str]:
    """Settings that a reader of the file would compute otherwise."""
    activation = getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", None)
    found: list[str] = []
    if activation not in family.activations:
        found.append(f"its activation is {activation}, GGUF means {family.activations[0]}")
    if getattr(config, "use_sliding_window", False):
        found.append("it attends within a sliding window")
    if getattr(config, "mlp_bias", False):
        found.append("its MLP has biases")
    for rope in rope_settings(config):
        kind = rope.get("rope_type", "default")
        if kind not in _SCALINGS:
            found.append(f"its positions are scaled by {kind!r}")
        if rope.get("partial_rotary_factor", 1.0) != 1.0:
            found.append("it rotates a part of each head only")
        if kind == "yarn" and set(rope) & {"attention_factor", "mscale", "mscale_all_dim"}:
            found.append("its yarn scaling has a factor of its own for attention")
    if family.architecture in GEMMA_PERIOD:
        found += _gemma_problems(config, family.architecture)
    return found


def _gemma_problems(config: Any, architecture: str) -> list[str]:
    period = GEMMA_PERIOD[architecture]
    expected = [
        "full_attention" if (number + 1) % period == 0 else "sliding_attention"
        for number in range(config.num_hidden_layers)
    ]
    found: list[str] = []
    if list(config.layer_types) != expected:
        found.append(f"not every {period}th layer is the one that attends to everything")
    is_large = config.num_hidden_layers == _GEMMA_27B[architecture]
    width = config.hidden_size // config.num_attention_heads if is_large else config.head_dim
    if config.query_pre_attn_scalar != width:
        found.append(f"its queries are scaled by {config.query_pre_attn_scalar}, not by {width}")
    if getattr(config, "use_bidirectional_attention", None):
        found.append("it attends in both directions")
    if architecture == "gemma3" and config.attn_logit_softcapping is not None:
        found.append("its scores are capped")
    return found


# ---------------------------------------------------------------- numbers


def head_width(config: Any) -> int:
    """Numbers of a head."""
    width = getattr(config, "head_dim", None)
    return int(width or config.hidden_size // config.num_attention_heads)


def rope_settings(config: Any) -> list[dict[str, Any]]:
    """The settings of positions: one set, or one for each kind of layer."""
    parameters = getattr(config, "rope_parameters", None) or {}
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    return nested or [parameters]


def global_rope(config: Any) -> dict[str, Any]:
    """The settings of layers that attend to everything."""
    parameters = getattr(config, "rope_parameters", None) or {}
    return parameters.get("full_attention") or parameters


def context_of(config: Any) -> int:
    """The longest text that readers compute as the model was trained to."""
    longest = int(config.max_position_embeddings)
    window = getattr(config, "sliding_window", None)
    # Readers let a llama attend to everything: within one window that is the same.
    if config.model_type == "mistral" and window:
        return min(longest, int(window))
    return longest


def write_numbers(writer: GGUFWriter, config: Any, family: Family) -> None:
    """Sizes, norms and positions of the model."""
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(context_of(config))
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(head_width(config))
    writer.add_value_length(head_width(config))
    writer.add_rope_dimension_count(head_width(config))
    writer.add_rope_freq_base(float(global_rope(config)["rope_theta"]))
    writer.add_vocab_size(config.vocab_size)
    rope = global_rope(config)
    _SCALINGS[rope.get("rope_type", "default")](writer, rope)
    if family.architecture in GEMMA_PERIOD:
        _write_gemma(writer, config, family.architecture)


def _write_gemma(writer: GGUFWriter, config: Any, architecture: str) -> None:
    writer.add_sliding_window(config.sliding_window)
    if config.attn_logit_softcapping is not None:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if config.final_logit_softcapping is not None:
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if architecture == "gemma3":
        local = config.rope_parameters["sliding_attention"]["rope_theta"]
        writer.add_float32(f"{architecture}.rope.freq_base_swa", float(local))


def _no_scaling(writer: GGUFWriter, rope: dict[str, Any]) -> None:
    """Positions as they are."""
    del writer, rope


def _linear(writer: GGUFWriter, rope: dict[str, Any]) -> None:
    from gguf import RopeScalingType

    writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(float(rope["factor"]))


def _yarn(writer: GGUFWriter, rope: dict[str, Any]) -> None:
    from gguf import RopeScalingType

    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(float(rope["factor"]))
    if "original_max_position_embeddings" in rope:
        writer.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))


_SCALINGS: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "default": _no_scaling,
    "llama3": _no_scaling,  # a table of factors among the tensors
    "linear": _linear,
    "yarn": _yarn,
}


# ---------------------------------------------------------------- tensors


def rope_factors(config: Any) -> Tensor | None:
    """By how much llama 3.1 slows down each frequency; None for other scalings."""
    rope = global_rope(config)
    if rope.get("rope_type") != "llama3":
        return None
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    width = head_width(config)
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, width, 2).float() / width)
    return plain / scaled


def laid_out(name: str, value: Tensor, config: Any, family: Family) -> Tensor:
    """A weight as GGUF has it."""
    if family.shifts_norms and name.endswith("norm.weight"):
        return value + 1
    if family.permutes and ".self_attn." in name:
        if ".q_proj." in name:
            return _permuted(value, config.num_attention_heads)
        if ".k_proj." in name:
            return _permuted(value, config.num_key_value_heads)
    return value


def _permuted(value: Tensor, heads: int) -> Tensor:
    """Rows of a head from [first halves, second halves] to pairs.

    A head of width 6: rows 0 1 2 3 4 5 -> 0 3 1 4 2 5.
    """
    pairs = value.view(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])
    return pairs.transpose(1, 2).reshape(value.shape)
