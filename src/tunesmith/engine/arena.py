"""Flat memory for what is trained: a few long tensors instead of hundreds of short ones.

Every trainable parameter becomes a view of one flat tensor of its group, and its gradient a view
of a second one. So a step is one fused update, one norm and one fill a group, hand-written
backward passes add into gradients in place, and neighbours (q, k and v of a layer) are one matrix
without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning-rate factor and a weight decay, in flat order."""

    name: str
    parameters: tuple[tuple[str, nn.Parameter], ...]
    rate_factor: float
    weight_decay: float

    @property
    def size(self) -> int:
        """Values of all parameters together."""
        return sum(parameter.numel() for _, parameter in self.parameters)


class FlatGroup:
    """One group in flat memory: values for the optimizer and float32 gradients.

    Where the model computes in a shorter type, `flat` is the exact float32 copy that the optimizer
    updates and the parameters are its rounded image (`publish`), unless no exact copy is wanted:
    then the optimizer updates the parameters themselves. Gradients are summed in float32 over
    micro-batches.
    """

    def __init__(
        self, group: ParameterGroup, *, exact: bool = True, gradients: Tensor | None = None
    ) -> None:
        self.name = group.name
        self.rate_factor = group.rate_factor
        self.weight_decay = group.weight_decay
        self.entries = [(name, tuple(p.shape)) for name, p in group.parameters]
        self._parameters = [p for _, p in group.parameters]
        first = self._parameters[0]
        size = group.size
        dtype = torch.float32 if exact else first.dtype
        self.flat = torch.empty(size, dtype=dtype, device=first.device)
        if gradients is None:
            gradients = torch.zeros(size, dtype=torch.float32, device=first.device)
        self.grad = gradients
        _set_gradient(self.flat, self.grad)
        self._views: list[tuple[str, Tensor]] | None = None
        self._hooks: list[Any] = []
        self._image = self.flat
        if first.dtype != dtype:
            self._image = torch.empty(size, dtype=first.dtype, device=first.device)
        self._take_over()

    def _take_over(self) -> None:
        start = 0
        for parameter in self._parameters:
            end = start + parameter.numel()
            self.flat[start:end].copy_(parameter.data.flatten())
            parameter.data = self._image[start:end].view(parameter.shape)
            gradient = self.grad[start:end].view(parameter.shape)
            if parameter.dtype == torch.float32:
                parameter.grad = gradient
            else:
                self._hooks.append(_sum_gradients_into(parameter, gradient))
            start = end
        self.publish()

    def views(self) -> list[tuple[str, Tensor]]:
        """Each value by itself, in its shape, with its gradient: for rules that look at shapes."""
        if self._views is None:
            self._views, start = [], 0
            for name, shape in self.entries:
                end = start + math.prod(shape)
                view = self.flat[start:end].view(shape).detach()
                _set_gradient(view, self.grad[start:end].view(shape))
                self._views.append((name, view))
                start = end
        return self._views

    def release(self) -> None:
        """Let the parameters go: they keep their values, and get no gradients here any more."""
        for hook in self._hooks:
            hook.remove()
        for parameter in self._parameters:
            parameter.grad = None
            if hasattr(parameter, "total_gradient"):
                delattr(parameter, "total_gradient")

    @property
    def is_rounded(self) -> bool:
        """True where the model computes with a rounded image of exact values."""
        return self._image is not self.flat

    def publish(self) -> None:
        """Round the optimizer's values into the parameters that the model computes with."""
        if self.is_rounded:
            self._image.copy_(self.flat)


def _set_gradient(value: Any, gradient: Tensor) -> None:
    """Torch takes gradients of a tensor's own type only."""
    if value.dtype == gradient.dtype:
        value.grad = gradient
    else:
        value.total_gradient = gradient


def flattened(value: Tensor) -> Tensor:
    """The same memory and gradient as one row."""
    row = value.view(-1)
    _set_gradient(row, gradient_of(value).view(-1))
    return row


def _sum_gradients_into(parameter: Any, total: Tensor) -> Any:
    parameter.total_gradient = total

    def add(p: Tensor) -> None:
        assert p.grad is not None
        total.add_(p.grad)
        p.grad = None

    return parameter.register_post_accumulate_grad_hook(add)


def gradient_of(parameter: Tensor) -> Tensor:
    """Where the gradient of a parameter in the arena is summed up, for code that adds in place."""
    total = getattr(parameter, "total_gradient", parameter.grad)
    assert total is not None, "trained weights must lie in the arena"
    return total


class Arena:
    """All trainable parameters of a model in flat groups.

    Args:
        exact: Whether rounded parameters have an exact float32 copy beside them.
        gradients: Zeros whose beginning is to hold the gradients; else they have their own memory.
    """

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        *,
        exact: bool = True,
        gradients: Tensor | None = None,
    ) -> None:
        self.groups: list[FlatGroup] = []
        start = 0
        for group in groups:
            if group.parameters:
                part = None if gradients is None else gradients[start : start + group.size]
                self.groups.append(FlatGroup(group, exact=exact, gradients=part))
                start += group.size

    @property
    def is_rounded_by_chance(self) -> bool:
        """True where the optimizer updates values that are kept in a shorter type."""
        return any(group.flat.dtype != torch.float32 for group in self.groups)

    def zero_grad(self) -> None:
        """Set every gradient to zero, in place."""
        for group in self.groups:
            group.grad.zero_()

    def divide(self, factor: float) -> None:
        """Take the scale of the loss out of the gradients."""
        if factor != 1.0:
            for group in self.groups:
                group.grad.mul_(1.0 / factor)

    def clip(self, max_norm: float) -> Tensor:
        """Scale gradients to a norm of at most `max_norm` (0: never); returns the norm before."""
        norms = [torch.linalg.vector_norm(group.grad) for group in self.groups]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if max_norm > 0:
            factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
            if norm.device.type != "cpu" or factor < 1.0:
                for group in self.groups:
                    group.grad.mul_(factor)
        return norm

    def publish(self) -> None:
        """See `FlatGroup.publish`."""
        for group in self.groups:
            group.publish()

    def release(self) -> None:
        """See `FlatGroup.release`."""
        for group in self.groups:
            group.release()

    def layout(self) -> list[list[tuple[str, tuple[int, ...]]]]:
        """Names and shapes in flat order: arenas of equal layout can exchange their state."""
        return [list(group.entries) for group in self.groups]


def joined(tensors: Sequence[Tensor]) -> Tensor | None:
    """One view of all rows over matrices that lie behind each other in memory, else None."""
    first = tensors[0]
    offset = first.storage_offset()
    for tensor in tensors:
        same = tensor.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not same or not tensor.is_contiguous() or tensor.storage_offset() != offset:
            return None
        offset += tensor.numel()
    rows = sum(tensor.shape[0] for tensor in tensors)
    return first.as_strided((rows, *first.shape[1:]), first.stride())


def join_rows(parameters: Sequence[nn.Parameter]) -> Tensor:
    """As `joined`, moving the parameters behind each other in memory where they are not."""
    whole = joined([p.data for p in parameters])
    if whole is not None:
        return whole
    whole = torch.cat([p.data for p in parameters])
    start = 0
    for parameter in parameters:
        parameter.data = whole[start : start + parameter.shape[0]]
        start += parameter.shape[0]
    return whole
