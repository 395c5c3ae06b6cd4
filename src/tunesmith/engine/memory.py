"""How much memory a training takes, in closed form, and how many tokens fit into a micro-batch.

The terms are those of a decoder with grouped-query attention and a gated feed-forward part, in
bytes: weights, gradients and optimizer state by parameter; activations kept for backward by token
and layer; one chunk of logits. Constant parts (libraries, kernels) are measured, not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil
import torch

from tunesmith.engine.head import CHUNK_BYTES, MIN_CHUNK_ROWS

CPU_MICRO_BATCH = 2048  # tokens: larger ones fall out of the processor's cache
CUDA_MICRO_BATCH = 16384  # tokens: enough to fill a GPU with matrix products
SHARE_OF_FREE = 0.9


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder that memory and time depend on."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Read a transformers configuration; families name some sizes differently."""
        text = config.get_text_config()
        hidden, heads = int(text.hidden_size), int(text.num_attention_heads)
        return cls(
            hidden=hidden,
            layers=int(text.num_hidden_layers),
            heads=heads,
            kv_heads=int(getattr(text, "num_key_value_heads", None) or heads),
            head_width=int(getattr(text, "head_dim", None) or hidden // heads),
            feed_forward=int(getattr(text, "intermediate_size", None) or 4 * hidden),
            vocabulary=int(text.vocab_size),
        )


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes above the level right after imports."""

    weights: int
    optimizer: int  # gradients, moments, exact copies of rounded weights
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All parts together."""
        return self.weights + self.optimizer + self.activations + self.logits


def estimate_memory(
    shape: Shape,
    *,
    parameters: int,
    trainable: int,
    micro_batch_tokens: int,
    bytes_per_value: int,
    fused: bool,
    checkpointing: bool,
) -> MemoryEstimate:
    """Memory of a training, from its sizes alone."""
    exact_copy = 4 if bytes_per_value < 4 and trainable == parameters else 0
    per_token = activation_bytes(
        shape, bytes_per_value=bytes_per_value, fused=fused, checkpointing=checkpointing
    )
    chunk = max(MIN_CHUNK_ROWS, CHUNK_BYTES // (4 * shape.vocabulary))
    return MemoryEstimate(
        weights=parameters * bytes_per_value,
        optimizer=trainable * (4 + 8 + exact_copy),
        activations=micro_batch_tokens * per_token,
        logits=2 * 4 * shape.vocabulary * min(chunk, micro_batch_tokens),
    )


def activation_bytes(
    shape: Shape, *, bytes_per_value: int, fused: bool, checkpointing: bool
) -> int:
    """Bytes a token that are kept for backward, over all layers.

    Fused: input, middle, attention output, q, k, v, gate and up. Through modules: PERFORMANCE's
    count of 16 h + 4 heads + 4 kv + 8 f + ... bytes in bfloat16, twice that in float32.
    """
    query, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    if fused:
        values = 2 * shape.hidden + 2 * query + 2 * kv + 2 * shape.feed_forward + 2
        layer = 4 * values
    else:
        half = 16 * shape.hidden + 4 * query + 4 * kv + 8 * shape.feed_forward + 4 * shape.heads + 8
        layer = half * bytes_per_value // 2
    if checkpointing:
        return shape.layers * shape.hidden * bytes_per_value + layer
    # Above the layers: embeddings, final norm, hidden states at labels and their gradients.
    return shape.layers * layer + 6 * shape.hidden * bytes_per_value


def free_memory(device: torch.device) -> int:
    """Bytes that this device can still give."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def choose_micro_batch(wanted: int, longest_row: int, free: int, fixed: int, per_token: int) -> int:
    """Tokens of a micro-batch: the wanted number, or what memory leaves room for.

    A row is never split, so the longest row is the least.
    """
    fitting = max(0, int(free * SHARE_OF_FREE) - fixed) // max(per_token, 1)
    return max(longest_row, min(wanted, fitting))
