"""Causal attention by document over one flat sequence.

All rows of a micro-batch lie behind each other in one sequence of T tokens; a token attends to the
earlier tokens of its own document and to nothing else.

On the CPU the scores of a block of queries are plain matrix products against the keys up to that
block: on rows of some hundred tokens this takes half the time of the flash kernel, forward and
backward, because the products run at full speed and nothing above the diagonal block is computed.

Shapes: T tokens, K key-value heads, G query heads a key-value head, D head width. Queries come as
[K, T*G, D] (token-major inside a head group), so that each document is one contiguous slice and the
gradients of shared keys are summed by the product itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128  # queries a block: large enough for full-speed products, small enough to skip work
KEEP = 512  # keys; the probabilities of longer rows would fill the memory
NAME = "tunesmith_flat"


@dataclass(frozen=True)
class Front:
    """Keys and values [K, N, D] by layer that stand in front of each document."""

    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def num_places(self) -> int:
        """How many there are in a layer."""
        return self.layers[0][0].shape[1] if self.layers else 0


@dataclass(frozen=True)
class Documents:
    """Documents of a flat sequence: number i is tokens [borders[i], borders[i + 1])."""

    borders: tuple[int, ...]
    cumulative: Tensor | None = None  # the same as int32 on the device, for the CUDA kernel
    front: Front | None = None

    def behind(self, num_places: int) -> tuple[Documents, Tensor]:
        """The documents with so many more tokens in front of each, and where their own ones are."""
        lengths = [num_places + end - start for start, end in self.spans()]
        borders = [0, *accumulate(lengths)]
        own = torch.cat([torch.arange(b + num_places, e) for b, e in pairwise(borders)])
        cumulative = None
        if self.cumulative is not None:
            own = own.to(self.cumulative.device)
            cumulative = self.cumulative + num_places * torch.arange(
                len(borders), dtype=torch.int32, device=own.device
            )
        return Documents(tuple(borders), cumulative), own

    @property
    def longest(self) -> int:
        """Length in tokens of the longest document."""
        return max(
            (end - start for start, end in zip(self.borders, self.borders[1:], strict=False)),
            default=0,
        )

    def spans(self) -> list[tuple[int, int]]:
        """(start, end) of each document."""
        return list(zip(self.borders, self.borders[1:], strict=False))


@lru_cache(maxsize=64)
def _diagonal_mask(queries: int, groups: int) -> Tensor:
    """Additive mask [queries*groups, queries]: query row t*groups + g sees the keys up to t."""
    rows = torch.arange(queries).repeat_interleave(groups)
    hidden = torch.arange(queries)[None, :] > rows[:, None]
    return torch.zeros(queries * groups, queries).masked_fill_(hidden, -math.inf)


@lru_cache(maxsize=64)
def _window_mask(queries: int, keys: int, groups: int, window: int) -> Tensor:
    """`_diagonal_mask` for the last `queries` of `keys` positions, within a window of keys."""
    rows = torch.arange(keys - queries, keys).repeat_interleave(groups)
    distance = rows[:, None] - torch.arange(keys)[None, :]
    hidden = (distance < 0) | (distance >= window)
    return torch.zeros(queries * groups, keys).masked_fill_(hidden, -math.inf)


def _blocks(documents: Documents, window: int | None) -> list[tuple[int, int, int]]:
    """(first key, first query, end of queries) of each block of queries."""
    blocks: list[tuple[int, int, int]] = []
    for start, end in documents.spans():
        for first in range(start, end, BLOCK):
            key = start if window is None else max(start, first - window + 1)
            blocks.append((key, first, min(first + BLOCK, end)))
    return blocks


def _probabilities(
    query_KRD: Tensor,
    key_KSD: Tensor,
    queries: int,
    groups: int,
    scale: float,
    window: int | None,
) -> Tensor:
    """Softmax of the scaled scores of one block, [K, queries*G, S]."""
    scores = torch.bmm(query_KRD, key_KSD.transpose(1, 2))
    if scale != 1.0:
        scores.mul_(scale)
    keys = key_KSD.shape[1]
    if window is None or keys <= window:
        mask = _diagonal_mask(queries, groups).to(scores.dtype)
        scores[:, :, keys - queries :].add_(mask)
    else:
        scores.add_(_window_mask(queries, keys, groups, window).to(scores.dtype))
    return torch.softmax(scores, -1)


def attend_forward(
    query_KRD: Tensor,
    key_KTD: Tensor,
    value_KTD: Tensor,
    documents: Documents,
    scale: float = 1.0,
    window: int | None = None,
    keep: list[Tensor] | None = None,
) -> Tensor:
    """Attention output in the layout of the queries, [K, T*G, D]."""
    groups = query_KRD.shape[1] // key_KTD.shape[1]
    # Values may be narrower than queries and keys (DeepSeek).
    out = query_KRD.new_empty(*query_KRD.shape[:2], value_KTD.shape[-1])
    for key, first, end in _blocks(documents, window):
        rows = slice(first * groups, end * groups)
        probabilities = _probabilities(
            query_KRD[:, rows], key_KTD[:, key:end], end - first, groups, scale, window
        )
        if keep is not None and end - key <= KEEP:
            keep.append(probabilities)
        out[:, rows] = torch.bmm(probabilities, value_KTD[:, key:end])
    return out


def attend_backward(
    grad_KRD: Tensor,
    query_KRD: Tensor,
    key_KTD: Tensor,
    value_KTD: Tensor,
    documents: Documents,
    scale: float = 1.0,
    window: int | None = None,
    kept: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values; probabilities that were not kept are made again."""
    groups = query_KRD.shape[1] // key_KTD.shape[1]
    grad_query = torch.empty_like(query_KRD)
    grad_key, grad_value = torch.zeros_like(key_KTD), torch.zeros_like(value_KTD)
    at_hand = iter(kept)
    for key, first, end in _blocks(documents, window):
        rows = slice(first * groups, end * groups)
        queries, keys, values = query_KRD[:, rows], key_KTD[:, key:end], value_KTD[:, key:end]
        grad = grad_KRD[:, rows]
        if end - key <= KEEP and kept:
            probabilities = next(at_hand)
        else:
            probabilities = _probabilities(queries, keys, end - first, groups, scale, window)
        grad_value[:, key:end] += torch.bmm(probabilities.transpose(1, 2), grad)
        grad_scores = torch.bmm(grad, values.transpose(1, 2))
        grad_scores = torch._softmax_backward_data(
            grad_scores, probabilities, -1, probabilities.dtype
        )
        if scale != 1.0:
            grad_scores.mul_(scale)
        grad_query[:, rows] = torch.bmm(grad_scores, keys)
        grad_key[:, key:end] += torch.bmm(grad_scores.transpose(1, 2), queries)
    return grad_query, grad_key, grad_value


class _BlockAttention(torch.autograd.Function):
    """`attend_forward` and `attend_backward` as one differentiable operation."""

    @staticmethod
    def forward(
        ctx: Any,
        query_KRD: Tensor,
        key_KTD: Tensor,
        value_KTD: Tensor,
        documents: Documents,
        scale: float,
        window: int | None,
    ) -> Tensor:
        ctx.save_for_backward(query_KRD, key_KTD, value_KTD)
        ctx.options = (documents, scale, window)
        return attend_forward(query_KRD, key_KTD, value_KTD, documents, scale, window)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_query, grad_key, grad_value = attend_backward(
            grads[0].contiguous(), *ctx.saved_tensors, *ctx.options
        )
        return grad_query, grad_key, grad_value, None, None, None


def _attend_on_cpu(
    query_HTD: Tensor,
    key_KTD: Tensor,
    value_KTD: Tensor,
    documents: Documents,
    scale: float,
    window: int | None,
) -> Tensor:
    """Query heads [H, T, D] in, output [T, H, D] out."""
    heads, tokens, _ = query_HTD.shape
    groups = heads // key_KTD.shape[0]
    query = query_HTD.unflatten(0, (-1, groups)).transpose(1, 2).flatten(1, 2).contiguous()
    out = _BlockAttention.apply(
        query, key_KTD.contiguous(), value_KTD.contiguous(), documents, scale, window
    )
    width = value_KTD.shape[-1]
    return out.view(-1, tokens, groups, width).permute(1, 0, 2, 3).reshape(tokens, heads, width)


def _attend_on_cuda(
    query_HTD: Tensor,
    key_KTD: Tensor,
    value_KTD: Tensor,
    documents: Documents,
    scale: float,
    window: int | None,
) -> Tensor:
    if not _has_flash(query_HTD, value_KTD):
        return _attend_by_document(query_HTD, key_KTD, value_KTD, documents, scale, window)
    from torch.nn.attention.varlen import varlen_attn

    assert documents.cumulative is not None
    out = varlen_attn(
        query_HTD.transpose(0, 1),
        key_KTD.transpose(0, 1),
        value_KTD.transpose(0, 1),
        documents.cumulative,
        documents.cumulative,
        documents.longest,
        documents.longest,
        scale=scale,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query_HTD.shape[0] != key_KTD.shape[0],
    )
    assert isinstance(out, Tensor)  # a pair only where auxiliary output is asked for
    return out


def _has_flash(query_HTD: Tensor, value_KTD: Tensor) -> bool:
    """The varlen kernel is flash attention: 16-bit types, Ampere or newer, one head width."""
    return (
        query_HTD.dtype in (torch.bfloat16, torch.float16)
        and query_HTD.shape[-1] == value_KTD.shape[-1]
        and torch.cuda.get_device_capability(query_HTD.device) >= (8, 0)
    )


def _attend_by_document(
    query_HTD: Tensor,
    key_KTD: Tensor,
    value_KTD: Tensor,
    documents: Documents,
    scale: float,
    window: int | None,
) -> Tensor:
    """One fused attention call a document: for devices without a kernel of their own (MPS)."""
    outputs: list[Tensor] = []
    for start, end in documents.spans():
        q, k, v = (x[None, :, start:end] for x in (query_HTD, key_KTD, value_KTD))
        mask = None
        if window is not None and end - start > window:
            mask = _window_mask(end - start, end - start, 1, window).to(q)
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
        )
        outputs.append(attended[0].transpose(0, 1))
    return torch.cat(outputs)


def flat_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    documents: Documents | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention function for transformers' `AttentionInterface`; [1, H, T, D] in, [1, T, H, D] out.

    Raises:
        ValueError: the model asks for something that flat attention does not compute.
    """
    assert documents is not None, "flat attention needs the borders of the documents"
    assert attention_mask is None
    assert query.shape[0] == 1
    if softcap is not None or s_aux is not None or dropout:
        raise ValueError(
            f"{type(module).__name__} uses score capping, attention sinks or attention dropout, "
            "which flat attention does not compute; set model.attention: eager."
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.device.type == "cpu":
        attend = _attend_on_cpu
    elif query.device.type == "cuda":
        attend = _attend_on_cuda
    else:
        attend = _attend_by_document
    if documents.front is None or not documents.front.layers:
        return attend(query[0], key[0], value[0], documents, scale, sliding_window)[None], None
    layer: Any = module
    keys, values = documents.front.layers[layer.layer_idx]
    longer, own = documents.behind(keys.shape[1])
    spread = partial(_behind, own=own.to(query.device), documents=longer)
    # What stands in front asks for nothing: its queries are zeros, and their answers are left out.
    asked = spread(query[0], query.new_zeros(query.shape[1], keys.shape[1], query.shape[-1]))
    found = attend(
        asked, spread(key[0], keys), spread(value[0], values), longer, scale, sliding_window
    )
    return found[own.to(found.device)][None], None


def _behind(own_HTD: Tensor, front_HND: Tensor, *, own: Tensor, documents: Documents) -> Tensor:
    """Heads [H, T, D] with the same N rows in front of each document."""
    starts = torch.tensor(documents.borders[:-1], device=own.device)
    places = (starts[:, None] + torch.arange(front_HND.shape[1], device=own.device)).flatten()
    out = own_HTD.new_zeros(len(own_HTD), documents.borders[-1], own_HTD.shape[-1])
    out = out.index_copy(1, own, own_HTD)
    return out.index_copy(1, places, front_HND.to(out.dtype).repeat(1, len(starts), 1))


def register_flat_attention() -> str:
    """Make the name `tunesmith_flat` known to transformers; returns the name."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    def no_mask(*_: Any, **__: Any) -> None:
        return None

    AttentionInterface.register(NAME, flat_attention)
    AttentionMaskInterface.register(NAME, no_mask)
    return NAME
