"""LoRA adapters of many rows in one product.

The base's product is done once for all tokens of a step. What the adapters add comes from two
batched products over the adapters of the batch, each with the tokens that are its own. (One product
over all adapters with the foreign ones set to zero takes three times as long with sixteen of them.)

Shapes: T tokens, N adapters, D inputs, O outputs, R ranks of an adapter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tunesmith.models.adapters import BESIDE, named_base, not_plain, scale_of_layer
from tunesmith.models.files import check_model_files
from tunesmith.serving.errors import AdapterMismatch

SMALL = 64  # tokens: so few cost less in one batched product than one by one
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


@dataclass(frozen=True, slots=True)
class Pair:
    """One adapted layer: scale * B A, the scale already in B."""

    a_RD: Tensor
    b_OR: Tensor


@dataclass(frozen=True, slots=True)
class Joint:
    """An adapter on one product of the decoder: y += x A^T B^T."""

    a_RD: Tensor
    b_RO: Tensor


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter in memory: what it adds to each product, by the product's number."""

    directory: Path
    joints: Mapping[int, Joint]
    num_bytes: int
    num_places: int = 0  # in front of the text


def read_pairs(directory: Path, linears: Mapping[str, tuple[int, int]]) -> dict[str, Pair]:
    """The pairs of a PEFT folder by the name of their layer; `linears` are the base's (O, D)."""
    check_model_files(directory)
    config = json.loads((directory / "adapter_config.json").read_bytes())
    _check_kind(directory, config)
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(directory / "adapter_model.safetensors").items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise AdapterMismatch(
                f"The adapter {directory} holds {key}, which is no part of a LoRA.",
                hint="Merge it into its base (tunesmith export --format merged) and serve that.",
            )
        found.setdefault(match[1], {})[match[2]] = value
    return {name: _pair(directory, name, parts, config, linears) for name, parts in found.items()}


def _check_kind(directory: Path, config: Mapping[str, Any]) -> None:
    if str(config.get("peft_type", "")).upper() == BESIDE:
        raise AdapterMismatch(
            f"The adapter {directory} holds vectors that layers attend to beside the text (adapter "
            "tuning), which are not served.",
            hint="Ask it with `tunesmith chat`, or train with adapter.kind: lora.",
        )
    reasons = not_plain(config)
    if reasons:
        raise AdapterMismatch(
            f"The adapter {directory} has {', '.join(reasons)}; beside a base only plain LoRA is "
            "served, and vectors in front of the text.",
            hint="Merge it into its base (tunesmith export --format merged) and serve that.",
        )


def _pair(
    directory: Path,
    name: str,
    parts: Mapping[str, Tensor],
    config: Mapping[str, Any],
    linears: Mapping[str, tuple[int, int]],
) -> Pair:
    if name not in linears or {*parts} != {"A", "B"}:
        raise AdapterMismatch(
            f"The adapter {directory} has a layer {name} that this base has not, or only half of "
            "its matrices.",
            hint=f"Serve it on the base that it was trained on{named_base(directory)}.",
        )
    a, b = parts["A"].float(), parts["B"].float()
    outputs, inputs = linears[name]
    if a.shape[1] != inputs or b.shape[0] != outputs or a.shape[0] != b.shape[1]:
        raise AdapterMismatch(
            f"The adapter {directory} was made for another base: {name} has A {list(a.shape)} and "
            f"B {list(b.shape)}, and this base's layer has {inputs} inputs and {outputs} outputs.",
            hint=f"Serve it on the base that it was trained on{named_base(directory)}.",
            layer=name,
            adapter_shapes=[list(a.shape), list(b.shape)],
            base_shape=[outputs, inputs],
        )
    return Pair(a, b * scale_of_layer(name, a.shape[0], config))


class Lineup:
    """The adapters of a batch, stacked product by product; short ranks are filled up with zeros."""

    def __init__(self, adapters: Sequence[Adapter]) -> None:
        self.adapters = tuple(adapters)
        self._numbers = {id(adapter): number for number, adapter in enumerate(self.adapters)}
        # Product -> A [N, D, R] and B [N, R, O].
        self.joints: dict[int, tuple[Tensor, Tensor]] = {}
        for product in sorted({number for a in adapters for number in a.joints}):
            members = {n: a.joints[product] for n, a in enumerate(adapters) if product in a.joints}
            like = next(iter(members.values()))
            rank = max(len(joint.a_RD) for joint in members.values())
            a_NDR = like.a_RD.new_zeros(len(adapters), like.a_RD.shape[1], rank)
            b_NRO = like.b_RO.new_zeros(len(adapters), rank, like.b_RO.shape[1])
            for number, joint in members.items():
                a_NDR[number, :, : len(joint.a_RD)] = joint.a_RD.t()
                b_NRO[number, : len(joint.b_RO)] = joint.b_RO
            self.joints[product] = (a_NDR, b_NRO)

    def has(self, adapters: Sequence[Adapter]) -> bool:
        """Whether all of these are in it, and few besides."""
        known = all(id(adapter) in self._numbers for adapter in adapters)
        return known and len(self.adapters) <= 2 * len(adapters)

    def number(self, adapter: Adapter | None) -> int:
        """Place of an adapter in the line-up; -1 stands for none."""
        return -1 if adapter is None else self._numbers[id(adapter)]


class Mix:
    """A line-up with the adapter of each token of one step."""

    def __init__(self, lineup: Lineup, numbers: Sequence[int], like: Tensor) -> None:
        self._lineup = lineup
        self._add = self._way(list(numbers), like)

    def add(self, out_TO: Tensor, x_TD: Tensor, product: int) -> None:
        """out += x A B, with each token's own A and B."""
        joint = self._lineup.joints.get(product)
        if joint is not None:
            self._add(out_TO, x_TD, *joint)

    def _way(self, numbers: list[int], like: Tensor) -> Callable[..., None]:
        """The cheapest way through; all of them are the same sum."""
        count = len(self._lineup.adapters)
        if count == 1 and min(numbers) == 0:
            return _one_for_all
        if numbers == list(range(count)):
            return _one_each
        places: list[list[int]] = [[] for _ in range(count)]
        for place, number in enumerate(numbers):
            if number >= 0:
                places[number].append(place)
        most = max(map(len, places))
        if count * most <= max(2 * len(numbers), SMALL):
            return _Grouped(places, most, like)
        return _Segments(places, like)


def _one_for_all(out_TO: Tensor, x_TD: Tensor, a_NDR: Tensor, b_NRO: Tensor) -> None:
    out_TO.addmm_(x_TD @ a_NDR[0], b_NRO[0])


def _one_each(out_TO: Tensor, x_TD: Tensor, a_NDR: Tensor, b_NRO: Tensor) -> None:
    """Token n has adapter n."""
    out_TO.unsqueeze(1).baddbmm_(torch.bmm(x_TD.unsqueeze(1), a_NDR), b_NRO)


class _Grouped:
    """As many tokens of each adapter as the busiest one has, in one batched product."""

    def __init__(self, places: Sequence[Sequence[int]], most: int, like: Tensor) -> None:
        self._shape = (len(places), most)
        # Where an adapter has fewer tokens, the first token stands in, and counts nothing.
        index = [place for own in places for place in (*own, *[0] * (most - len(own)))]
        counts = [float(n < len(own)) for own in places for n in range(most)]
        self._index = torch.tensor(index, device=like.device)
        self._counts = None
        if min(counts) == 0:
            self._counts = torch.tensor(counts, dtype=like.dtype, device=like.device)[:, None]

    def __call__(self, out_TO: Tensor, x_TD: Tensor, a_NDR: Tensor, b_NRO: Tensor) -> None:
        rows = x_TD.index_select(0, self._index)
        if self._counts is not None:
            rows.mul_(self._counts)
        inner = torch.bmm(rows.view(*self._shape, -1), a_NDR)
        out_TO.index_add_(0, self._index, torch.bmm(inner, b_NRO).flatten(0, 1))


class _Segments:
    """One adapter after the other: for a long prompt beside many single tokens."""

    def __init__(self, places: Sequence[Sequence[int]], like: Tensor) -> None:
        self._own = [
            (number, torch.tensor(own, device=like.device))
            for number, own in enumerate(places)
            if own
        ]

    def __call__(self, out_TO: Tensor, x_TD: Tensor, a_NDR: Tensor, b_NRO: Tensor) -> None:
        for number, index in self._own:
            inner = x_TD.index_select(0, index) @ a_NDR[number]
            out_TO.index_add_(0, index, inner @ b_NRO[number])
