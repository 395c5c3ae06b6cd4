"""From token ids to final hidden states: fused where that serves, else transformers' modules."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tunesmith.engine.attention import Documents
from tunesmith.engine.fused import FusedDecoder, why_not_fused


class ModuleDecoder:
    """A transformers decoder on the flat layout."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def refresh(self) -> None:
        """Nothing is kept beside the modules."""

    def __call__(self, ids_T: Tensor, positions_T: Tensor, documents: Documents) -> Tensor:
        """Hidden states [T, D] behind the final norm."""
        output = self._decoder(
            input_ids=ids_T[None],
            position_ids=positions_T[None],
            attention_mask=None,
            documents=documents,
            use_cache=False,
        )
        return output.last_hidden_state[0]


class SeparateDecoder(ModuleDecoder):
    """The same, one document at a time, for attention functions that know no documents."""

    def __call__(self, ids_T: Tensor, positions_T: Tensor, documents: Documents) -> Tensor:
        """Hidden states [T, D] behind the final norm."""
        parts: list[Tensor] = []
        for start, end in documents.spans():
            output = self._decoder(
                input_ids=ids_T[None, start:end],
                position_ids=positions_T[None, start:end],
                use_cache=False,
            )
            parts.append(output.last_hidden_state[0])
        return torch.cat(parts)


def decoder_of(model: Any) -> Any:
    """The module below the head of a causal language model, adapters included."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.get_decoder()


def build_backbone(
    model: Any, *, attention: str, checkpointing: bool = False
) -> FusedDecoder | ModuleDecoder:
    """Choose the fastest exact way through a model; the arena must exist before.

    `attention` is the recipe's: `auto` and `flat` take flat attention, others the model's own
    function.
    """
    decoder = decoder_of(model)
    is_flat = attention in ("auto", "flat")
    if is_flat and why_not_fused(model, decoder) is None:
        return FusedDecoder(decoder, checkpointing=checkpointing)
    if checkpointing:
        checkpoint_layers(decoder)
    return ModuleDecoder(decoder) if is_flat else SeparateDecoder(decoder)


def checkpoint_layers(decoder: Any) -> None:
    """Let every layer keep nothing but its input for backward, and run again there.

    transformers has a switch for this, which does nothing in eval mode; training mode would bring
    back the dropout of the model itself.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    for layer in decoder.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.forward = partial(
                checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False
            )
