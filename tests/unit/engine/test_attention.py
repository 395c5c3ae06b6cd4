"""Flat attention is torch's own attention, a document at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.engine import attention
from tunesmith.engine.attention import BLOCK, Documents, flat_attention

WIDTH = 8


def documents_of(lengths: list[int]) -> Documents:
    borders = [0]
    for length in lengths:
        borders.append(borders[-1] + length)
    return Documents(tuple(borders))


def random_heads(
    tokens: int, heads: int = 4, kv_heads: int = 2, value_width: int = WIDTH
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    sizes = ((heads, WIDTH), (kv_heads, WIDTH), (kv_heads, value_width))
    query, key, value = (
        torch.randn(1, count, tokens, width, dtype=torch.float64, generator=generator)
        for count, width in sizes
    )
    return query.requires_grad_(), key.requires_grad_(), value.requires_grad_()


def ours(heads: tuple[Tensor, ...], documents: Documents, **options: Any) -> Tensor:
    return flat_attention(torch.nn.Module(), *heads, None, documents=documents, **options)[0]


def torch_by_document(
    heads: tuple[Tensor, ...], documents: Documents, window: int | None, scale: float | None
) -> Tensor:
    """[1, T, H, D] from one call of torch's attention a document, with a written-out mask."""
    parts: list[Tensor] = []
    for start, end in documents.spans():
        distance = torch.arange(end - start)[:, None] - torch.arange(end - start)[None, :]
        visible = (distance >= 0) & (distance < (window or end))
        query, key, value = (x[:, :, start:end] for x in heads)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, scale=scale, enable_gqa=True
        )
        parts.append(attended.transpose(1, 2))
    return torch.cat(parts, 1)


def assert_same(
    lengths: list[int],
    heads: tuple[Tensor, ...],
    *,
    window: int | None = None,
    scale: float | None = None,
) -> None:
    """Output and all three gradients."""
    documents = documents_of(lengths)
    actual = ours(heads, documents, sliding_window=window, scaling=scale)
    expected = torch_by_document(heads, documents, window, scale)
    tolerance = 1e-12 if heads[0].dtype == torch.float64 else 2e-6
    assert torch.allclose(actual, expected, atol=tolerance, rtol=tolerance)
    direction = torch.randn(expected.shape, dtype=expected.dtype)
    found = torch.autograd.grad(actual, heads, direction)
    wanted = torch.autograd.grad(expected, heads, direction)
    for gradient, reference in zip(found, wanted, strict=True):
        assert torch.allclose(gradient, reference, atol=10 * tolerance, rtol=10 * tolerance)


@pytest.mark.parametrize(
    "lengths",
    [
        [1],
        [BLOCK - 1, 1, BLOCK],
        [BLOCK + 1, 3, 2 * BLOCK, 2 * BLOCK + 1],
        [5, 300, 1, 1],
    ],
    ids=str,
)
@pytest.mark.parametrize("window", [None, 1, 5, BLOCK, BLOCK + 2])
def test_equals_torch_attention_around_the_borders_of_blocks(
    lengths: list[int], window: int | None
) -> None:
    assert_same(lengths, random_heads(sum(lengths)), window=window)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_equals_torch_attention_for_every_number_of_shared_heads(kv_heads: int) -> None:
    assert_same([7, 150, 20], random_heads(177, kv_heads=kv_heads))


def test_equals_torch_attention_in_float32_with_a_scale_of_its_own() -> None:
    heads = tuple(x.detach().float().requires_grad_() for x in random_heads(200))
    assert_same([150, 50], heads, scale=0.3)


def test_values_may_be_narrower_than_keys() -> None:
    assert_same([140, 9], random_heads(149, kv_heads=4, value_width=3))


@pytest.mark.parametrize("window", [None, 3])
def test_gradients_are_those_of_finite_differences(
    monkeypatch: pytest.MonkeyPatch, window: int | None
) -> None:
    """PERFORMANCE 6: gradcheck in fp64."""
    monkeypatch.setattr(attention, "BLOCK", 4)  # so that few tokens make several blocks
    documents = documents_of([5, 1, 2])

    def attend(*heads: Tensor) -> Tensor:
        return ours(heads, documents, sliding_window=window)

    assert torch.autograd.gradcheck(attend, random_heads(8))


def test_a_changed_document_leaves_the_others_bit_identical() -> None:
    documents = documents_of([150, 140, 30])
    heads = random_heads(320)
    other = tuple(x.detach().clone() for x in heads)
    for tensor in other:
        tensor[:, :, :150] = torch.randn_like(tensor[:, :, :150]) * 100
    other = tuple(x.requires_grad_() for x in other)
    first, second = ours(heads, documents), ours(other, documents)
    assert not torch.equal(first[:, :150], second[:, :150])
    assert torch.equal(first[:, 150:], second[:, 150:])
    direction = torch.randn_like(first)
    for a, b in zip(
        torch.autograd.grad(first, heads, direction),
        torch.autograd.grad(second, other, direction),
        strict=True,
    ):
        assert torch.equal(a[:, :, 150:], b[:, :, 150:])


def test_numbers_that_are_not_finite_stay_in_their_document() -> None:
    heads = tuple(x.detach().clone() for x in random_heads(50))
    for tensor in heads:
        tensor[:, :, :20] = math.nan
    out = ours(heads, documents_of([20, 30]))
    assert out[:, :20].isnan().all()
    assert out[:, 20:].isfinite().all()


@pytest.mark.parametrize("window", [None, 6])
def test_devices_without_a_kernel_of_their_own_compute_the_same(window: int | None) -> None:
    documents = documents_of([5, 1, 20])
    heads = random_heads(26)
    query, key, value = (x[0] for x in heads)
    out = attention._attend_by_document(query, key, value, documents, WIDTH**-0.5, window)
    assert torch.allclose(out[None], ours(heads, documents, sliding_window=window), atol=1e-12)


@pytest.mark.parametrize(
    "option", [{"softcap": 50.0}, {"s_aux": torch.zeros(4)}, {"dropout": 0.1}], ids=str
)
def test_attention_of_another_kind_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="attention: eager"):
        ours(random_heads(5), documents_of([5]), **option)


def test_documents_know_their_borders() -> None:
    documents = documents_of([3, 2, 7])
    assert documents.spans() == [(0, 3), (3, 5), (5, 12)]
    assert documents.longest == 7
    assert Documents((0,)).longest == 0
