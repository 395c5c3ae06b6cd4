"""Datasets: made of files, checked, counted, edited, taken out."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tunesmith.errors import InputError
from tunesmith.schemas.common import Listed
from tunesmith.schemas.datasets import (
    DatasetRead,
    DatasetStarted,
    Detected,
    Edited,
    ListedAnswer,
    ListedRead,
    NearRead,
    PresetRead,
    PreviewRead,
    RowsPage,
    SplitAnswer,
    SplitsRead,
    VersionDetails,
    VersionRead,
)
from tunesmith.schemas.tasks import TaskRead
from tunesmith.sdk.connection import ApiError, Connection, OnBytes
from tunesmith.sdk.files import Files
from tunesmith.sdk.tasks import OnProgress, Tasks

_PLACE = "/api/v1/datasets"


class Datasets:
    """A dataset is named by its id or its name; a version by its number."""

    def __init__(self, connection: Connection, files: Files, tasks: Tasks) -> None:
        self._connection, self._files, self._tasks = connection, files, tasks

    def list(self, **query: str | int | None) -> Iterator[DatasetRead]:
        return self._connection.all(_PLACE, DatasetRead, **query)

    def get(self, dataset: str) -> DatasetRead:
        """By id, or by name."""
        if dataset.startswith("ds-"):
            return self._connection.get(f"{_PLACE}/{quote(dataset, safe='')}", DatasetRead)
        found = self.find(dataset)
        if found is None:
            raise InputError(f"There is no dataset {dataset}.", code="dataset_not_found")
        return found

    def find(self, name: str, project_id: str | None = None) -> DatasetRead | None:
        """The dataset of a name, if there is one."""
        named = self.list(text=name[:200], project_id=project_id)
        return next((each for each in named if each.name == name), None)

    def presets(self) -> builtins.list[PresetRead]:
        """Datasets that ship with tunesmith."""
        return self._connection.get(f"{_PLACE}/presets", Listed[PresetRead]).data

    def preset_rows(self, name: str, **query: Any) -> RowsPage:
        """Rows of a dataset that ships, such as builtin:general."""
        return self._connection.get(
            f"{_PLACE}/presets/{quote(name, safe='')}/rows", RowsPage, **query
        )

    def detect(self, file_id: str, **about: Any) -> Detected:
        """Format, columns and first records of a file that was sent, before it is imported."""
        body = {"file_id": file_id, **about}
        return self._connection.send("POST", f"{_PLACE}/detect", Detected, body)

    def upload(
        self,
        name: str,
        *paths: str | Path,
        mapping: dict[str, Any] | None = None,
        note: str = "",
        on_bytes: OnBytes | None = None,
        on_progress: OnProgress | None = None,
        project_id: str | None = None,
        **about: Any,
    ) -> DatasetRead:
        """Send files and make a dataset of them; ready when this returns.

        `mapping`: format and columns where they are not recognised; `about`: description, tags,
        licence, language, role, encoding.
        """
        body = {"name": name, "note": note, "project_id": project_id, **about}
        body |= self._sent(paths, mapping, project_id, on_bytes)
        started = self._connection.send("POST", _PLACE, DatasetStarted, body)
        self._tasks.wait(started.task, on_progress)
        return self.get(started.dataset.id)

    def add(
        self,
        dataset: str,
        *paths: str | Path,
        append: bool = True,
        mapping: dict[str, Any] | None = None,
        note: str = "",
        on_bytes: OnBytes | None = None,
        on_progress: OnProgress | None = None,
        **about: Any,
    ) -> int | None:
        """Files as the next version: behind the rows that there are, or in their place.

        Its number; None where no row changed.
        """
        found = self.get(dataset)
        body = {"append": append, "note": note, **about}
        body |= self._sent(paths, mapping, found.project_id, on_bytes)
        task = self._connection.send("POST", f"{_PLACE}/{found.id}/import", TaskRead, body)
        return (self._tasks.wait(task, on_progress).result or {}).get("version")

    def fetch(
        self, hub_id: str, on_progress: OnProgress | None = None, **about: Any
    ) -> DatasetRead:
        """A dataset of Hugging Face; ready when this returns.

        `about`: name, revision, split, files, mapping, description, project_id, ...
        """
        body = {"hub_id": hub_id, **about}
        started = self._connection.send("POST", f"{_PLACE}/import-hub", DatasetStarted, body)
        self._tasks.wait(started.task, on_progress)
        return self.get(started.dataset.id)

    def import_listed(
        self,
        *paths: str | Path,
        only: Sequence[str] = (),
        project_id: str | None = None,
        on_bytes: OnBytes | None = None,
        on_progress: OnProgress | None = None,
    ) -> builtins.list[ListedRead]:
        """A dataset_info.json with its files, or a zip of both; every import is waited for.

        A dataset whose import failed has its reason as `problem`.
        """
        body = self._sent(paths, None, project_id, on_bytes)
        body = {"file_ids": body["file_ids"], "only": list(only), "project_id": project_id}
        found = self._connection.send("POST", f"{_PLACE}/import-info", ListedAnswer, body).data
        return [self._waited(each, on_progress) for each in found]

    def _waited(self, listed: ListedRead, on_progress: OnProgress | None) -> ListedRead:
        if listed.task is None:
            return listed
        try:
            return listed.model_copy(update={"task": self._tasks.wait(listed.task, on_progress)})
        except ApiError as error:
            return listed.model_copy(update={"problem": error.message})

    def _sent(
        self,
        paths: Sequence[str | Path],
        mapping: dict[str, Any] | None,
        project_id: str | None,
        on_bytes: OnBytes | None,
    ) -> dict[str, Any]:
        files = [
            self._files.upload(path, project_id=project_id, on_bytes=on_bytes) for path in paths
        ]
        return {"file_ids": [file.id for file in files], "mapping": mapping or {}}

    def describe(self, dataset: str, **changes: Any) -> DatasetRead:
        return self._connection.send("PATCH", self._place(dataset), DatasetRead, changes)

    def delete(self, dataset: str) -> None:
        self._connection.request("DELETE", self._place(dataset))

    def delete_version(self, dataset: str, number: int) -> None:
        """Refused while a job or a model needs it."""
        self._connection.request("DELETE", f"{self._place(dataset)}/versions/{number}")

    def versions(self, dataset: str) -> Iterator[VersionRead]:
        # They come all at once: the address takes no size of a page.
        return self._connection.all(f"{self._place(dataset)}/versions", VersionRead, limit=None)

    def version(self, dataset: str, number: int) -> VersionDetails:
        place = f"{self._place(dataset)}/versions/{number}"
        return self._connection.get(place, VersionDetails)

    def rows(self, dataset: str, version: int, **query: Any) -> RowsPage:
        return self._connection.get(
            f"{self._place(dataset)}/versions/{version}/rows", RowsPage, **query
        )

    def rejected(self, dataset: str, version: int, **query: Any) -> RowsPage:
        """Rows of the files that could not be used: file, line, reason, and what was there."""
        place = f"{self._place(dataset)}/versions/{version}/rejected"
        return self._connection.get(place, RowsPage, **query)

    def report(self, dataset: str, version: int, **query: Any) -> dict[str, Any]:
        """What the last check found; an import is one, too."""
        place = f"{self._place(dataset)}/versions/{version}/report"
        return self._connection.request("GET", place, params=query).json()

    def preview(self, dataset: str, version: int, row: int, **query: Any) -> PreviewRead:
        """One row as messages and as tokens."""
        place = f"{self._place(dataset)}/versions/{version}/rows/{row}/preview"
        return self._connection.get(place, PreviewRead, **query)

    def edit(
        self,
        dataset: str,
        operation: dict[str, Any],
        base: int | None = None,
        on_progress: OnProgress | None = None,
        *,
        preview: bool = False,
    ) -> Edited:
        """One operation (change, remove, keep, replace, score, ...) as the next version.

        With `preview` nothing is published, and `diff` says what would change.
        """
        body = {"operation": operation, "base": base, "preview": preview}
        edited = self._connection.send("POST", f"{self._place(dataset)}/edit", Edited, body)
        if edited.task is None:
            return edited
        result = self._tasks.wait(edited.task, on_progress).result or {}
        number = result.get("version")
        return Edited(
            version=None if number is None else self.version(dataset, number),
            task=None,
            counts=result.get("counts") or {},
            diff=result.get("diff"),
            details=result.get("details"),
        )

    def diff(self, dataset: str, before: int, after: int) -> dict[str, Any]:
        """Rows added, removed and changed: all counts, the first hundred of each."""
        query = {"before": before, "after": after}
        return self._connection.request("GET", f"{self._place(dataset)}/diff", params=query).json()

    def verify(self, dataset: str, version: int, on_progress: OnProgress | None = None) -> int:
        """How many files a version has, all as they were published; ApiError if one is not."""
        place = f"{self._place(dataset)}/versions/{version}/verify"
        task = self._tasks.wait(self._connection.send("POST", place, TaskRead), on_progress)
        return int((task.result or {})["files"])

    def near(self, dataset: str, version: int, on_progress: OnProgress | None = None) -> NearRead:
        """Pairs of rows that say nearly the same."""
        place = f"{self._place(dataset)}/versions/{version}/near"
        self._tasks.wait(self._connection.send("POST", place, TaskRead), on_progress)
        return self._connection.get(place, NearRead)

    def splits(
        self, dataset: str, version: int, on_progress: OnProgress | None = None, **wanted: Any
    ) -> SplitsRead:
        """What splits would hold out: `validation` and `test` with fraction, max_rows and so on."""
        place = f"{self._place(dataset)}/versions/{version}/splits"
        answer = self._connection.send("POST", place, SplitAnswer, wanted)
        if answer.splits is not None:
            return answer.splits
        assert answer.task is not None, "one of both"
        task = self._tasks.wait(answer.task, on_progress)
        return SplitsRead.model_validate(task.result)

    def check(
        self, dataset: str, version: int, on_progress: OnProgress | None = None, **wanted: Any
    ) -> dict[str, Any]:
        """The report of a check."""
        place = f"{self._place(dataset)}/versions/{version}"
        task = self._connection.send("POST", f"{place}/check", TaskRead, wanted)
        self._tasks.wait(task, on_progress)
        query = {"profile": wanted.get("profile")}
        return self._connection.request("GET", f"{place}/report", params=query).json()

    def statistics(
        self, dataset: str, version: int, on_progress: OnProgress | None = None, **wanted: Any
    ) -> dict[str, Any]:
        """Lengths in tokens of a model, and what follows from them."""
        place = f"{self._place(dataset)}/versions/{version}/stats"
        task = self._connection.send("POST", place, TaskRead, wanted)
        self._tasks.wait(task, on_progress)
        return self._connection.request("GET", place, params=wanted).json()

    def export(
        self,
        dataset: str,
        version: int,
        to: str | Path,
        *,
        format: str = "jsonl",
        lossy: bool = False,
        on_progress: OnProgress | None = None,
        on_bytes: OnBytes | None = None,
    ) -> int:
        """Write a version to a file here; its bytes."""
        place = f"{self._place(dataset)}/versions/{version}/export"
        body = {"format": format, "lossy": lossy}
        task = self._tasks.wait(self._connection.send("POST", place, TaskRead, body), on_progress)
        return self._files.download(str((task.result or {})["file_id"]), to, on_bytes)

    def newest(self, dataset: str) -> int:
        """The number of the newest version."""
        found = self.get(dataset)
        if found.newest is None:
            raise InputError(f"Dataset {dataset} has no version yet.", code="no_version")
        return found.newest.number

    def mixing_plan(self, datasets: Sequence[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """How many rows of each one epoch draws."""
        body = {"datasets": list(datasets), **options}
        return self._connection.request("POST", f"{_PLACE}/mixing-plan", json=body).json()

    def _place(self, dataset: str) -> str:
        found = dataset if dataset.startswith("ds-") else self.get(dataset).id
        return f"{_PLACE}/{quote(found, safe='')}"
