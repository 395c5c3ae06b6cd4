"""What the commands of `tunesmith data` work on: files, or a published version."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.data.encodings import codec_name
from tunesmith.data.readers import dataset_files, left_aside
from tunesmith.data.resolve import resolve_dataset
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.catalog import is_name
from tunesmith.data.store.version import MANIFEST
from tunesmith.errors import InputError

if TYPE_CHECKING:
    from tunesmith.recipe import Dataset

MAX_BYTES = 50 << 30  # of one dataset


@dataclass(frozen=True)
class Files:
    """Files that are read as one dataset."""

    name: str
    paths: list[Path]
    wanted: Dataset  # how rows are read
    encoding: str | None = None
    aside: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Names in its folders that are not read, and why."""

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.paths)


Subject = Files | Version


def find_subject(text: str, wanted: Dataset, encoding: str | None) -> Subject:
    """A file or folder of this name, a dataset of the catalog, or one that ships with tunesmith."""
    path = resolve_dataset(text, Path())
    if (path / MANIFEST).is_file():
        return Version.open(path)
    if not path.exists() and is_name(text):
        return Catalog().open(text)  # says which datasets there are
    return files_subject([path], wanted, encoding)


def files_subject(paths: list[Path], wanted: Dataset, encoding: str | None) -> Files:
    """Files and the files of folders; InputError above the limit of one dataset."""
    found = [file for path in paths for file in dataset_files(path)]
    if encoding not in (None, "auto"):
        codec_name(encoding, paths[0])  # an unknown name is one mistake, not one of each file
    aside = [each for path in paths for each in left_aside(path)]
    files = Files(paths[0].name, found, wanted, encoding, aside)
    if files.size > MAX_BYTES:
        raise InputError(
            f"The data has {files.size / (1 << 30):.1f} GB; one dataset takes "
            f"{MAX_BYTES >> 30} GB at most.",
            hint="Split it into several datasets and mix them in the recipe.",
            code="dataset_too_large",
        )
    return files
