"""Orthogonal fine-tuning through PEFT: the inputs of frozen layers are turned, block by block.

A layer computes y = W (x R) with R made of small orthogonal blocks, one behind the other, that
begin as the identity. Merged, its weight is W R^T.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tunesmith.errors import RecipeError
from tunesmith.recipe.adapters import Oft

if TYPE_CHECKING:
    from peft import PeftModel


def new_oft(model: Any, adapter: Oft, targets: list[str]) -> PeftModel:
    """The model with rotations that change nothing yet."""
    from peft import OFTConfig, TaskType, get_peft_model

    _refuse_uneven(model, adapter, targets)
    config = OFTConfig(
        task_type=TaskType.SEQ_CLS if hasattr(model, "score") else TaskType.CAUSAL_LM,
        oft_block_size=adapter.block_size,
        target_modules=targets,
        block_share=adapter.block_share,
        use_cayley_neumann=not adapter.exact_rotation,
        bias="none",
    )
    tuned: Any = get_peft_model(model, config)
    return tuned


def _refuse_uneven(model: nn.Module, adapter: Oft, targets: list[str]) -> None:
    """PEFT would take another size without asking."""
    chosen = [
        (name, layer)
        for name, layer in model.named_modules()
        if any(name == target or name.endswith(f".{target}") for target in targets)
    ]
    for name, layer in chosen:
        if not isinstance(layer, nn.Linear):
            raise RecipeError(
                f"adapter.kind is oft, but {name} is a {type(layer).__name__}, which PEFT's OFT "
                "does not turn.",
                hint="Write adapter.kind: lora.",
                code="layer_not_turned",
                module=name,
            )
    inputs = [layer.in_features for _, layer in chosen if isinstance(layer, nn.Linear)]
    common = math.gcd(*inputs)
    if common % adapter.block_size == 0:
        return
    fitting = [size for size in range(2, common + 1) if common % size == 0]
    nearest = min(fitting, key=lambda size: abs(size - adapter.block_size), default=None)
    hint = "Choose fewer layers (adapter.targets), or adapter.kind: lora."
    raise RecipeError(
        f"adapter.block_size is {adapter.block_size}, which does not divide the inputs of all "
        f"chosen layers ({', '.join(map(str, sorted(set(inputs))))}).",
        hint=hint if nearest is None else f"The nearest that does is {nearest}.",
        code="no_even_blocks" if nearest is None else "uneven_blocks",
        block_size=adapter.block_size,
        nearest=nearest,
    )


def oft_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name (as in the base model) and module of every layer that is turned."""
    from peft.tuners.oft import OFTLayer

    for name, part in model.named_modules():
        if isinstance(part, OFTLayer):
            yield name, part


def turned(layer: Any, adapter: str, weight_OI: Tensor) -> Tensor:
    """The weight with its rotation in it, in float64 where the device has it.

    Block by block: PEFT's own merge multiplies with a matrix of inputs x inputs.
    """
    blocks_NBB = _blocks(layer.oft_R[adapter])
    outputs, inputs = weight_OI.shape
    size = blocks_NBB.shape[-1]
    rows = weight_OI.to(blocks_NBB.dtype).view(outputs, inputs // size, size).transpose(0, 1)
    return (rows @ blocks_NBB.transpose(1, 2)).transpose(0, 1).reshape(outputs, inputs)


def _blocks(rotation: Any) -> Tensor:
    """The orthogonal blocks, from PEFT's own formula; one for all where they are shared."""
    exact = torch.float32 if rotation.weight.device.type == "mps" else torch.float64
    return rotation._cayley_batch(
        rotation.weight.detach().to(exact),
        rotation.block_size,
        rotation.use_cayley_neumann,
        rotation.num_cayley_neumann_terms,
    )
