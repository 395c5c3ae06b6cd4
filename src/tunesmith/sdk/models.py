"""Models: presets, one's own, imports, files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from tunesmith.schemas.models import (
    ImportFolders,
    LineageRead,
    ModelDetails,
    ModelFileRead,
    ModelFiles,
    ModelRead,
    PresetList,
)
from tunesmith.schemas.tasks import TaskRead
from tunesmith.sdk.connection import ApiError, Connection, OnBytes
from tunesmith.sdk.files import sha256
from tunesmith.sdk.tasks import OnProgress, Tasks

_PLACE = "/api/v1/models"
OnFile = Callable[[ModelFileRead], None]


class Models:
    """A model is named by its id, or by its name such as `ft:...` or `Qwen/Qwen3-0.6B`."""

    def __init__(self, connection: Connection, tasks: Tasks) -> None:
        self._connection, self._tasks = connection, tasks

    def list(self, **query: str | int | None) -> Iterator[ModelRead]:
        return self._connection.all(_PLACE, ModelRead, **query)

    def presets(self) -> PresetList:
        return self._connection.get(f"{_PLACE}/presets", PresetList)

    def get(self, model: str) -> ModelDetails:
        return self._connection.get(_place(model), ModelDetails)

    def update(self, model: str, **changes: Any) -> ModelRead:
        return self._connection.send("PATCH", _place(model), ModelRead, changes)

    def delete(self, model: str) -> None:
        self._connection.request("DELETE", _place(model))

    def lineage(self, model: str) -> LineageRead:
        return self._connection.get(f"{_place(model)}/lineage", LineageRead)

    def files(self, model: str) -> list[ModelFileRead]:
        return self._connection.get(f"{_place(model)}/files", ModelFiles).data

    def bring(self, on_progress: OnProgress | None = None, **order: Any) -> ModelDetails:
        """Import a model: name="Qwen/Qwen3-0.6B", source="hub", ...; ready when this returns.

        Sources: hub (Hugging Face), modelscope, github (`revision` is the tag), folder.
        """
        task = self._connection.send("POST", f"{_PLACE}/import", TaskRead, order)
        done = self._tasks.wait(task, on_progress)
        return self.get(str((done.result or {})["model_id"]))

    def folders(self) -> list[str]:
        """Folders on the server that a model may be imported from."""
        return self._connection.get(f"{_PLACE}/folders", ImportFolders).data

    def download(
        self,
        model: str,
        to: str | Path,
        on_file: OnFile | None = None,
        on_bytes: OnBytes | None = None,
    ) -> Path:
        """All files of a model into a folder; those that are there already with their hash stay.

        `on_bytes` gets bytes of all files together.
        """
        folder, files = Path(to), self.files(model)
        total, done = sum(file.bytes for file in files), 0
        for file in files:
            target = folder / _inside(file.path)
            if not _is_there(target, file):
                if on_file is not None:
                    on_file(file)
                self._fetch(model, file, target, _behind(on_bytes, done, total))
            done += file.bytes
        return folder

    def _fetch(
        self, model: str, file: ModelFileRead, target: Path, on_bytes: OnBytes | None
    ) -> None:
        place = f"{_place(model)}/files/content"
        self._connection.download(place, target, on_bytes=on_bytes, path=file.path)
        if sha256(target) != file.sha256:
            target.unlink()
            raise ApiError(
                f"{file.path} did not arrive as it is on the server; it was removed again.",
                hint="Download it once more.",
                code="download_damaged",
            )


def _place(model: str) -> str:
    return f"{_PLACE}/{quote(model, safe=':/')}"


def _inside(path: str) -> PurePosixPath:
    """A path of the server as one below a folder here."""
    inside = PurePosixPath(path)
    if inside.is_absolute() or ".." in inside.parts or "\\" in path:
        raise ApiError(f"The server names a file outside the model: {path!r}.", code="bad_path")
    return inside


def _is_there(target: Path, file: ModelFileRead) -> bool:
    return (
        target.is_file() and target.stat().st_size == file.bytes and sha256(target) == file.sha256
    )


def _behind(on_bytes: OnBytes | None, done: int, total: int) -> OnBytes | None:
    """The same function for one of several files."""
    return None if on_bytes is None else lambda got, _: on_bytes(done + got, total)
