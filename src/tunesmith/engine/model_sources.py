"""Where a base model comes from: `starter`, a folder, an earlier run, a hub id or a ModelScope id.

Read `resolve_name` first. Everything ends as a folder on this machine, in the transformers layout
or, for an earlier run that trained an adapter, in the PEFT layout.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.engine.model_files import check_model_files
from tunesmith.errors import ModelError
from tunesmith.recipe import Recipe, load_recipe
from tunesmith.runs import RunDir, verify_manifest
from tunesmith.runs.files import storage_errors

# What is downloaded: safetensors weights, settings, tokenizer files. Never code, never pickles.
WEIGHTS = ("*.safetensors",)
SMALL_FILES = (
    "*.json",
    "*.jinja",
    "tokenizer.model",
    "*.tiktoken",
    "merges.txt",
    "vocab.txt",
    "README.md",
    "LICENSE*",
)
# Copies of the same weights for other programs.
NOT_DOWNLOADED = ("*/*", "consolidated*.safetensors", "*.onnx*", "*.gguf")
HUB_ANSWER_SECONDS = 15.0

# `on_progress(done, total, unit)` while something is downloaded.
OnProgress = Callable[[int, int, str], None]

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
    if source == "modelscope" or (source == "auto" and _prefers_modelscope()):
        return _download_from_modelscope(name, wanted, revision=revision, report=report)
    return _download_from_hub(name, wanted, revision=revision, report=report)


def result_folder(directory: Path) -> Path:
    """The model inside a run directory or its artifacts; any other folder stays what it is."""
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
    if directory.name != "artifacts" or not (directory / "manifest.json").is_file():
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
    """The recipe of the run that a folder `RUN/artifacts/model` or `.../adapter` belongs to."""
    if directory.parent.name != "artifacts":
        return None
    run = directory.parent.parent
    found = [run / name for name in ("resolved.yaml", "recipe.yaml") if (run / name).is_file()]
    return load_recipe(found[0]) if found else None


def _silent(done: int, total: int, unit: str) -> None:
    """Progress that nobody asked for."""


def _local_folder(name: str, base_dir: Path | None) -> Path | None:
    path = Path(name).expanduser()
    candidates = [path] if base_dir is None or path.is_absolute() else [base_dir / path, path]
    return next((found.absolute() for found in candidates if found.is_dir()), None)


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~", "\\")) or "\\" in name or name.count("/") > 1


def _prefers_modelscope() -> bool:
    return os.environ.get("USE_MODELSCOPE_HUB", "").strip().lower() in ("1", "true", "yes", "on")


def _download_from_hub(name: str, wanted: list[str], *, revision: str, report: OnProgress) -> Path:
    from huggingface_hub import snapshot_download

    reachable = _hub_answers(name, revision)
    report(0, 0, "bytes")
    with storage_errors(Path(name)):
        try:
            found = snapshot_download(
                name,
                revision=revision,
                allow_patterns=wanted,
                ignore_patterns=list(NOT_DOWNLOADED),
                local_files_only=not reachable,
                tqdm_class=_progress_bar(report),
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise _explain_hub_error(error, name, revision) from error
    return Path(str(found))


def _hub_answers(name: str, revision: str) -> bool:
    """Ask the hub for the model once, with a time limit; False when no answer comes.

    The download itself has no limit on the first answer, so a network that swallows packets would
    hang it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(name, revision=revision, timeout=HUB_ANSWER_SECONDS)
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            raise _explain_hub_error(error, name, revision) from error
        return False
    except Exception as error:  # the HTTP library of the hub client is its own affair
        if _is_network_error(error):
            return False
        raise _explain_hub_error(error, name, revision) from error
    return True


def _is_network_error(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        names & {"TransportError", "OfflineModeIsEnabled", "ConnectionError", "TimeoutError"}
    )


def _explain_hub_error(error: Exception, name: str, revision: str) -> Exception:
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, OSError) and error.errno is not None:
        return error  # a full or read-only disk: `storage_errors` says it
    if isinstance(error, GatedRepoError):
        return ModelError(
            f"{name} is gated: its owner wants its licence accepted first.",
            hint="Accept it on the model's page, then log in with `hf auth login` or set HF_TOKEN.",
            code="model_gated",
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelError(
            f"{name} has no revision {revision!r}.",
            hint="Check model.revision: a branch, a tag or a commit.",
            code="model_not_found",
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(
            f"There is no folder {name} here, and the hub has no model of that name, or it is "
            "private.",
            hint="Check the spelling; for a private model set HF_TOKEN.",
            code="model_not_found",
        )
    if isinstance(error, LocalEntryNotFoundError) or _is_network_error(error):
        return _unreachable("Hub", name)
    return ModelError(f"{name} could not be downloaded: {error}", code="download_failed")


def _unreachable(hub: str, name: str) -> ModelError:
    return ModelError(
        f"{hub} not reachable; local models only. There is no folder {name} here, and no complete "
        "download of a model of that name.",
        hint="Check the spelling and the network (HF_ENDPOINT names a mirror), or give a local "
        "folder or 'starter' as the model. A download goes on where it stopped.",
        code="hub_unreachable",
    )


def _progress_bar(report: OnProgress) -> Any:
    """A progress bar for the hub client that reports the bytes instead of drawing."""
    from tqdm import tqdm

    most = {"done": -1}

    class Bar(tqdm):  # pyright: ignore[reportMissingTypeArgument]
        monitor_interval = 0

        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "file": io.StringIO(), "disable": False})

        def display(self, *_: Any, **__: Any) -> None:
            # Two bars count bytes, one for the network and one for the disk; tell the larger one.
            if self.unit == "B" and self.n > most["done"]:
                most["done"] = int(self.n)
                report(int(self.n), int(self.total or 0), "bytes")

    return Bar


def _download_from_modelscope(
    name: str, wanted: list[str], *, revision: str, report: OnProgress
) -> Path:
    try:
        from modelscope import snapshot_download  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ModelError(
            f"Models of ModelScope need the package modelscope, which cannot be imported: {error}.",
            hint="Install it with: pip install 'tunesmith[modelscope]'",
            code="modelscope_missing",
        ) from error
    report(0, 0, "bytes")
    settings = {
        "revision": None if revision == "main" else revision,  # its main branch is named master
        "allow_patterns": wanted,
        "ignore_patterns": list(NOT_DOWNLOADED),
    }
    try:
        return Path(snapshot_download(name, **settings))
    except Exception as error:  # modelscope raises what its HTTP library raises
        if not _is_network_error(error):
            raise ModelError(
                f"{name} could not be downloaded from ModelScope: {error}", code="download_failed"
            ) from error
    try:
        return Path(snapshot_download(name, **settings, local_files_only=True))
    except Exception as error:
        raise _unreachable("ModelScope", name) from error


def resolve_adapter(
    name: str, *, base_dir: Path | None = None, on_progress: OnProgress | None = None
) -> Path:
    """The folder of an adapter: a run directory, its artifacts, a PEFT folder or a hub id."""
    local = _local_folder(name, base_dir)
    artifacts = None if local is None else _artifacts_of(local)
    if artifacts is not None and (artifacts / "adapter").is_dir():
        verify_manifest(artifacts)
        found = artifacts / "adapter"
    else:
        found = resolve_name(name, base_dir=base_dir, on_progress=on_progress)
    if not (found / "adapter_config.json").is_file():
        raise ModelError(
            f"{name} is not an adapter: adapter_config.json is missing.",
            hint="Give a run that trained an adapter (adapter.kind: lora), or a PEFT folder.",
        )
    check_model_files(found)
    return found


def _artifacts_of(directory: Path) -> Path | None:
    candidates = (directory / "artifacts", directory)
    return next((path for path in candidates if (path / "manifest.json").is_file()), None)
