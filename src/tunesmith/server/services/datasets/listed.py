"""Datasets that a dataset_info.json of LLaMA-Factory lists, as imports of files that were sent.

The list comes beside its files, which are found by their names, or in one zip with them. Loading
scripts that it names are never run, and no path of it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tunesmith.errors import DataError, InputError, RecipeError
from tunesmith.recipe.convert.dataset_info import (
    DatasetInfo,
    ListedDataset,
    parse_dataset_info,
    read_entry,
)
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import NotFound, TooLarge
from tunesmith.server.services.datasets import archives
from tunesmith.server.services.datasets.asked import Import
from tunesmith.server.tables import Dataset, File, Task

MOST_DATASETS: Final = 200
_MOST_TEXT: Final = 4 << 20  # bytes


@dataclass(frozen=True)
class Listed:
    """One dataset of the list: what became of its keys, and its import or why there is none."""

    name: str
    verdicts: Sequence[Mapping[str, Any]]
    problem: str = ""
    order: Import | None = None
    dataset: Dataset | None = None
    task: Task | None = None


def listed_in(place: DataDir, files: Sequence[File], only: Sequence[str]) -> list[Listed]:
    """Every dataset of the list, or `only` some; InputError with the line where it is broken."""
    source = _source(place, files)
    try:
        info = parse_dataset_info(source.text, Path(source.name), Path("/"), on_disk=False)
    except RecipeError as error:
        raise DataError(
            error.message, hint=error.hint, code="bad_dataset_info", **error.details
        ) from None
    unknown = sorted(set(only) - info.entries.keys())
    if unknown:
        raise NotFound(
            f"{source.name} lists no dataset '{unknown[0]}'.",
            hint=f"It lists: {', '.join(list(info.entries)[:50])}.",
            code="dataset_not_found",
            id=unknown[0],
        )
    names = [name for name in info.entries if not only or name in only]
    if len(names) > MOST_DATASETS:
        raise TooLarge(
            f"{source.name} lists {len(names)} datasets; {MOST_DATASETS} are imported at once.",
            hint="Name some of them in `only`.",
            code="too_many_datasets",
            limit=MOST_DATASETS,
        )
    return [_listed(read_entry(name, info), info, source) for name in names]


@dataclass(frozen=True)
class _Source:
    """The list, and where a file is that it names: (id of a file, member of an archive)."""

    name: str
    text: str
    places: Mapping[str, tuple[str, str]]
    is_archive: bool

    def find(self, file_name: str) -> list[tuple[str, str]]:
        """The file of this name, or the files of a folder."""
        path = PurePosixPath(file_name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            return []
        if not self.is_archive:
            found = self.places.get(path.name.casefold())
            return [found] if found else []
        wanted = str(path).casefold()
        return [
            place
            for name, place in self.places.items()
            if name == wanted or name.startswith(f"{wanted}/")
        ]


def _source(place: DataDir, files: Sequence[File]) -> _Source:
    for file in files:
        if _last(file) == archives.INFO:
            path = place.file(file.id)
            if file.bytes > _MOST_TEXT:
                raise TooLarge(
                    f"{archives.INFO} has {file.bytes:,} bytes; {_MOST_TEXT:,} are read.",
                    code="too_large",
                    limit=_MOST_TEXT,
                )
            others = {_last(each).casefold(): (each.id, "") for each in files if each is not file}
            return _Source(archives.INFO, _text(path.read_bytes()), others, is_archive=False)
    for file in files:
        if archives.is_quick(file.filename):
            found = _in_archive(place, file)
            if found is not None:
                return found
    raise InputError(
        f"There is no {archives.INFO} among the files.",
        hint="Send it beside its data files, or all of them in one zip.",
        code="dataset_info_missing",
        param="file_ids",
    )


def _in_archive(place: DataDir, file: File) -> _Source | None:
    path, name = place.file(file.id), _last(file)
    contents = archives.look(path, name)
    if contents.info is None:
        return None
    folder = str(PurePosixPath(contents.info.name).parent)
    prefix = "" if folder == "." else f"{folder}/"
    places = {
        member.name.removeprefix(prefix).casefold(): (file.id, member.name)
        for member in contents.members
        if member.name.startswith(prefix)
    }
    text = _text(archives.read_text(path, name, contents.info))
    return _Source(contents.info.name, text, places, is_archive=True)


def _listed(listed: ListedDataset, info: DatasetInfo, source: _Source) -> Listed:
    verdicts = [
        asdict(replace(entry, reason="") if entry.to == "dataset" else entry)
        for entry in listed.entries
    ]
    told = info.entries[listed.name].get("file_name")
    if listed.file is None or not isinstance(told, str):
        return Listed(listed.name, verdicts, _why_none(listed))
    found = source.find(told)
    if not found:
        return Listed(listed.name, verdicts, f"{told} is not among the files")
    order = Import(
        file_ids=list(dict.fromkeys(file for file, _ in found)),
        mapping=dict(listed.fields),
        near=False,
        note=f"from {archives.INFO}",
        members=[member for _, member in found if member],
    )
    return Listed(listed.name, verdicts, order=order)


def _why_none(listed: ListedDataset) -> str:
    if listed.hub is not None:
        return f"{listed.hub.id} is on {listed.hub.hub}: import it from there by its id"
    return "it names no file"


def _last(file: File) -> str:
    return PurePosixPath(file.filename.replace("\\", "/")).name


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{archives.INFO} is not UTF-8: byte {error.start + 1}.", code="bad_dataset_info"
        ) from error
