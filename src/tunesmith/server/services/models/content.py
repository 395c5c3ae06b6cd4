"""The files of a model: listed from its manifest, read as bounded text, sent one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunesmith.errors import ModelError
from tunesmith.runs.manifest import CheckpointBroken, ManifestFile, read_manifest
from tunesmith.server.errors import NotFound
from tunesmith.server.tables import Model

PREVIEW_BYTES: Final = 64 * 1024
_TEXTS: Final = (
    ".json", ".jsonl", ".jinja", ".md", ".txt", ".yaml", ".yml", ".csv", ".log", ".tiktoken",
)  # fmt: skip
_NAMES: Final = ("LICENSE", "NOTICE", "LICENSE.txt")


@dataclass(frozen=True)
class ModelFile:
    """One file, by its path within the model."""

    path: str
    bytes: int
    sha256: str

    @property
    def is_text(self) -> bool:
        name = self.path.rpartition("/")[2]
        return name.endswith(_TEXTS) or name in _NAMES


@dataclass(frozen=True)
class Preview:
    """The beginning of a text file."""

    path: str
    text: str
    is_whole: bool


def list_files(folder: Path, model: Model) -> list[ModelFile]:
    """What the manifest names; NotFound where the files are gone."""
    try:
        manifest = read_manifest(folder)
    except (CheckpointBroken, NotADirectoryError):
        raise NotFound(
            f"The files of model {model.name} are gone.",
            hint="Import it again, or train it again.",
            code="model_files_gone",
            name=model.name,
        ) from None
    return [_shown(file) for file in manifest.files]


def find_file(folder: Path, model: Model, path: str) -> tuple[ModelFile, Path]:
    """A file by its exact path in the manifest, and where it lies."""
    found = next((file for file in list_files(folder, model) if file.path == path), None)
    place = folder / found.path if found else folder
    if found is None or not _is_inside(place, folder):
        raise NotFound(
            f"Model {model.name} has no file {path[:200]}.",
            code="model_file_not_found",
            model=model.name,
            path=path,
        )
    return found, place


def preview(folder: Path, model: Model, path: str, most: int) -> Preview:
    """The beginning of a text file of a model."""
    file, place = find_file(folder, model, path)
    if not file.is_text:
        raise ModelError(
            f"{path} is no text.",
            hint="Download it instead.",
            code="model_file_not_text",
            path=path,
        )
    with place.open("rb") as reading:
        head = reading.read(most)
    return Preview(path, head.decode("utf-8", "replace"), is_whole=len(head) == file.bytes)


def _shown(file: ManifestFile) -> ModelFile:
    return ModelFile(file.path, file.size, file.sha256)


def _is_inside(place: Path, folder: Path) -> bool:
    """A file, not a link that somebody has put there."""
    return place.is_file() and place.resolve().is_relative_to(folder.resolve())
