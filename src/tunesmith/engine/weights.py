"""Write the weights of a model in training to a folder that others can load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tunesmith.engine.methods import pissa, stack
from tunesmith.engine.methods.prompts import has_vectors

PROMPT_ENCODER = "prompt_encoder.safetensors"


def write_weights(model: nn.Module, directory: Path) -> None:
    """`directory/adapter` in PEFT's layout, or `directory/model` in that of transformers."""
    saver: Any = model
    if is_adapter_model(model):
        write_adapter(model, directory / "adapter")
        if has_vectors(model):  # a result has no network that the vectors come from
            own = {
                n: t.detach().cpu().clone() for n, t in saver.prompt_encoder.state_dict().items()
            }
            save_file(own, directory / PROMPT_ENCODER, metadata={"format": "pt"})
    else:
        # In the names of the model in memory: published names split the experts of a mixture.
        saver.save_pretrained(
            directory / "model", state_dict=separate_state(model), save_original_format=False
        )


def write_adapter(model: Any, directory: Path) -> None:
    """The adapter in PEFT's layout, for the base as it was before training."""
    # The tables of the embeddings never change with our adapters; "auto" would ask the hub.
    model.save_pretrained(str(directory), save_embedding_layers=False)
    (directory / "README.md").unlink(missing_ok=True)  # PEFT's own, empty card
    start, below = pissa.start_of(model), stack.stack_of(model)
    if start is None and below is None:
        return
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    ordinary = {name: tensor.detach().cpu() for name, tensor in state.items()}
    file = directory / "adapter_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    if start is not None:
        ordinary = pissa.as_ordinary(ordinary, start)
        settings |= pissa.doubled(model.peft_config[model.active_adapter])
    if below is not None:
        ordinary, settings = below.with_these(ordinary, stack.scales_of(model), settings)
    weights = {name: tensor.contiguous().clone() for name, tensor in ordinary.items()}
    save_file(weights, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


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
