"""Where a base model comes from: `starter`, a folder, an earlier run, a hub id or a ModelScope id.

Read `resolve_name` first. Everything ends as a folder on this machine, in the transformers layout
or, for an earlier run that trained an adapter, in the PEFT layout.
"""

from __future__ import annotations

import re
from pathlib import Path

from tunesmith.errors import ModelError
from tunesmith.models.files import check_model_files
from tunesmith.models.hubs import (
    SMALL_FILES,
    WEIGHTS,
    OnProgress,
    download_from_hub,
    download_from_modelscope,
    prefers_modelscope,
)
from tunesmith.recipe import Recipe, load_recipe
from tunesmith.runs import RunDir, verify_manifest

_ADAPTERS = "Give a run that trained an adapter (adapter.kind: lora), or a PEFT folder."
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve_name(
    name: str,
    *,
    source: str = "auto",
    revision: str = "main",
    base_dir: Path | None = None,
    weights: bool = True,
    on_progress: OnProgress | None = None,
) -> Path:
    """The folder of the model that `name` stands for, downloaded when needed."""
    report = on_progress or _silent
    if name == "starter":
        from tunesmith.starter import starter_directory

        return starter_directory()
    local = _local_folder(name, base_dir)
    if local is not None and source in ("auto", "local"):
        return result_folder(local)
    if source == "local" or _looks_like_a_path(name):
        raise ModelError(
            f"Model folder {name} does not exist.",
            hint="Check the path in model.base, or give a hub id such as Qwen/Qwen3-0.6B.",
            code="model_not_found",
        )
    if not _HUB_ID.fullmatch(name) or ".." in name:
        raise ModelError(
            f"{name!r} is neither a folder nor a model id.",
            hint="A model id looks like Qwen/Qwen3-0.6B.",
            code="model_not_found",
        )
    wanted = [*(WEIGHTS if weights else ()), *SMALL_FILES]
    if source == "modelscope" or (source == "auto" and prefers_modelscope()):
        return download_from_modelscope(name, wanted, revision=revision, report=report)
    return download_from_hub(name, wanted, revision=revision, report=report)


def result_folder(directory: Path) -> Path:
    """The model in a run, its artifacts or a checkpoint; other folders stay as they are."""
    if (directory / "recipe.yaml").is_file() and not (directory / "config.json").is_file():
        run = RunDir.open(directory)
        if not run.events_path.exists() and not run.artifacts_dir.is_dir():
            raise ModelError(
                f"{directory} is neither a model nor a run: it holds a recipe.yaml, but no "
                "config.json and no events.jsonl.",
                hint="Name a folder with config.json and model.safetensors, or the directory that "
                "was given to `tunesmith train --run`.",
                code="model_not_found",
            )
        directory = run.artifacts_dir
        if not (directory / "manifest.json").is_file():
            raise ModelError(
                f"The run {directory.parent} has no result yet.",
                hint="Finish it with `tunesmith train --resume` first.",
                code="run_without_result",
            )
    is_ours = directory.name == "artifacts" or is_checkpoint(directory)
    if not is_ours or not (directory / "manifest.json").is_file():
        return directory
    verify_manifest(directory)
    for kind in ("model", "adapter"):
        if (directory / kind).is_dir():
            return directory / kind
    raise ModelError(f"{directory} holds neither a model nor an adapter.")


def is_hub_snapshot(directory: Path) -> bool:
    """True for a folder of the hub's cache, whose name is the commit of the model."""
    is_commit = re.fullmatch(r"[0-9a-f]{40}", directory.name) is not None
    return is_commit and directory.parent.name == "snapshots"


def recipe_of_result(directory: Path) -> Recipe | None:
    """The recipe of the run that made a folder, such as `RUN/artifacts/model`."""
    run = run_of_result(directory)
    if run is None:
        return None
    found = [run / name for name in ("resolved.yaml", "recipe.yaml") if (run / name).is_file()]
    return load_recipe(found[0]) if found else None


def run_of_result(directory: Path) -> Path | None:
    """RUN of `RUN/artifacts/model` and of `RUN/checkpoints/step-000100/adapter`."""
    if directory.parent.name == "artifacts":
        return directory.parent.parent
    return directory.parents[2] if is_checkpoint(directory.parent) else None


def is_checkpoint(directory: Path) -> bool:
    """True for a folder `checkpoints/step-...`."""
    is_named = re.fullmatch(r"step-\d+", directory.name) is not None
    return is_named and directory.parent.name == "checkpoints"


def _silent(done: int, total: int, unit: str) -> None:
    """Progress that nobody asked for."""


def _local_folder(name: str, base_dir: Path | None) -> Path | None:
    path = Path(name).expanduser()
    candidates = [path] if base_dir is None or path.is_absolute() else [base_dir / path, path]
    return next((found.absolute() for found in candidates if found.is_dir()), None)


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~", "\\")) or "\\" in name or name.count("/") > 1


def resolve_adapter(
    name: str, *, base_dir: Path | None = None, on_progress: OnProgress | None = None
) -> Path:
    """The folder of an adapter: a run directory, its artifacts, a PEFT folder or a hub id."""
    local = _local_folder(name, base_dir)
    artifacts = None if local is None else _artifacts_of(local)
    if artifacts is not None and (artifacts / "adapter").is_dir():
        verify_manifest(artifacts)
        found = artifacts / "adapter"
    elif local is None and _looks_like_a_path(name):
        raise ModelError(f"There is no folder {name}.", hint=_ADAPTERS, code="adapter_not_found")
    else:
        found = resolve_name(name, base_dir=base_dir, on_progress=on_progress)
    if not (found / "adapter_config.json").is_file():
        raise ModelError(
            f"{name} is not an adapter: adapter_config.json is missing.", hint=_ADAPTERS
        )
    check_model_files(found)
    return found


def _artifacts_of(directory: Path) -> Path | None:
    candidates = (directory / "artifacts", directory)
    return next((path for path in candidates if (path / "manifest.json").is_file()), None)
