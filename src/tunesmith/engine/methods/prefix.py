"""Prefix tuning through PEFT: keys and values in front of the text, in every layer, learn.

Li and Liang 2021. A document attends to the learned keys as if they were those of n tokens in front
of it, at positions 0 to n - 1; its own tokens follow at n. Nothing is computed for these places but
attention, and every document of a micro-batch has its own in front, so packing changes nothing.

Shapes: N learned places, L layers, K key-value heads, D head width, T tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tunesmith.engine.attention import Documents, Front
from tunesmith.engine.methods.prompts import InFrontDecoder, are_on, has_vectors
from tunesmith.errors import RecipeError
from tunesmith.recipe.prompts import Prefix

if TYPE_CHECKING:
    from peft import PeftModel


def new_prefix(model: Any, adapter: Prefix, seed: int) -> PeftModel:
    """The frozen model with new keys and values, drawn on the CPU from `seed`.

    Raises:
        RecipeError: the layers of the model have no keys and values of one shape.
    """
    from peft import PrefixTuningConfig, TaskType, get_peft_model

    _refuse_other_shapes(model)
    config = PrefixTuningConfig(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=adapter.virtual_tokens,
        prefix_projection=adapter.projection,
        encoder_hidden_size=adapter.encoder_width,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tuned: Any = get_peft_model(model, config)
    return tuned


def is_prefix(model: Any) -> bool:
    """True for a model whose layers have learned keys and values."""
    return has_vectors(model) and model.active_peft_config.peft_type == "PREFIX_TUNING"


_OTHER_SHAPES = {
    "kv_lora_rank": "its layers keep compressed keys",
    "num_kv_shared_layers": "its layers share keys",
    "per_layer_config": "its layers differ in their heads",
}


def _refuse_other_shapes(model: Any) -> None:
    """One table holds the keys and values of all layers, so they have to be alike."""
    text = model.config.get_text_config()
    written = text.to_dict()  # the properties of a configuration answer for uniform layers too
    reasons = [why for name, why in _OTHER_SHAPES.items() if written.get(name)]
    kinds = set(getattr(text, "layer_types", None) or ())
    if not kinds <= {"full_attention", "sliding_attention"}:
        reasons.append("some of its layers have no keys")
    if reasons:
        raise RecipeError(
            f"adapter.kind is prefix, but a model of the family {text.model_type} takes no learned "
            f"keys: {reasons[0]}.",
            hint="Write adapter.kind: prompt, or lora.",
            code="layers_without_prefix",
            family=text.model_type,
            field="adapter.kind",
        )


def learned_front(model: Any, like: Tensor) -> Front:
    """Keys and values of all layers, as the attention takes them, in the type of `like`."""
    config, encoder = model.active_peft_config, model.prompt_encoder[model.active_adapter]
    if config.inference_mode:  # a result holds what the network made, not the network
        flat_NF = encoder.embedding.weight
    else:
        places = model.prompt_tokens[model.active_adapter][: config.num_virtual_tokens]
        flat_NF = encoder(places[None].to(encoder.embedding.weight.device))[0]
    both = by_layer(flat_NF.to(like.dtype), config.num_layers, config.num_attention_heads)
    return Front(tuple((keys, values) for keys, values in both))


def by_layer(table_NF: Tensor, num_layers: int, num_heads: int) -> Tensor:
    """[L, key or value, K, N, D] of a table as PEFT lays it out."""
    return table_NF.view(len(table_NF), num_layers, 2, num_heads, -1).permute(1, 2, 3, 0, 4)


class PrefixDecoder(InFrontDecoder):
    """Its layers with learned keys and values in front."""

    def __call__(self, ids_T: Tensor, positions_T: Tensor, documents: Documents) -> Tensor:
        """Hidden states [T, D] of the tokens, behind the final norm."""
        front = Front(())
        if are_on(self._model):
            front = learned_front(self._model, self._decoder.get_input_embeddings().weight)
        places_T = positions_T + front.num_places
        if self._is_flat:
            return self._computed(
                ids_T,
                places_T,
                documents=Documents(documents.borders, documents.cumulative, front),
                attention_mask=None,
                use_cache=False,
            )
        parts = [
            self._computed(
                ids_T[start:end],
                places_T[start:end],
                past_key_values=cache_of(front) if front.layers else None,
                use_cache=bool(front.layers),
            )
            for start, end in documents.spans()
        ]
        return torch.cat(parts)

    def _computed(self, ids_T: Tensor, places_T: Tensor, **how: Any) -> Tensor:
        output = self._decoder(input_ids=ids_T[None], position_ids=places_T[None], **how)
        return output.last_hidden_state[0]


def cache_of(front: Front, rows: int = 1) -> Any:
    """The learned keys and values as transformers' cache, which each use fills up further."""
    from transformers import DynamicCache

    layers = [
        tuple(part[None].expand(rows, -1, -1, -1) for part in (keys, values))
        for keys, values in front.layers
    ]
    return DynamicCache(layers)


@torch.no_grad()
def continued_behind_prefix(
    model: Any, ids_BT: Tensor, mask_BT: Tensor, **how: Any
) -> list[list[int]]:
    """Prompts, padded on the left, with what is generated behind learned keys and prompts."""
    base = model.get_base_model()
    if len(ids_BT) > 1 and _has_window(base):
        # Padding would push the learned keys out of a window that they are in without it.
        padding = (mask_BT == 0).sum(1).tolist()
        alone = [
            continued_behind_prefix(model, ids[None, n:], mask[None, n:], **how)[0]
            for ids, mask, n in zip(ids_BT, mask_BT, padding, strict=True)
        ]
        longest = max(len(row) + n for row, n in zip(alone, padding, strict=True))
        pad = _padding_token(how, ids_BT)
        rows = [[pad] * n + row for row, n in zip(alone, padding, strict=True)]
        return [row + [pad] * (longest - len(row)) for row in rows]
    base.generation_config = model.generation_config
    front = learned_front(model, base.get_input_embeddings().weight)
    # `generate` cuts off as many tokens as the cache holds.
    cached = ids_BT.new_zeros(len(ids_BT), front.num_places)
    made = base.generate(
        input_ids=torch.cat([cached, ids_BT], 1),
        attention_mask=torch.cat([torch.ones_like(cached), mask_BT], 1),
        past_key_values=cache_of(front, len(ids_BT)),
        **how,
    )
    return made[:, front.num_places :].tolist()


def _has_window(base: Any) -> bool:
    text = base.config.get_text_config()
    return getattr(text, "sliding_window", None) is not None


def _padding_token(how: dict[str, Any], ids_BT: Tensor) -> int:
    """What stands behind answers that are over, and in front of short prompts."""
    pad = getattr(how.get("generation_config"), "pad_token_id", None)
    return int(ids_BT[0, 0]) if pad is None else int(pad)
