"""From token ids to final hidden states: fused where that serves, else transformers' modules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tunesmith.engine.attention import Documents
from tunesmith.engine.dropout import DropoutKeys
from tunesmith.engine.fused import FusedDecoder, why_not_fused
from tunesmith.engine.methods.prefix import PrefixDecoder, is_prefix
from tunesmith.engine.methods.prompts import PromptDecoder, has_vectors
from tunesmith.engine.methods.vocabulary import TrainedRows, all_trained_rows
from tunesmith.engine.offload import Offload
from tunesmith.recipe import Recipe


class ModuleDecoder:
    """A transformers decoder on the flat layout."""

    def __init__(self, decoder: Any, rows: Sequence[TrainedRows] = ()) -> None:
        self._decoder = decoder
        self._rows = rows

    def refresh(self) -> None:
        """Call after an optimizer step: tables have the rows that are trained."""
        for rows in self._rows:
            rows.publish()

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

    def __init__(
        self,
        decoder: Any,
        rows: Sequence[TrainedRows] = (),
        keys: DropoutKeys | None = None,
    ) -> None:
        super().__init__(decoder, rows)
        self._keys = keys or DropoutKeys(0)

    def __call__(self, ids_T: Tensor, positions_T: Tensor, documents: Documents) -> Tensor:
        """Hidden states [T, D] behind the final norm."""
        parts: list[Tensor] = []
        for start, end in documents.spans():
            with self._keys.within(slice(start, end)):
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


def backbone_of(
    recipe: Recipe, model: Any, keys: DropoutKeys
) -> FusedDecoder | ModuleDecoder | PromptDecoder | PrefixDecoder:
    """The way through a model that a decided recipe trains on."""
    training = recipe.training
    return build_backbone(
        model,
        attention=recipe.model.attention,
        checkpointing=training.recomputed_layers,
        offload=Offload() if training.activation_offload else None,
        keys=keys,
    )


def build_backbone(
    model: Any,
    *,
    attention: str,
    checkpointing: int = 0,
    offload: Offload | None = None,
    keys: DropoutKeys | None = None,
) -> FusedDecoder | ModuleDecoder | PromptDecoder | PrefixDecoder:
    """Choose the fastest exact way through a model; the arena must exist before.

    `attention` is the recipe's: `auto` and `flat` take flat attention, others the model's own
    function. `checkpointing` n computes activations of every n-th layer twice; 0: of none. With
    `offload`, what layers keep for backward waits elsewhere. `keys` are those of the dropout in the
    model.
    """
    decoder = decoder_of(model)
    is_flat = attention in ("auto", "flat")
    rows = all_trained_rows(model)
    if is_flat and why_not_fused(model, decoder) is None:
        return FusedDecoder(decoder, rows, checkpointing=checkpointing, offload=offload)
    if checkpointing:
        checkpoint_layers(decoder, keys or DropoutKeys(0), every=checkpointing)
    if offload is not None:  # around checkpointing, whose layers then keep their inputs elsewhere
        offload_layers(decoder, offload)
    if has_vectors(model):
        in_front = PrefixDecoder if is_prefix(model) else PromptDecoder
        return in_front(model, decoder, is_flat=is_flat)
    return ModuleDecoder(decoder, rows) if is_flat else SeparateDecoder(decoder, rows, keys)


def checkpoint_layers(decoder: Any, keys: DropoutKeys, *, every: int = 1) -> None:
    """Let every n-th layer keep nothing but its input for backward, and run again there.

    transformers has a switch for this, which does nothing in eval mode; training mode would bring
    back the dropout of the model itself.
    """
    for layer in _layers(decoder)[::every]:
        layer.forward = partial(_checkpointed, layer.forward, keys)


def _checkpointed(forward: Any, keys: DropoutKeys, *inputs: Any, **named: Any) -> Any:
    """Run a layer without keeping anything; its second run meets the same tokens as the first."""
    span = keys.span

    def run(*inputs: Any, **named: Any) -> Any:
        with keys.within(span):
            return forward(*inputs, **named)

    return checkpoint(run, *inputs, use_reentrant=False, preserve_rng_state=False, **named)


def offload_layers(decoder: Any, offload: Offload) -> None:
    """Let what every layer keeps for backward wait elsewhere."""
    for layer in _layers(decoder):
        layer.forward = partial(_offloaded, layer.forward, layer, offload)


def _offloaded(forward: Any, layer: Any, offload: Offload, *inputs: Any, **named: Any) -> Any:
    with offload.within(layer):
        return forward(*inputs, **named)


def _layers(decoder: Any) -> list[Any]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [part for part in decoder.modules() if isinstance(part, GradientCheckpointingLayer)]
