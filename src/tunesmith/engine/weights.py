"""Write the weights of a model in training to a folder that others can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def write_weights(model: nn.Module, directory: Path) -> None:
    """`directory/adapter` in PEFT's layout, or `directory/model` in that of transformers."""
    saver: Any = model
    if is_adapter_model(model):
        saver.save_pretrained(directory / "adapter", save_embedding_layers=False)
        (directory / "adapter" / "README.md").unlink(missing_ok=True)  # PEFT's own empty card
    else:
        # In the names of the model in memory: published names split the experts of a mixture.
        saver.save_pretrained(
            directory / "model", state_dict=separate_state(model), save_original_format=False
        )


def is_adapter_model(model: nn.Module) -> bool:
    """True where PEFT has put adapters on the model."""
    return hasattr(model, "peft_config")


@torch.no_grad()
def separate_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model in memory of its own: parameters are views of flat memory.

    Tied weights stay one tensor, so that they are written once.
    """
    copies: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        key = (value.data_ptr(), tuple(value.shape))
        if key not in copies:
            copies[key] = value.detach().clone()
        state[name] = copies[key]
    return state
