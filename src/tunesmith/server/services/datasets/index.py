"""Rows of datasets and versions, kept together with what lies on the disk.

A version is published on the disk first, then it gets its row. A process that is killed between the
two leaves a version without a row: `mend` gives it one, at the next look at its dataset.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.catalog import bad_name, is_name
from tunesmith.errors import DataError
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict, NotFound
from tunesmith.server.services.datasets.asked import NewDataset
from tunesmith.server.services.submission import find_version
from tunesmith.server.tables import Dataset, DatasetVersion, User

_LONGEST_FOLDER: Final = 150  # bytes
BY: Final = "by"  # of an operation in a manifest: the user
TASK: Final = "task"  # and the task that did it


def reserve(
    session: Session,
    moment: Moment,
    caller: Caller,
    project_id: str,
    new: NewDataset,
    place: DataDir,
) -> Dataset:
    """The row of a dataset that has no version yet; its name and folder are taken from now on."""
    if not is_name(new.name) or new.name.startswith(ids.DATASET_VERSION):
        raise bad_name(new.name)
    refuse_taken(session, project_id, new.name)
    dataset_id = ids.new(ids.DATASET, moment.wall)
    dataset = Dataset(
        id=dataset_id,
        project_id=project_id,
        user_id=caller.user_id,
        name=new.name,
        folder=_free_folder(session, place, new.name, dataset_id),
        description=new.description,
        tags=new.tags,
        licence=new.licence,
        language=new.language,
        role=new.role,
        created_at=moment.wall,
    )
    session.add(dataset)
    session.flush()
    audit(session, moment, caller, "dataset.create", dataset.id, project_id=project_id)
    return dataset


def refuse_taken(session: Session, project_id: str, name: str) -> None:
    taken = session.scalar(
        select(Dataset.id).where(
            Dataset.project_id == project_id, Dataset.name == name, Dataset.deleted_at.is_(None)
        )
    )
    if taken is not None:
        raise Conflict(
            f"There is a dataset {name} in this project already; nothing was changed.",
            hint="Choose another name, or add the rows to that one.",
            code="name_taken",
            name=name,
            id=taken,
        )


def _free_folder(session: Session, place: DataDir, name: str, dataset_id: str) -> str:
    """The name itself where no other project and no earlier dataset has it on the disk."""
    is_known = session.scalar(select(Dataset.id).where(Dataset.folder == name)) is not None
    is_long = len(name.encode()) > _LONGEST_FOLDER
    if not (is_known or is_long or (place.datasets / name).exists()):
        return name
    return dataset_id if is_long else f"{name}-{dataset_id[-8:]}"


def register(
    session: Session, moment: Moment, dataset: Dataset, version: Version, user_id: str | None = None
) -> DatasetVersion:
    """The row of a published version; the one that it has, where another was quicker."""
    hold(session, dataset)
    manifest = version.manifest
    rows = {row.number: row for row in all_versions(session, dataset)}
    known = rows.get(manifest.version)
    if known is not None:
        return known
    parent = rows.get(manifest.parent) if manifest.parent else None
    row = DatasetVersion(
        id=ids.new(ids.DATASET_VERSION, moment.wall),
        dataset_id=dataset.id,
        number=manifest.version,
        parent_id=parent.id if parent else None,
        user_id=user_id or _maker(session, version) or dataset.user_id,
        rows=manifest.rows,
        bytes=manifest.bytes,
        content=manifest.content,
        kinds=dict(manifest.kinds),
        note=manifest.note,
        created_at=moment.wall,
    )
    session.add(row)
    session.flush()
    return row


def mend(database: Database, place: DataDir, dataset: Dataset) -> int:
    """Give versions on the disk that have no row their rows; how many there were."""
    catalog = Catalog(place.root)
    on_disk = set(catalog.versions(dataset.folder))
    with database.read() as session:
        lost = on_disk - {row.number for row in all_versions(session, dataset)}
    if not lost:
        return 0
    with database.write() as session:
        moment = clock.read(session)
        for number in sorted(lost):
            try:
                version = catalog.open(f"{dataset.folder}@{number}")
            except DataError:
                continue  # half removed
            register(session, moment, dataset, version)
    return len(lost)


def all_versions(session: Session, dataset: Dataset) -> list[DatasetVersion]:
    """Deleted ones too, oldest first."""
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id)
    return list(session.scalars(query.order_by(DatasetVersion.number)))


def hold(session: Session, dataset: Dataset) -> None:
    """Until the end of the transaction nobody else numbers or deletes versions of this dataset."""
    found = session.scalar(
        select(Dataset.id)
        .where(Dataset.id == dataset.id, Dataset.deleted_at.is_(None))
        .with_for_update()
    )
    if found is None:
        raise no_dataset(dataset.id)


def dataset_of(
    session: Session, caller: Caller, dataset_id: str, role: Role = Role.VIEWER
) -> Dataset:
    """A dataset by id; NotFound where there is none for the caller."""
    missing = no_dataset(dataset_id)
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.deleted_at is not None:
        raise missing
    caller.require(dataset.project_id, role, missing)
    return dataset


def no_dataset(name: str) -> NotFound:
    return NotFound(f"There is no dataset {name}.", code="dataset_not_found", id=name)


def newest_bytes(session: Session, dataset: Dataset) -> int:
    """Bytes of the newest version that there is; 0 of a dataset without one."""
    there = [row for row in all_versions(session, dataset) if row.deleted_at is None]
    return there[-1].bytes if there else 0


def version_of(session: Session, dataset: Dataset, number: int | None = None) -> DatasetVersion:
    """A version by number, the newest where none is named; NotFound lists what there is."""
    rows = [row for row in all_versions(session, dataset) if row.deleted_at is None]
    found = [row for row in rows if number in (None, row.number)]
    if not found:
        there = ", ".join(str(row.number) for row in rows[-20:])
        raise NotFound(
            f"Dataset {dataset.name} has no version{'' if number is None else f' {number}'}.",
            hint=f"Its versions: {there}." if there else "Its import is not finished, or failed.",
            code="version_not_found",
            param="version",
            name=dataset.name,
            version="" if number is None else number,
            there=there or "-",
            id=dataset.id,
        )
    return found[-1]


def resolve_for_job(
    session: Session, caller: Caller, project_id: str, name: str
) -> tuple[str, str]:
    """(id of the version, FOLDER@N) of `NAME`, `NAME@3` or an id, for a job of this project."""
    caller.require(project_id, Role.VIEWER)
    row = find_version(session, project_id, name)
    if row is None:
        raise NotFound(
            f"There is no dataset {name} in this project.", code="dataset_not_found", id=name
        )
    dataset, version = row
    return version.id, f"{dataset.folder}@{version.number}"


def _maker(session: Session, version: Version) -> str | None:
    """Who made a version, as its manifest says; None for one that the command line made."""
    names: list[Any] = [each.get(BY) for each in version.manifest.operations]
    user = next((name for name in names if isinstance(name, str)), None)
    return user if user and session.get(User, user) is not None else None
