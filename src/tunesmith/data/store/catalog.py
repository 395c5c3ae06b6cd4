"""Names and versions of the datasets in the data directory.

    DATA_DIR/datasets/
      shop/
        about.json      description, tags, licence, language, role; may change at any time
        0001/ 0002/     published versions (version.py)
        draft-...       a version in the making

A dataset is written `shop` (its newest version) or `shop@2`. Two processes that publish at once get
two numbers: the second rename onto a taken number fails and takes the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import orjson

from tunesmith.data.names import Reference, is_name, parse_reference
from tunesmith.data.store.version import MANIFEST, Draft, Version
from tunesmith.errors import DataError
from tunesmith.runs.files import data_directory, write_atomically

Role = Literal["user", "general"]
_ABOUT = "about.json"
_DELETED = "draft-deleted-"
_STALE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class DatasetAbout:
    """What people say about a dataset; no part of any version."""

    name: str
    created: str
    description: str = ""
    tags: list[str] = field(default_factory=list[str])
    licence: str = ""
    language: str = ""
    role: Role = "user"
    last_version: int = 0  # of all that were published, deleted ones too: no number comes twice


class Catalog:
    """All datasets below one data directory."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or data_directory()) / "datasets"

    def names(self) -> list[str]:
        """Datasets that have a published version, by name."""
        if not self.root.is_dir():
            return []
        return sorted(
            d.name for d in self.root.iterdir() if is_name(d.name) and self.versions(d.name)
        )

    def versions(self, name: str) -> list[int]:
        """Numbers of the published versions, oldest first."""
        folder = self.root / name
        if not is_name(name) or not folder.is_dir():
            return []
        return sorted(
            int(v.name) for v in folder.iterdir() if v.name.isdecimal() and (v / MANIFEST).is_file()
        )

    def open(self, reference: Reference | str) -> Version:
        """A version, the newest where none is named; DataError lists what there is."""
        wanted = parse_reference(reference) if isinstance(reference, str) else reference
        versions = self.versions(wanted.name) if wanted else []
        if wanted is None or not versions:
            raise self._unknown(str(reference))
        number = versions[-1] if wanted.version is None else wanted.version
        if number not in versions:
            raise DataError(
                f"Dataset {wanted.name} has no version {number}.",
                hint=f"Its versions: {', '.join(map(str, versions))}.",
                code="unknown_version",
            )
        return Version.open(self._folder(wanted.name, number))

    def about(self, name: str) -> DatasetAbout:
        """The description of a dataset; DataError when there is no such dataset."""
        try:
            return DatasetAbout(**orjson.loads((self.root / name / _ABOUT).read_bytes()))
        except FileNotFoundError as error:
            raise self._unknown(name) from error

    def describe(self, name: str, **changes: Any) -> DatasetAbout:
        """Change or begin the description; arguments that are None stay as they are."""
        if not is_name(name):
            raise bad_name(name)
        path = self.root / name / _ABOUT
        about = self.about(name) if path.exists() else DatasetAbout(name, now())
        about = replace(
            about, **{key: value for key, value in changes.items() if value is not None}
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, orjson.dumps(asdict(about), option=orjson.OPT_INDENT_2))
        return about

    @contextmanager
    def draft(self, name: str, *, next_id: int = 1) -> Generator[Draft]:
        """A new version in the making; whatever ends the block before `publish` leaves nothing."""
        if not is_name(name):
            raise bad_name(name)
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        self._remove_stale_drafts(folder)
        holder, lock = _new_holder(folder)
        draft = Draft(holder / "version", name=name, next_id=next_id)
        try:
            yield draft
        finally:
            draft.discard()
            shutil.rmtree(holder, ignore_errors=True)
            os.close(lock)
            with suppress(OSError):  # the dataset's first draft was not published
                folder.rmdir()

    def publish(
        self,
        draft: Draft,
        name: str,
        *,
        parent: int | None = None,
        note: str = "",
        operations: Sequence[dict[str, Any]] = (),
        sources: Sequence[dict[str, Any]] = (),
    ) -> Version:
        """The draft as the next version of the dataset."""
        last = self.describe(name).last_version
        while True:
            number = max(last, *self._numbers(name), 0) + 1
            final = self._folder(name, number)
            try:
                return draft.publish(
                    final,
                    created=now(),
                    parent=parent,
                    note=note,
                    operations=operations,
                    sources=sources,
                )
            except OSError:
                if not final.exists():
                    raise

    def delete(self, reference: Reference) -> None:
        """Remove a version, or the dataset with all of them."""
        folder = self.root / reference.name
        self.open(reference)
        self.describe(reference.name, last_version=self.versions(reference.name)[-1])
        target = (
            folder if reference.version is None else self._folder(reference.name, reference.version)
        )
        hidden = target.with_name(f"{_DELETED}{os.getpid()}-{target.name}")
        target.rename(hidden)  # gone in one step; what an interrupt leaves behind is no dataset
        shutil.rmtree(hidden)

    def remove_dead_drafts(self) -> None:
        """Remove what processes that were killed had begun; the drafts of living ones stay."""
        for draft in self.root.glob("*/draft-*"):
            if draft.name.startswith(_DELETED):  # on its way out, by whoever deletes it
                continue
            if draft.is_dir() and (lock := _lock(draft)) is not None:
                shutil.rmtree(draft, ignore_errors=True)
                os.close(lock)

    def _folder(self, name: str, version: int) -> Path:
        return self.root / name / f"{version:04d}"

    def _numbers(self, name: str) -> list[int]:
        return [int(v.name) for v in (self.root / name).iterdir() if v.name.isdecimal()]

    def _unknown(self, name: str) -> DataError:
        known = self.names()
        near = get_close_matches(name.partition("@")[0], known, n=1)
        listed = f"Datasets: {', '.join(known[:10])}{' ...' if len(known) > 10 else ''}."
        guess = f"Did you mean '{near[0]}'? " if near else ""
        return DataError(
            f"There is no file or dataset '{name}'.",
            hint=guess
            + (listed if known else "Import one: tunesmith data import FILE --name NAME"),
            code="unknown_dataset",
        )

    def _remove_stale_drafts(self, folder: Path) -> None:
        oldest = time.time() - _STALE_SECONDS
        for draft in folder.glob("draft-*"):
            with suppress(FileNotFoundError):
                if draft.stat().st_mtime < oldest:
                    shutil.rmtree(draft, ignore_errors=True)


def _new_holder(folder: Path) -> tuple[Path, int]:
    """A folder for a draft, with a lock that ends with its process, however that ends."""
    while True:
        holder = Path(mkdtemp(prefix="draft-", dir=folder))
        file = os.open(holder, os.O_RDONLY)
        with suppress(OSError):  # without locks here, nobody can take it for a dead one either
            fcntl.flock(file, fcntl.LOCK_EX)
        if holder.is_dir():
            return holder, file
        os.close(file)  # it was looked at, and removed, before it was locked


def _lock(folder: Path) -> int | None:
    """None where a living process has it, or it is gone."""
    try:
        file = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody has it, or this file system has no locks
        os.close(file)
        return None
    return file


def bad_name(name: str) -> DataError:
    return DataError(
        f"'{name}' cannot be the name of a dataset; nothing was changed.",
        hint="Letters and digits, with '-', '_' or '.' between them, at most 100 characters.",
        code="bad_name",
        param="name",
        name=name,
    )


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
