"""Downloads from Hugging Face and ModelScope: what is fetched, how it goes on, what fails and why.

Only safetensors weights, settings and tokenizer files are fetched; code and pickles never are.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from tunesmith.errors import ModelError
from tunesmith.runs.files import storage_errors

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


@dataclass(frozen=True)
class HubFile:
    """One file as a hub announces it; small ones have no SHA-256 there."""

    name: str
    bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class HubModel:
    """What a hub says about a model before anything is downloaded."""

    name: str
    commit: str
    files: tuple[HubFile, ...]
    kind: Literal["model", "dataset"] = "model"

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def ask_hub(name: str, revision: str) -> HubModel:
    """The commit and the wanted files of a model on Hugging Face; nothing is downloaded."""
    from huggingface_hub import HfApi

    try:
        told = HfApi().model_info(
            name, revision=revision, files_metadata=True, timeout=HUB_ANSWER_SECONDS
        )
    except Exception as error:  # the HTTP library of the hub client is its own affair
        raise explain_hub_error(error, name, revision) from error
    found = [
        HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None)
        for file in told.siblings or ()
    ]
    if not any(is_wanted(file.name) and file.name.endswith(".safetensors") for file in found):
        raise _without_safetensors(name, sorted(file.name for file in found))
    return HubModel(name, told.sha or revision, tuple(found))


def ask_hub_for_dataset(name: str, revision: str) -> HubModel:
    """The commit and all files of a dataset on Hugging Face; nothing is downloaded."""
    from huggingface_hub import HfApi

    try:
        told = HfApi().dataset_info(
            name, revision=revision, files_metadata=True, timeout=HUB_ANSWER_SECONDS
        )
    except Exception as error:  # the HTTP library of the hub client is its own affair
        raise explain_hub_error(error, name, revision) from error
    found = [
        HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None)
        for file in told.siblings or ()
    ]
    return HubModel(name, told.sha or revision, tuple(found), "dataset")


def is_wanted(name: str, more: Sequence[str] = ()) -> bool:
    """Whether a file of a repository is of use: of its top folder only, no code, no pickles."""
    wanted = any(fnmatch(name, pattern) for pattern in (*WEIGHTS, *SMALL_FILES, *more))
    return wanted and not any(fnmatch(name, pattern) for pattern in NOT_DOWNLOADED)


def fetch_hub_files(told: HubModel, target: Path, report: OnProgress) -> None:
    """The files of one commit into a folder. What came before a cut is not asked for again.

    The hub's own client begins a file anew in each process, so only its HTTP part is used.
    """
    done = 0
    target.mkdir(parents=True, exist_ok=True)
    for file in told.files:
        path = target / file.name
        if not (path.is_file() and path.stat().st_size == file.bytes):

            def on_bytes(now: int, before: int = done) -> None:
                report(before + now, told.bytes, "bytes")

            _fetch_hub_file(told, file, path, on_bytes)
        done += file.bytes
        report(done, told.bytes, "bytes")


def _fetch_hub_file(
    told: HubModel, file: HubFile, path: Path, on_bytes: Callable[[int], None]
) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("ab") as writing:
        before = writing.tell()
        if before > file.bytes:
            before = writing.truncate(0)
        if before < file.bytes:
            try:
                http_get(
                    hf_hub_url(told.name, file.name, repo_type=told.kind, revision=told.commit),
                    writing,
                    resume_size=before,
                    headers=build_hf_headers(),
                    expected_size=file.bytes,
                    tqdm_class=_counting_bar(on_bytes),
                )
            except Exception as error:  # also what the HTTP library of the hub's client raises
                raise explain_hub_error(error, told.name, told.commit) from error
    if file.sha256 is not None and _sha256(part) != file.sha256:
        part.unlink()
        raise ModelError(
            f"{file.name} of {told.name} arrived damaged (SHA-256); it was removed.",
            hint="Import the model again; the other files are kept.",
            code="download_failed",
            form="damaged",
            file=file.name,
            name=told.name,
        )
    part.rename(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _counting_bar(on_bytes: Callable[[int], None]) -> Any:
    """A progress bar for the hub client that counts instead of drawing."""
    from tqdm import tqdm

    class Bar(tqdm):  # pyright: ignore[reportMissingTypeArgument]
        monitor_interval = 0

        def __init__(self, *args: Any, **settings: Any) -> None:
            quiet = {"file": io.StringIO(), "disable": False, "mininterval": 0.5}
            super().__init__(*args, **{**settings, **quiet})

        def display(self, *_: Any, **__: Any) -> None:
            on_bytes(int(self.n))

    return Bar


def _without_safetensors(name: str, files: list[str]) -> ModelError:
    pickles = [file for file in files if file.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    if pickles:
        return ModelError(
            f"Refused: {pickles[0]} of {name} is a pickle; convert to safetensors.",
            hint="A pickle runs code when it is loaded. Look for a revision of the model with "
            "model.safetensors, or convert it in a safe place and import the folder.",
            code="model_is_pickle",
            file=pickles[0],
        )
    return ModelError(
        f"{name} has no weights as safetensors; nothing was downloaded.",
        hint="Choose a repository that holds model.safetensors.",
        code="model_without_weights",
        form="hub",
        name=name,
    )


def prefers_modelscope() -> bool:
    """Whether USE_MODELSCOPE_HUB selects ModelScope where no source is named."""
    return os.environ.get("USE_MODELSCOPE_HUB", "").strip().lower() in ("1", "true", "yes", "on")


def download_from_hub(
    name: str,
    wanted: Sequence[str],
    *,
    revision: str,
    report: OnProgress,
) -> Path:
    """The folder of a model in the cache of the hub's client, which works without a network."""
    from huggingface_hub import snapshot_download

    reachable = _hub_answers(name, revision)
    report(0, 0, "bytes")
    with storage_errors(Path(name)):
        try:
            found = snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(wanted),
                ignore_patterns=list(NOT_DOWNLOADED),
                local_files_only=not reachable,
                tqdm_class=_progress_bar(report),
            )
        except Exception as error:  # also what the HTTP library of the hub's client raises
            raise explain_hub_error(error, name, revision) from error
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
            raise explain_hub_error(error, name, revision) from error
        return False
    except Exception as error:  # the HTTP library of the hub client is its own affair
        if _is_network_error(error):
            return False
        raise explain_hub_error(error, name, revision) from error
    return True


def _is_network_error(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        names & {"TransportError", "OfflineModeIsEnabled", "ConnectionError", "TimeoutError"}
    )


def explain_hub_error(error: Exception, name: str, revision: str) -> Exception:
    """What a failure of the hub's client means, with what to do."""
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


def download_from_modelscope(
    name: str,
    wanted: Sequence[str],
    *,
    revision: str,
    report: OnProgress,
    target: Path | None = None,
) -> Path:
    """The same from ModelScope, by its own package."""
    try:
        from modelscope import snapshot_download  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ModelError(
            f"Models of ModelScope need the package modelscope, which cannot be imported: {error}.",
            hint="Install it with: pip install 'tunesmith[modelscope]'",
            code="modelscope_missing",
        ) from error
    report(0, 0, "bytes")
    settings: dict[str, Any] = {
        "revision": None if revision == "main" else revision,  # its main branch is named master
        "allow_patterns": list(wanted),
        "ignore_patterns": list(NOT_DOWNLOADED),
    }
    if target is not None:
        settings["local_dir"] = str(target)
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
