"""Adapters with learned vectors in front of the text: what a row with one of them begins with.

Prompt tuning and P-tuning learn N inputs of the base; prefix tuning learns keys and values for all
its layers. Nothing behind them changes what the base makes of them, so keys and values of the N
places are computed once, when the adapter is loaded, and copied into each row that begins with it.
The row's own tokens follow from place N on, as in training.

Shapes: N learned places, F numbers a place, D hidden, L layers, K key-value heads, E head width.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from tunesmith.engine.methods.prefix import by_layer
from tunesmith.models.adapters import named_base
from tunesmith.models.files import check_model_files
from tunesmith.serving.cache import CacheShape
from tunesmith.serving.errors import AdapterMismatch

_TABLE = "prompt_embeddings"


@dataclass(frozen=True, eq=False)
class FrontAdapter:
    """An adapter in memory: keys and values of its places, as the decoder keeps those of a row."""

    directory: Path
    num_places: int
    num_bytes: int
    kept: Any


@dataclass(frozen=True)
class Learned:
    """What the files hold: inputs [N, D] of the base; of prefix tuning [L, 2, K, N, E]."""

    vectors: Tensor
    num_places: int
    is_prefix: bool


def read_learned(directory: Path, cache: CacheShape, width: int, context: int | None) -> Learned:
    """The files of a PEFT folder, in the type of the base; `width` is D.

    Raises:
        AdapterMismatch: they are of another base, or leave no place for a text.
    """
    check_model_files(directory)
    settings = json.loads((directory / "adapter_config.json").read_bytes())
    table = load_file(directory / "adapter_model.safetensors").get(_TABLE)
    if table is None or table.ndim != 2 or not table.numel():
        raise AdapterMismatch(f"The adapter {directory} holds no vectors ({_TABLE}).")
    num_places = len(table)
    if context is not None and num_places >= context:
        raise AdapterMismatch(
            f"The adapter {directory} has {num_places:,} vectors in front of the text; the context "
            f"here is {context:,}, so no text has a place behind them.",
            hint="Serve it with a larger --context, or on a model with a longer context.",
        )
    table = table.to(cache.device, cache.dtype)
    if settings["peft_type"].upper() != "PREFIX_TUNING":
        _check(directory, "inputs of {} numbers", [table.shape[1]], [width])
        return Learned(table, num_places, is_prefix=False)
    layers, heads = settings.get("num_layers") or 0, settings.get("num_attention_heads") or 0
    numbers = 2 * cache.num_layers * cache.num_kv * cache.head_width
    _check(
        directory,
        "keys and values for {} layers with {} heads, {} numbers a place",
        [layers, heads, table.shape[1]],
        [cache.num_layers, cache.num_kv, numbers],
    )
    return Learned(by_layer(table, layers, heads), num_places, is_prefix=True)


def _check(directory: Path, what: str, there: list[int], here: list[int]) -> None:
    if there != here:
        raise AdapterMismatch(
            f"The adapter {directory} was made for another base: it has {what.format(*there)}, and "
            f"this base takes {what.format(*here)}.",
            hint=f"Serve it on the base that it was trained on{named_base(directory)}.",
            adapter_shapes=[there],
            base_shape=here,
        )
