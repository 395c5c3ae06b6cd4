"""LoftQ: a packed base and adapters that begin as what packing has lost (Li et al. 2023).

Packing and decomposing take turns: Q = pack(W - s B A), then s B A is the best of its rank for
W - Q. So the model begins nearer to W than with QLoRA, whose adapters begin with no effect; the
nearest round is kept. On disk there is an ordinary adapter for the whole W, as PiSSA's (pissa.py):
what was learned is s (B A - B0 A0).

Shapes: O outputs, I inputs, R rank.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine.methods.pissa import keep_start
from tunesmith.engine.methods.quantised import frozen_layers, packed


@torch.no_grad()
def pack_with_adapters(
    tuned: Any, kind: str, device: torch.device, *, rounds: int, whole: Collection[str] = ()
) -> None:
    """Pack the linear layers of a model that has new adapters, which begin as what is lost.

    Args:
        tuned: PEFT's model; its adapters and weights are still those before packing.
        rounds: How often packing and decomposing take turns; at least 1.
        whole: Names of parts that are trained whole, and so stay as they are.
    """
    from peft.tuners.lora import LoraLayer

    for parent, name, layer in list(frozen_layers(tuned.get_base_model(), whole)):
        if isinstance(parent, LoraLayer):
            setattr(parent, name, _alternated(parent, layer, kind, device, rounds))
        else:
            setattr(parent, name, packed(layer, kind, device))
    keep_start(tuned)


def _alternated(
    adapted: Any, layer: Any, kind: str, device: torch.device, rounds: int
) -> nn.Module:
    """The packed layer of the nearest round; the adapter is set to what it lacks."""
    (adapter,) = adapted.active_adapters
    a, b = adapted.lora_A[adapter].weight, adapted.lora_B[adapter].weight
    scale, is_transposed = adapted.scaling[adapter], not isinstance(layer, nn.Linear)
    stored = layer.weight.data
    weight_OI = (stored.t() if is_transposed else stored).to(device, torch.float32)
    added_OI, least, best = torch.zeros_like(weight_OI), float("inf"), None
    for _ in range(rounds):
        target = (weight_OI - added_OI).to(stored.dtype)
        layer.weight.data = target.t() if is_transposed else target
        found: Any = packed(layer, kind, device)
        lost_OI = weight_OI - found.codes.weight().float()
        b_OR, a_RI = halves(lost_OI, len(a))
        added_OI = b_OR @ a_RI
        error = float(torch.linalg.norm(lost_OI - added_OI))
        if best is None or error < least:
            least, best = error, (found, a_RI, b_OR)
    layer.weight.data = stored
    assert best is not None, "at least one round"
    found, a_RI, b_OR = best
    a.data = (a_RI / scale**0.5).to(a)
    b.data = (b_OR / scale**0.5).to(b)
    return found


def halves(matrix_OI: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """B [O, R] and A [R, I] whose product is the nearest of this rank, of equal lengths.

    Source: Eckart and Young 1936; a rank beyond that of the matrix is filled up with zeros.
    """
    left_OR, values_R, right_RI = torch.linalg.svd(matrix_OI, full_matrices=False)
    roots_R = values_R[:rank].sqrt()
    b_OR, a_RI = left_OR[:, :rank] * roots_R, roots_R[:, None] * right_RI[:rank]
    missing = rank - len(roots_R)
    if missing > 0:
        b_OR = torch.cat([b_OR, b_OR.new_zeros(len(b_OR), missing)], 1)
        a_RI = torch.cat([a_RI, a_RI.new_zeros(missing, a_RI.shape[1])])
    return b_OR, a_RI
