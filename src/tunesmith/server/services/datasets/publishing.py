"""A new version of a dataset: made under a lock, published on the disk, then indexed.

Done again after a crash, a task finds the version that its first try made by the task's id in the
manifest, and makes no second one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunesmith.data.diff import diff
from tunesmith.data.store import Catalog, Draft, Reference, Version
from tunesmith.data.store.catalog import now
from tunesmith.data.tokenise import Progress
from tunesmith.server import clock
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict, Locked
from tunesmith.server.incoming import storing
from tunesmith.server.quotas import Limits, refuse_beyond_storage
from tunesmith.server.services.datasets import index
from tunesmith.server.tables import Dataset, DatasetVersion

Make = Callable[[Catalog, Version | None], Version | None]
_WAIT_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Bench:
    """What a change needs: the platform's places, who asked, and whom to tell how far it is.

    `task_id` is empty for a change that is made while its request waits.
    """

    database: Database
    place: DataDir
    limits: Limits
    caller: Caller
    progress: Progress
    task_id: str = ""

    def catalog(self) -> Catalog:
        return _Signed(self)

    def dataset(self, dataset_id: str) -> Dataset:
        with self.database.read() as session:
            return index.dataset_of(session, self.caller, dataset_id, Role.MEMBER)

    def opened(
        self, dataset_id: str, number: int | None
    ) -> tuple[Dataset, DatasetVersion, Version]:
        """A version to read; its dataset may be of a project that the caller only looks at."""
        with self.database.read() as session:
            dataset = index.dataset_of(session, self.caller, dataset_id)
            row = index.version_of(session, dataset, number)
        return dataset, row, self.catalog().open(Reference(dataset.folder, row.number))


@dataclass(frozen=True)
class Published:
    """What came of a change; `version` is None where nothing changed."""

    dataset: Dataset
    version: DatasetVersion | None


def publish(bench: Bench, dataset: Dataset, make: Make, *, base: int | None = None) -> Published:
    """Let `make` publish the next version of a dataset from its newest one, and index it.

    `base`: the version that the user looked at; Conflict where there is a newer one by now.
    """
    catalog = bench.catalog()
    with _alone(bench, dataset.folder):
        index.mend(bench.database, bench.place, dataset)
        newest, done = _newest(bench, catalog, dataset)
        if done is not None:
            return Published(dataset, done)
        if base is not None and (newest is None or newest.manifest.version != base):
            raise _changed(dataset, base, newest)
        version = make(catalog, newest)
        if version is None:
            return Published(dataset, None)
        return Published(dataset, _indexed(bench, catalog, dataset, version))


def rehearse(
    bench: Bench, dataset: Dataset, make: Make, *, base: int | None = None
) -> dict[str, Any] | None:
    """What `make` would change, as a diff; what it publishes is a draft, which is thrown away.

    None where it changes nothing. `base` as of `publish`; nobody is kept waiting meanwhile.
    """
    newest, _ = _newest(bench, bench.catalog(), dataset)
    if base is not None and (newest is None or newest.manifest.version != base):
        raise _changed(dataset, base, newest)
    with storing(bench.place.datasets):
        stage = Path(tempfile.mkdtemp(prefix="draft-", dir=bench.place.datasets / dataset.folder))
    try:
        version = make(_Rehearsed(bench.place.root, stage), newest)
        if version is None or newest is None:
            return None
        label = f"{dataset.name}@{newest.manifest.version}"
        return diff(newest, version).to_json() | {"before": label, "after": ""}
    finally:
        shutil.rmtree(stage, ignore_errors=True)


class _Rehearsed(Catalog):
    """The catalog, whose new versions come to lie in a folder that is removed soon."""

    def __init__(self, root: Path, stage: Path) -> None:
        super().__init__(root)
        self._stage = stage

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
        number = max(self.versions(name), default=0) + 1
        return draft.publish(
            self._stage / f"{number:04d}",
            created=now(),
            parent=parent,
            note=note,
            operations=operations,
            sources=sources,
        )


def _newest(
    bench: Bench, catalog: Catalog, dataset: Dataset
) -> tuple[Version | None, DatasetVersion | None]:
    """The newest version that is not deleted; the row of one that this task made before."""
    with bench.database.read() as session:
        rows = [row for row in index.all_versions(session, dataset) if row.deleted_at is None]
    if not rows:
        return None, None
    version = catalog.open(Reference(dataset.folder, rows[-1].number))
    made = [each.get(index.TASK) for each in version.manifest.operations]
    return version, rows[-1] if bench.task_id and bench.task_id in made else None


def _indexed(bench: Bench, catalog: Catalog, dataset: Dataset, version: Version) -> DatasetVersion:
    """The row of a version that was just published; the version goes where there is no room."""
    try:
        with bench.database.write() as session:
            moment = clock.read(session)
            refuse_beyond_storage(
                session,
                bench.caller.user_id,
                bench.limits,
                moment,
                version.manifest.bytes,
                lock=True,
            )
            row = index.register(session, moment, dataset, version, bench.caller.user_id)
            audit(
                session,
                moment,
                bench.caller,
                "dataset.publish",
                dataset.id,
                project_id=dataset.project_id,
                version=row.number,
                rows=row.rows,
            )
            return row
    except BaseException:
        catalog.delete(Reference(dataset.folder, version.manifest.version))
        raise


class _Signed(Catalog):
    """The catalog, whose new versions say who made them, and in which task."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.place.root)
        self._signature = {index.BY: bench.caller.user_id} | (
            {index.TASK: bench.task_id} if bench.task_id else {}
        )

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
        signed = [{**each, **self._signature} for each in operations]
        return super().publish(
            draft, name, parent=parent, note=note, operations=signed, sources=sources
        )


@contextmanager
def _alone(bench: Bench, folder: str) -> Generator[None]:
    """Nobody else changes the dataset meanwhile. A task waits; a request gives up soon."""
    locks = bench.place.cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    file = os.open(locks / folder, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + _WAIT_SECONDS
    try:
        while not _taken(file):
            if not bench.task_id and time.monotonic() > until:
                raise Locked(
                    "Another change of this dataset is going on; this one was not made.",
                    hint="Try again in a moment.",
                    code="dataset_locked",
                )
            bench.progress("wait", 0, 0)
            time.sleep(0.05)
        yield
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _changed(dataset: Dataset, base: int, newest: Version | None) -> Conflict:
    now = newest.manifest.version if newest else 0
    return Conflict(
        f"Dataset {dataset.name} is at version {now}; this change was meant for version {base}. "
        "Nothing was changed.",
        hint="Look at the newest version, and make the change there.",
        code="dataset_changed",
        base=base,
        newest=now,
    )
