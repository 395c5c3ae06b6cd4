"""QLoRA: the linear layers of a frozen backbone in 4 or 8 bits, adapters beside them as ever.

A layer keeps the codes and constants of bitsandbytes. Its weight is made from them anew for each
product, forward and backward, and never kept: the mathematics are those of LoRA on the base that
bitsandbytes' dequantisation gives, to the last bit of every weight.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunesmith.engine.methods.freeze import is_called
from tunesmith.errors import InputError, RecipeError

NF4_BLOCK = 64  # weights that share a scale
SCALES_BLOCK = 256  # scales that share one of their own: double quantisation


def require_library(kind: str) -> None:
    """Refuse before anything is loaded where bitsandbytes is missing."""
    if kind != "none" and find_spec("bitsandbytes") is None:
        raise InputError(
            f"model.quantization: {kind} needs bitsandbytes, which this Python has not installed.",
            hint="pip install 'tunesmith[quantization]', or write model.quantization: none",
            code="quantisation_missing",
            library="bitsandbytes",
        )


def quantise(model: Any, kind: str, device: torch.device, *, whole: Collection[str] = ()) -> None:
    """Pack the linear layers of a model, one by one, and leave each on `device`.

    The head, embeddings, norms and the parts named in `whole`, which are trained, stay as they are,
    and so do the experts of a mixture, which are no linear layers.
    """
    chosen = list(frozen_layers(model, whole))
    if not chosen:
        raise RecipeError(
            f"model.quantization is {kind}, but the model has no linear layer outside of its head "
            "and of adapter.modules_to_save that could be packed.",
            hint="Write model.quantization: none.",
            code="nothing_to_quantise",
            field="model.quantization",
        )
    for parent, name, layer in chosen:
        setattr(parent, name, packed(layer, kind, device))


def frozen_layers(model: Any, whole: Collection[str]) -> Iterator[tuple[nn.Module, str, Any]]:
    """Parent, name in it, and layer, of each that is packed."""
    from transformers.pytorch_utils import Conv1D

    heads = [model.get_output_embeddings(), getattr(model, "score", None)]
    heads = [part for head in heads if head is not None for part in head.modules()]
    for path, parent in model.named_modules():
        for name, layer in parent.named_children():
            parts = f"{path}.{name}".strip(".").split(".")
            paths = [".".join(parts[: n + 1]) for n in range(len(parts))]
            kept = any(is_called(each, one) for each in paths for one in whole)
            is_head = any(layer is head for head in heads)
            kept = kept or any(part.startswith("lora_") for part in parts)  # adapters themselves
            if type(layer) in (nn.Linear, Conv1D) and not is_head and not kept:
                yield parent, name, layer


def packed(layer: Any, kind: str, device: torch.device) -> nn.Module:
    """The same layer with its weight in 4 or 8 bits."""
    transposed = not isinstance(layer, nn.Linear)
    weight = layer.weight.data.to(device)
    weight_OI = (weight.t() if transposed else weight).contiguous()
    codes = (Nf4 if kind == "nf4" else Int8)(weight_OI)
    return (_conv1d() if transposed else QuantisedLinear)(codes, layer.bias)


class Codes(nn.Module):
    """A matrix in few bits: moved with its model, never rounded and never saved.

    A result lies beside the whole base, so there is nothing of it to save.
    """

    codes: Tensor

    def __init__(self, weight_OI: Tensor) -> None:
        super().__init__()
        self.shape, self.dtype = weight_OI.shape, weight_OI.dtype
        for name, tensor in self.pack(weight_OI).items():
            self.register_buffer(name, tensor.detach(), persistent=False)

    def pack(self, weight_OI: Tensor) -> dict[str, Tensor]:
        """Codes and constants by name."""
        raise NotImplementedError

    def weight(self) -> Tensor:
        """[out, in] in fresh memory."""
        raise NotImplementedError

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Codes:
        # `model.to(torch.bfloat16)` is about the weight, not about the constants.
        del recurse
        like = fn(torch.empty(0, dtype=self.dtype, device=self.codes.device))
        self.dtype = like.dtype
        for name, buffer in self.named_buffers():
            setattr(self, name, buffer.to(like.device))
        return self


class Nf4(Codes):
    """A matrix as NF4 codes, two a byte; the scale of each 64 is itself a code of 8 bits."""

    scales: Tensor
    scale_of_scales: Tensor
    offset: Tensor

    def pack(self, weight_OI: Tensor) -> dict[str, Tensor]:
        """By the library's own quantisation."""
        codes, state = _library().quantize_4bit(
            weight_OI, blocksize=NF4_BLOCK, compress_statistics=True, quant_type="nf4"
        )
        of_scales = {"scale_of_scales": state.state2.absmax, "offset": state.offset}
        return {"codes": codes, "scales": state.absmax, **of_scales}

    def weight(self) -> Tensor:
        """[out, in] in fresh memory."""
        library = _library()
        of_scales = library.QuantState(
            absmax=self.scale_of_scales,
            code=_scale_codes(self.codes.device),
            blocksize=SCALES_BLOCK,
            dtype=torch.float32,
        )
        state = library.QuantState(
            absmax=self.scales,
            shape=self.shape,
            blocksize=NF4_BLOCK,
            quant_type="nf4",
            dtype=self.dtype,
            offset=self.offset,
            state2=of_scales,
        )
        return library.dequantize_4bit(self.codes, state)


class Int8(Codes):
    """A matrix as whole numbers from -127 to 127, each row with a scale."""

    scales: Tensor

    def pack(self, weight_OI: Tensor) -> dict[str, Tensor]:
        """By the library's quantisation, which rounds to float16 first, whatever the model has."""
        codes, scales, _ = _library().int8_vectorwise_quant(weight_OI.half())
        return {"codes": codes, "scales": scales}

    def weight(self) -> Tensor:
        """[out, in] in fresh memory."""
        return _library().int8_vectorwise_dequant(self.codes, self.scales).to(self.dtype)


def _library() -> Any:
    return import_module("bitsandbytes.functional")


@cache
def _scale_codes(device: torch.device) -> Tensor:
    """The 256 numbers that scales are rounded to."""
    return _library().create_dynamic_map().to(device)


class _Product(torch.autograd.Function):
    """y = x W^T + b for a frozen W that is unpacked twice, so that it need not be kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Codes, bias: Tensor | None) -> Tensor:
        ctx.codes = codes
        return F.linear(x, codes.weight(), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0] @ ctx.codes.weight(), None, None


class _Packed:
    """What both kinds of layers share; PEFT knows them by their base classes."""

    codes: Codes
    bias: nn.Parameter | None

    def forward(self, x: Tensor) -> Tensor:
        """As the layer itself, with the weight that its codes stand for."""
        bias = None if self.bias is None else self.bias.detach()
        return _Product.apply(x, self.codes, bias)


class QuantisedLinear(_Packed, nn.Linear):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A frozen linear layer whose weight is kept in 4 or 8 bits."""

    def __init__(self, codes: Codes, bias: nn.Parameter | None) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = codes.shape
        self.codes = codes
        self.register_parameter("bias", _moved(bias, codes))

    @property
    def weight(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Unpacked at each look, without gradients."""
        return self.codes.weight()


@cache
def _conv1d() -> Any:
    """The same for GPT-2's linear layers, whose weight is input x output."""
    from transformers.pytorch_utils import Conv1D

    class QuantisedConv1D(_Packed, Conv1D):
        def __init__(self, codes: Codes, bias: nn.Parameter) -> None:
            nn.Module.__init__(self)
            self.nf, self.nx = codes.shape
            self.codes = codes
            self.register_parameter("bias", _moved(bias, codes))

        @property
        def weight(self) -> Tensor:
            return self.codes.weight().t()

    return QuantisedConv1D


def _moved(bias: nn.Parameter | None, codes: Codes) -> nn.Parameter | None:
    return None if bias is None else nn.Parameter(bias.data.to(codes.codes.device))


def is_quantised(layer: Any) -> bool:
    """True for a layer whose weight is packed."""
    return isinstance(layer, _Packed)


def num_packed(model: nn.Module) -> int:
    """How many weights of a model are packed."""
    return sum(part.codes.shape.numel() for part in model.modules() if isinstance(part, _Packed))


def num_parameters(model: nn.Module) -> int:
    """All weights of a model, the packed ones included."""
    return sum(p.numel() for p in model.parameters()) + num_packed(model)
