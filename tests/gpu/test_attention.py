"""Varlen attention on the GPU is attention by document."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.engine.attention import Documents, flat_attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"
BORDERS = (0, 70, 71, 199, 260)
HEADS, KV_HEADS, WIDTH = 4, 2, 32


def documents() -> Documents:
    return Documents(BORDERS, torch.tensor(BORDERS, dtype=torch.int32, device=DEVICE))


def random_input(dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys and values as transformers hands them over: [1, heads, T, width]."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, heads, BORDERS[-1], WIDTH, generator=generator)
        .to(DEVICE, dtype)
        .requires_grad_()
        for heads in (HEADS, KV_HEADS, KV_HEADS)
    ]


def flat(inputs: list[Tensor], window: int | None = None) -> Tensor:
    return flat_attention(
        torch.nn.Module(), *inputs, None, sliding_window=window, documents=documents()
    )[0][0]


def by_document(inputs: list[Tensor], window: int | None = None) -> Tensor:
    """The same with a call of scaled dot-product attention a document, in float32."""
    parts: list[Tensor] = []
    for start, end in pairwise(BORDERS):
        query, key, value = (x[:, :, start:end].float() for x in inputs)
        distance = torch.arange(end - start, device=DEVICE)
        distance = distance[:, None] - distance[None, :]
        seen = (distance >= 0) & (distance < (window or end))
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, enable_gqa=True)
        parts.append(out[0].transpose(0, 1))
    return torch.cat(parts)


def close(one: Tensor, other: Tensor, tolerance: float) -> None:
    error = (one.float() - other.float()).norm() / other.float().norm()
    assert error < tolerance, f"relative error {error:.2e}"


@pytest.mark.parametrize("window", [None, 16])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 1e-2), (torch.float16, 2e-3), (torch.float32, 1e-5)]
)
def test_flat_attention_equals_attention_by_document(
    dtype: torch.dtype, tolerance: float, window: int | None
) -> None:
    inputs = random_input(dtype)
    mine, theirs = flat(inputs, window), by_document(inputs, window)
    close(mine, theirs, tolerance)
    weights = torch.randn(mine.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    gradients = torch.autograd.grad((mine.float() * weights).sum(), inputs)
    expected = torch.autograd.grad((theirs * weights).sum(), inputs)
    for gradient, other in zip(gradients, expected, strict=True):
        close(gradient, other, 2 * tolerance)


def test_a_document_does_not_see_its_neighbours() -> None:
    inputs = random_input(torch.bfloat16)
    before = flat(inputs)
    changed = [x.detach().clone() for x in inputs]
    for x in changed:
        x[:, :, : BORDERS[1]] += 1
    after = flat(changed)
    assert not torch.equal(before[: BORDERS[1]], after[: BORDERS[1]])
    assert torch.equal(before[BORDERS[1] :], after[BORDERS[1] :])
