"""Checkpoints whose linear layers are packed by GPTQ or AWQ, as plain weights; torch alone.

A matrix is three or four tensors: `qweight` and `qzeros` with several whole numbers in each int32,
`scales`, and GPTQ's `g_idx`, the group of each input. A weight is (number - zero) * scale.
Sources: GPTQ (Frantar et al. 2022) as AutoGPTQ writes it; AWQ (Lin et al. 2023) as AutoAWQ's gemm.

Shapes: I inputs, O outputs, G groups of inputs, P numbers of an int32.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tunesmith.errors import ModelError

# AWQ puts the outputs 0 2 4 6 1 3 5 7 into one int32, so output n is at this place.
_AWQ_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)
_HINT = "Choose the unpacked model, or one packed by GPTQ (2, 4 or 8 bits) or AWQ (gemm, 4 bits)."


@dataclass(frozen=True)
class Packing:
    """How the linear layers of a checkpoint are packed."""

    method: str  # gptq | awq
    bits: int
    zero_offset: int  # what GPTQ's first format leaves out of each zero
    group_size: int  # inputs that share a scale; -1 all of them

    @classmethod
    def of(cls, config: Any) -> Packing | None:
        """By config.json; None where it is packed by nothing that is read here.

        Raises:
            ModelError: it is of GPTQ or AWQ, in a layout that is not read.
        """
        told: Any = getattr(config, "quantization_config", None) or {}
        told = told if isinstance(told, dict) else told.to_dict()
        method = str(told.get("quant_method", "")).lower()
        if method not in ("gptq", "awq"):
            return None
        bits = int(told.get("bits") or told.get("w_bit") or 4)
        layout = str(
            told.get("checkpoint_format") or told.get("format") or told.get("version") or ""
        ).lower()
        group = int(told.get("group_size") or told.get("q_group_size") or -1)
        known = ("", "gptq", "gptq_v2") if method == "gptq" else ("", "gemm")
        widths = (2, 4, 8) if method == "gptq" else (4,)
        if layout not in known or bits not in widths:
            raise ModelError(
                f"The model is packed by {method} with {bits} bits in the layout "
                f"{layout or 'that is not named'}, which is not read.",
                hint=_HINT,
                code="packing_not_read",
                method=method,
            )
        return cls(method, bits, 1 if method == "gptq" and layout != "gptq_v2" else 0, group)

    def weight(self, parts: dict[str, Tensor], dtype: torch.dtype) -> Tensor:
        """[O, I] of the tensors of one layer, computed in float32 and rounded once."""
        scales_GO = parts["scales"].float()
        if self.method == "awq":
            numbers_IO = _spread(parts["qweight"], self.bits)[:, _awq_order(parts["qweight"])]
            zeros_GO = _spread(parts["qzeros"], self.bits)[:, _awq_order(parts["qzeros"])]
        else:
            numbers_IO = _spread(parts["qweight"].t(), self.bits).t()
            zeros_GO = _spread(parts["qzeros"], self.bits) + self.zero_offset
            zeros_GO &= (1 << self.bits) - 1
        group_I = parts.get("g_idx")
        if group_I is None:
            size = len(numbers_IO) if self.group_size < 0 else self.group_size
            group_I = torch.arange(len(numbers_IO)) // size
        group_I = group_I.long()
        weight_IO = (numbers_IO - zeros_GO[group_I]).float() * scales_GO[group_I]
        return weight_IO.t().contiguous().to(dtype)


def _spread(packed: Tensor, bits: int) -> Tensor:
    """The numbers of each int32 along the last axis, lowest bits first: [.., N] -> [.., N P]."""
    shifts_P = torch.arange(0, 32, bits, dtype=torch.int32)
    return ((packed[..., None] >> shifts_P) & ((1 << bits) - 1)).flatten(-2)


def _awq_order(packed: Tensor) -> Tensor:
    """Where each output is among the numbers of a row."""
    places = torch.tensor(_AWQ_PLACES)
    starts = torch.arange(0, packed.shape[-1] * len(_AWQ_PLACES), len(_AWQ_PLACES))
    return (starts[:, None] + places).flatten()


def plain_state(directory: Path, packing: Packing, dtype: torch.dtype) -> dict[str, Tensor]:
    """All weights of a folder by name, packed ones as plain matrices."""
    packed: dict[str, dict[str, Tensor]] = {}
    state: dict[str, Tensor] = {}
    for file in sorted(directory.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            layer, _, part = name.rpartition(".")
            if part == "qweight" and ".experts." in layer:
                raise ModelError(
                    f"{directory} is a mixture of experts with packed experts, which are not read.",
                    hint="Choose the unpacked model.",
                    code="packing_not_read",
                    form="experts",
                )
            if part in ("qweight", "qzeros", "scales", "g_idx"):
                packed.setdefault(layer, {})[part] = tensor
            else:
                state[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    for layer in list(packed):
        parts = packed.pop(layer)
        absent = sorted({"qweight", "qzeros", "scales"} - parts.keys())
        if absent:
            raise ModelError(
                f"{layer} of {directory} is packed, but {', '.join(absent)} of it is missing.",
                hint="Download the model again.",
                code="model_weights_incomplete",
                count=len(absent),
            )
        state[f"{layer}.weight"] = packing.weight(parts, dtype)
    return state
