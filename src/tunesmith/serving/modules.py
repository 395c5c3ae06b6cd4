"""Any family through transformers' own modules: a cache a row, and one forward a row.

Slower than `fast.py`, for what that does not know; the answers are as exact.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.adapter import known_notices
from tunesmith.models.adapters import is_in_front
from tunesmith.serving.cache import CacheShape
from tunesmith.serving.decoder import Piece
from tunesmith.serving.errors import AdapterMismatch
from tunesmith.serving.front import FrontAdapter, read_learned
from tunesmith.serving.lora import read_pairs


@dataclass(frozen=True, eq=False)
class NamedAdapter:
    """An adapter by the name that PEFT knows it by."""

    directory: Path
    name: str
    num_bytes: int
    num_places: int = 0  # in front of the text


class ModuleDecoder:
    """A transformers model, adapters through PEFT."""

    loads_beside = False  # PEFT changes the model itself

    def __init__(self, model: Any, *, budget: int, context: int | None) -> None:
        self._base = model
        self._tuned: Any = None  # the same with PEFT around it, once there is an adapter
        self._caches: dict[int, Any] = {}
        self._budget = budget
        self._shape = _cache_shape(model)
        self.context = context
        self._names = itertools.count(1)

    def forward(self, pieces: Sequence[Piece]) -> Tensor:
        """Scores [wanted of all pieces, V], in the order of the pieces."""
        return torch.cat([self._one(piece) for piece in pieces])

    def _one(self, piece: Piece) -> Tensor:
        if piece.begins:
            # A cache is filled in place, so what an adapter has in front stays as it is.
            self._caches[piece.slot] = (
                copy.deepcopy(piece.adapter.kept) if piece.start else self._empty_cache()
            )
        device = self._shape.device
        output = self._model(piece.adapter)(
            input_ids=torch.tensor([list(piece.ids)], device=device),
            position_ids=torch.arange(piece.start, piece.end, device=device)[None],
            past_key_values=self._caches[piece.slot],
            use_cache=True,
            logits_to_keep=max(piece.wanted, 1),
        )
        return output.logits[0, len(output.logits[0]) - piece.wanted :]

    def _empty_cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self._base.config)

    def _model(self, adapter: NamedAdapter | FrontAdapter | None) -> Any:
        if self._tuned is None:
            return self._base
        if isinstance(adapter, NamedAdapter):
            self._tuned.base_model.enable_adapter_layers()
            self._tuned.set_adapter(adapter.name)
        else:
            self._tuned.base_model.disable_adapter_layers()
        return self._tuned

    # ------------------------------------------------------------ rows

    def fits(self, num_rows: int, longest: int) -> bool:
        """Whether caches of so many rows of this length are within the budget."""
        return num_rows * longest * self._shape.token_bytes <= self._budget

    def move(self, source: int, target: int, length: int) -> None:
        """Bring a row into another slot."""
        del length
        self._caches[target] = self._caches.pop(source)

    def forget(self, slot: int) -> None:
        """Let go of a row's cache."""
        self._caches.pop(slot, None)

    # ------------------------------------------------------------ adapters

    def load_adapter(self, directory: Path) -> NamedAdapter | FrontAdapter:
        """Read a PEFT folder beside the adapters that are there."""
        from peft import PeftModel

        if is_in_front(directory):
            return self._load_front(directory)
        pairs = read_pairs(directory, _linear_shapes(self._base))
        name = f"adapter-{next(self._names)}"
        try:
            with known_notices():
                if self._tuned is None:
                    self._tuned = PeftModel.from_pretrained(
                        self._base, str(directory), adapter_name=name
                    ).eval()
                else:
                    self._tuned.load_adapter(str(directory), adapter_name=name)
        except (ValueError, RuntimeError) as error:
            raise AdapterMismatch(
                f"The adapter {directory} does not fit the base: {str(error).splitlines()[0]}",
                hint="Serve it on the base that it was trained on.",
            ) from error
        return NamedAdapter(
            directory, name, sum(p.a_RD.nbytes + p.b_OR.nbytes for p in pairs.values())
        )

    @torch.no_grad()
    def _load_front(self, directory: Path) -> FrontAdapter:
        width = self._base.get_input_embeddings().weight.shape[1]
        learned = read_learned(directory, self._shape, width, self.context)
        kept = self._empty_cache()
        if learned.is_prefix:
            for number, (keys, values) in enumerate(learned.vectors):
                kept.update(keys[None], values[None], number)
        else:
            self._model(None)(
                inputs_embeds=learned.vectors[None],
                position_ids=torch.arange(learned.num_places, device=self._shape.device)[None],
                past_key_values=kept,
                use_cache=True,
                logits_to_keep=1,
            )
        size = learned.num_places * self._shape.token_bytes
        return FrontAdapter(directory, learned.num_places, size, kept)

    def unload_adapter(self, adapter: NamedAdapter | FrontAdapter) -> None:
        """Take its weights out of the model; the last one stays until another one comes."""
        if not isinstance(adapter, NamedAdapter):
            return
        others = [name for name in self._tuned.peft_config if name != adapter.name]
        if others:
            self._tuned.set_adapter(others[0])  # PEFT warns when the active one goes
            self._tuned.delete_adapter(adapter.name)


def _linear_shapes(model: Any) -> dict[str, tuple[int, int]]:
    from transformers.pytorch_utils import Conv1D

    shapes: dict[str, tuple[int, int]] = {}
    for name, module in model.named_modules():
        plain = name.replace(".base_layer", "")
        if isinstance(module, torch.nn.Linear):
            shapes[plain] = (module.weight.shape[0], module.weight.shape[1])
        elif isinstance(module, Conv1D):
            shapes[plain] = (module.weight.shape[1], module.weight.shape[0])
    return shapes


def _cache_shape(model: Any) -> CacheShape:
    """Keys and values of one token, from above: latent attention takes less."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    device = next(model.parameters()).device
    return CacheShape(config.num_hidden_layers, heads, width, model.dtype, device)
