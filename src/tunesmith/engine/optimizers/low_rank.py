"""Adam in a low-rank image of the gradient: GaLore and APOLLO, which keep far smaller moments.

GaLore (Zhao and others 2024, arXiv 2403.03507) projects onto the strongest directions of the
gradient, found again every `gap` steps, and projects the update back. APOLLO (Zhu and others 2024,
arXiv 2412.05270) projects with random numbers, and takes from the image only how much each channel
of the gradient itself is to be scaled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.optimizers.base import Rule, moments

GROWTH = 1.01  # APOLLO: the most by which the size of an update grows from one step to the next


class LowRank(Rule):
    """A matrix is turned so that its shorter side is projected; the moments are [rank, longer]."""

    def begin(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The moments of the image."""
        rows, columns = sorted(parameter.shape)
        rank = min(group["rank"], rows)
        state["exp_avg"] = torch.zeros(rank, columns, device=parameter.device)
        state["exp_avg_sq"] = torch.zeros_like(state["exp_avg"])
        state["projection"] = torch.zeros(rank, rows, device=parameter.device)

    def update(
        self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """Project, update the moments, and move by what the rule makes of them."""
        lies = grad.shape[0] > grad.shape[1]
        turned = grad.t() if lies else grad
        step = int(state["step"])
        if (step - 1) % group["gap"] == 0:
            state["projection"] = self.projection(turned, state, group, step)
        image = state["projection"] @ turned
        mean, root = moments(image, state, group)
        moved = self.moved(turned, image, mean / (root + group["eps"]), state, group)
        parameter.add_(moved.t() if lies else moved, alpha=-float(group["lr"]))

    def projection(
        self, grad: Tensor, state: dict[str, Any], group: dict[str, Any], step: int
    ) -> Tensor:
        """[rank, rows] of the turned gradient."""
        raise NotImplementedError

    def moved(
        self,
        grad: Tensor,
        image: Tensor,
        update: Tensor,
        state: dict[str, Any],
        group: dict[str, Any],
    ) -> Tensor:
        """The step in the space of the weights, for a rate of 1."""
        raise NotImplementedError


class Galore(LowRank):
    """GaLore."""

    def projection(
        self, grad: Tensor, state: dict[str, Any], group: dict[str, Any], step: int
    ) -> Tensor:
        """The left singular vectors of the largest values."""
        del group, step
        left = torch.linalg.svd(grad.float(), full_matrices=False).U
        return left[:, : len(state["projection"])].t().contiguous()

    def moved(
        self,
        grad: Tensor,
        image: Tensor,
        update: Tensor,
        state: dict[str, Any],
        group: dict[str, Any],
    ) -> Tensor:
        """Back into the space of the weights."""
        del grad, image
        return group["scale"] * (state["projection"].t() @ update)


class Apollo(LowRank):
    """APOLLO."""

    def begin(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Also the size of the last update, and which matrix of the model this is."""
        super().begin(parameter, state, group)
        state["size"] = torch.zeros((), device=parameter.device)
        state["number"] = torch.tensor(float(len(self.state)))

    def projection(
        self, grad: Tensor, state: dict[str, Any], group: dict[str, Any], step: int
    ) -> Tensor:
        """Normal numbers of variance 1 / rank, drawn from seed, matrix and step."""
        rank = len(state["projection"])
        seed = (group["seed"] * 1_000_003 + int(state["number"])) * 1_000_003 + step
        generator = torch.Generator().manual_seed(seed % 2**63)
        drawn = torch.randn(rank, grad.shape[0], generator=generator) / rank**0.5
        return drawn.to(grad.device)

    def moved(
        self,
        grad: Tensor,
        image: Tensor,
        update: Tensor,
        state: dict[str, Any],
        group: dict[str, Any],
    ) -> Tensor:
        """The gradient, each channel scaled as its image was, and never suddenly larger."""
        norms = torch.linalg.vector_norm
        factors = norms(update, dim=0) / norms(image, dim=0).clamp(min=1e-30)
        moved = grad * factors * group["scale"] ** 0.5
        size = norms(moved)
        limit = GROWTH * state["size"]
        if float(limit) > 0 and float(size) > float(limit):
            moved, size = moved * (limit / size), limit
        state["size"] = size.clone()
        return moved
