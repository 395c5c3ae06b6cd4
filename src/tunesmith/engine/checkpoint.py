"""Save and restore the state of a training, so that resuming gives the same run as never stopping.

    checkpoints/step-000100/
      prompt_encoder.safetensors  what learns, where vectors in front of the text come from it
      adapter/ or model/     the weights, in the layout that PEFT or transformers loads
      optimizer.safetensors  Adam's moments, flat; exact weights where the model's are rounded
      state.json             step, best evaluation, counters, loss scale
      manifest.json          written last

Random numbers need no state: each one is a function of seed, step and row.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tunesmith.engine.arena import Arena
from tunesmith.engine.faults import Faults
from tunesmith.engine.methods.pissa import from_ordinary
from tunesmith.engine.methods.stack import stack_of
from tunesmith.engine.optimizer import Optimizers
from tunesmith.engine.weights import PROMPT_ENCODER
from tunesmith.errors import RunDirError, RunFailed
from tunesmith.runs import CheckpointBroken, CheckpointDir, RunDir, checkpoints, verify_manifest
from tunesmith.runs.files import storage_errors
from tunesmith.runs.manifest import write_manifest


@dataclass
class LoopState:
    """Everything about the course of a training that is not a tensor."""

    step: int = 0
    best_step: int | None = None
    best_loss: float | None = None  # of the best step
    best_value: float | None = None  # of what is watched there; lower is better
    evaluations_without_gain: int = 0
    tokens: int = 0
    seconds: float = 0.0
    recent_loss: float | None = None
    scaling: dict[str, float] | None = None  # of the loss; see engine/loss_scale.py


WriteWeights = Callable[[Path], None]


def checkpoint_path(run: RunDir, step: int) -> Path:
    """`checkpoints/step-000100`."""
    return run.checkpoints_dir / f"step-{step:06d}"


def save_checkpoint(
    run: RunDir,
    state: LoopState,
    arena: Arena,
    optimizer: Optimizers,
    write_weights: WriteWeights,
    faults: Faults,
) -> Path:
    """Write a whole checkpoint; it does not exist until its manifest does."""
    path = checkpoint_path(run, state.step)
    try:
        with storage_errors(path):
            _write_files(path, state, arena, optimizer, write_weights, faults)
    except RunFailed:
        shutil.rmtree(path, ignore_errors=True)  # a full disk needs the room for the last event
        raise
    return path


def _write_files(
    path: Path,
    state: LoopState,
    arena: Arena,
    optimizer: Optimizers,
    write_weights: WriteWeights,
    faults: Faults,
) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    write_weights(path)
    faults.at("checkpoint-weights", state.step)
    save_file(_optimizer_tensors(arena, optimizer), path / "optimizer.safetensors")
    faults.at("checkpoint-optimizer", state.step)
    text = json.dumps({**asdict(state), "layout": arena.layout()}, indent=1)
    (path / "state.json").write_text(text, encoding="utf-8")
    faults.at("checkpoint-state", state.step)
    write_manifest(path, step=state.step)
    faults.at("checkpoint-manifest", state.step)


def _optimizer_tensors(arena: Arena, optimizer: Optimizers) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, group in enumerate(optimizer.param_groups):
        alone = len(group["params"]) == 1
        for place, parameter in enumerate(group["params"]):
            key = f"{number}" if alone else f"{number}.{place}"
            for name, value in optimizer.state_of(number, parameter).items():
                tensors[f"{key}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    for number, group in enumerate(arena.groups):
        if group.is_rounded:
            tensors[f"{number}.exact"] = group.flat.detach().cpu()
    return tensors


def load_checkpoint(path: Path, model: nn.Module, arena: Arena, optimizer: Optimizers) -> LoopState:
    """Put the state of a verified checkpoint into model, arena and optimizer, in place."""
    saved = json.loads((path / "state.json").read_text(encoding="utf-8"))
    layout = [[(name, tuple(shape)) for name, shape in group] for group in saved.pop("layout")]
    if layout != arena.layout():
        raise RunDirError(
            f"{path} was written by a training of other parameters than the recipe describes.",
            hint="Do not change recipe.yaml or resolved.yaml of a run; start a new run instead.",
        )
    load_weights(path, model)
    tensors = load_file(path / "optimizer.safetensors")
    for number, group in enumerate(arena.groups):
        if group.is_rounded:
            group.flat.copy_(tensors.pop(f"{number}.exact"))
    _load_states(tensors, optimizer)
    arena.publish()
    if "best_value" not in saved:  # written when the loss was all that could be watched
        saved["best_value"] = saved["best_loss"]
    return LoopState(**saved)


def _load_states(tensors: dict[str, Tensor], optimizer: Optimizers) -> None:
    """`0.exp_avg` is of the only tensor of group 0, `0.3.exp_avg` of its fourth one."""
    groups = optimizer.param_groups
    for key, value in tensors.items():
        owner, _, name = key.partition(".")
        place, mark, rest = name.partition(".")
        parameter = groups[int(owner)]["params"][int(place) if mark else 0]
        state, device = optimizer.state_of(int(owner), parameter), parameter.device
        name = rest if mark else name
        if name == "step" and not parameter.is_cuda:
            device = torch.device("cpu")
        state[name] = value.to(device)


@torch.no_grad()
def load_weights(path: Path, model: Any) -> None:
    """Copy the weights of a checkpoint into a model, in place: flat memory stays as it is."""
    if (path / PROMPT_ENCODER).is_file():
        saved = load_file(path / PROMPT_ENCODER)
        for name, value in model.prompt_encoder.state_dict(keep_vars=True).items():
            value.data.copy_(saved[name])
        return
    if (path / "adapter").is_dir():
        from peft import set_peft_model_state_dict

        saved = load_file(path / "adapter" / "adapter_model.safetensors")
        below = stack_of(model)
        saved = saved if below is None else below.without_these(saved)
        set_peft_model_state_dict(model, from_ordinary(model, saved))
        return
    tensors: dict[str, Tensor] = {}
    for file in sorted((path / "model").glob("*.safetensors")):
        tensors.update(load_file(file))
    for name, value in model.state_dict(keep_vars=True).items():
        if name in tensors:
            value.data.copy_(tensors.pop(name))
    assert not tensors, f"weights that the model does not have: {sorted(tensors)[:3]}"


def remove_old_checkpoints(run: RunDir, keep: int, best_step: int | None) -> None:
    """Keep the newest `keep` checkpoints and the best one.

    Only whole ones count, so that a broken one never pushes out the last that can be resumed.
    """
    whole: list[CheckpointDir] = [c for c in checkpoints(run) if _has_manifest(c.path)]
    for checkpoint in whole[:-keep]:
        if checkpoint.step != best_step:
            # The manifest goes first: a deletion cut short leaves a directory that does not count.
            (checkpoint.path / "manifest.json").unlink()
            shutil.rmtree(checkpoint.path)


def _has_manifest(path: Path) -> bool:
    return (path / "manifest.json").is_file()


def is_whole(path: Path) -> bool:
    """True when a checkpoint's manifest verifies."""
    try:
        verify_manifest(path)
    except CheckpointBroken:
        return False
    return True
