"""The rows of a training file as a dataset version, so that models know what they were trained on.

A file becomes one dataset, named by its id; every job with the file uses the same version.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.data.check.check import Report
from tunesmith.data.check.duplicates import leaking
from tunesmith.data.check.findings import Finding
from tunesmith.data.check.inspect import Wanted
from tunesmith.data.check.openai_rules import MIN_LINES, Purpose
from tunesmith.data.check.rules import rule_of
from tunesmith.data.importing import NothingUsable, read_into, told_sources
from tunesmith.data.store import Catalog, Reference, Version
from tunesmith.data.subject import Files
from tunesmith.errors import DataError
from tunesmith.recipe import Dataset as Reading
from tunesmith.server import clock, ids
from tunesmith.server.access import audit
from tunesmith.server.clock import Moment
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import NotFound, QuotaExceeded
from tunesmith.server.quotas import Limits, refuse_beyond_storage
from tunesmith.server.services.datasets import index
from tunesmith.server.services.files import present_file
from tunesmith.server.tables import Dataset, DatasetVersion, File
from tunesmith.server.task_context import TaskContext

_TOLD: Final = {"training_file": "Training", "validation_file": "Validation"}
_MEND: Final = "Correct the file, upload it again, and make a new job; the old file is kept."
_INVALID: Final = {
    "training_file": "invalid_training_file",
    "validation_file": "invalid_validation_file",
}


class FileRefused(DataError):
    """A file cannot be used: `code`, `param` and message are those of a failed job."""


@dataclass(frozen=True)
class Used:
    """A dataset version that was made of a file."""

    version_id: str
    reference: str  # FOLDER@N, as the worker reads it
    rows: int


def version_of_file(context: TaskContext, file_id: str, param: str, purpose: Purpose) -> Used:
    """The version of a file, made where there is none yet; FileRefused for a bad file.

    `purpose`: what its lines have to be for.
    """
    platform = context.platform
    with platform.database.read() as session:
        try:
            file = present_file(session, context.caller, file_id)
        except NotFound as error:
            raise _invalid("The file was deleted before it was read", param) from error
        note = _note(file, purpose)
        known = _known(session, file, note)
    if known is not None:
        return known
    catalog = Catalog(platform.place.root)
    version = _published(catalog, file, note)
    version = version or _publish(context, catalog, file, param, purpose)
    try:
        return _register(context, file, version)
    except QuotaExceeded:
        catalog.delete(Reference(file.id, version.manifest.version))
        raise


def refuse_overlap(place: DataDir, training: Used, validation: Used) -> None:
    """FileRefused where a row stands in both files."""
    catalog = Catalog(place.root)
    digests: list[npt.NDArray[Any]] = [
        catalog.open(used.reference).column("digest") for used in (training, validation)
    ]
    trained, held = leaking(digests[0], digests[1])
    if len(held):
        raise FileRefused(
            "The job failed due to an invalid validation file. "
            f"{len(held)} of its examples also stand in the training file; the first is example "
            f"{int(np.min(held)) + 1}, example {int(trained[np.argmin(held)]) + 1} there",
            hint=_MEND,
            code="invalid_validation_file",
            form="overlap",
            count=len(held),
            first=int(np.min(held)) + 1,
            there=int(trained[np.argmin(held)]) + 1,
            param="validation_file",
        )


def _known(session: Session, file: File, note: str) -> Used | None:
    row = session.execute(
        select(Dataset, DatasetVersion)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .where(
            Dataset.folder == file.id,
            Dataset.deleted_at.is_(None),
            DatasetVersion.deleted_at.is_(None),
            # Others are for another purpose, or what users made of it later.
            DatasetVersion.note == note,
        )
        .order_by(DatasetVersion.number)
        .limit(1)
    ).first()
    if row is None:
        return None
    return Used(row[1].id, f"{row[0].folder}@{row[1].number}", row[1].rows)


def _note(file: File, purpose: Purpose) -> str:
    return f"From file {file.id}" + ("" if purpose == "supervised" else f", for {purpose}")


def _published(catalog: Catalog, file: File, note: str) -> Version | None:
    """What a task before this one published and could not register any more."""
    versions = (catalog.open(Reference(file.id, n)) for n in catalog.versions(file.id))
    return next((each for each in versions if each.manifest.note == note), None)


def _publish(
    context: TaskContext, catalog: Catalog, file: File, param: str, purpose: Purpose
) -> Version:
    """Read, check and store the rows in one pass; nothing of a bad file is published."""

    def progress(activity: str, done: float, total: float) -> None:
        context.progress(done, total, "bytes", activity)

    with tempfile.TemporaryDirectory() as folder:
        # Readers go by the ending of a name, and stored files have none.
        path = Path(folder) / "file.jsonl"
        path.symlink_to(context.platform.place.file(file.id))
        files = Files(file.filename, [path], Reading(dataset=file.id))
        with catalog.draft(file.id) as draft:
            wanted = Wanted(near=False, openai=purpose)
            try:
                report = read_into(draft, files, wanted=wanted, processes=1, on_progress=progress)
            except DataError as error:
                raise _unusable(error, path, param) from error
            _refuse_bad(report, param)
            sources = told_sources(files, report, catalog)
            named = [{**source, "file": file.filename} for source in sources]
            return catalog.publish(
                draft,
                file.id,
                note=_note(file, purpose),
                operations=[{"operation": "import", "files": [file.filename]}],
                sources=named,
            )


def _refuse_bad(report: Report, param: str) -> None:
    if report.rows_read < MIN_LINES:
        raise _too_few(report.rows_read, param)
    wrong = _first_wrong(report)
    if wrong is not None:
        raise _invalid(_told(wrong), param)


def _first_wrong(report: Report) -> Finding | None:
    return min(filter(_is_refused, report.findings), key=_order, default=None)


def _order(finding: Finding) -> tuple[int, int]:
    """The first row that is wrong, and of several faults in it the one that is deepest inside."""
    place = next(iter(finding.places), None)
    return (0, 0) if place is None else (place.line, -len(place.field))


def _is_refused(finding: Finding) -> bool:
    return rule_of(finding.code).severity == "error" and finding.code != "invalid_n_examples"


def _told(finding: Finding) -> str:
    """Example 536, messages[1].content: A message has no content (missing_content; 3 examples)"""
    place = next(iter(finding.places), None)
    where = "" if place is None or not place.line else f"Example {place.line}"
    if place is not None and place.field:
        where += f", {place.field}"
    many = "" if finding.count <= 1 else f"; {finding.count} examples"
    title = rule_of(finding.code).en
    told = f"{where}: {title}" if where else title
    return f"Invalid file format. {told} ({finding.code}{many})"


def _unusable(error: DataError, path: Path, param: str) -> FileRefused:
    """No row at all could be used: too few, or all of them wrong."""
    with path.open("rb") as file:
        lines = sum(1 for line in file if line.strip())
    if lines < MIN_LINES:
        return _too_few(lines, param)
    wrong = None
    if isinstance(error, NothingUsable) and error.report is not None:
        wrong = _first_wrong(error.report)
    return _invalid(error.message if wrong is None else _told(wrong), param)


def _too_few(rows: int, param: str) -> FileRefused:
    return FileRefused(
        f"{_TOLD[param]} file has {rows} example(s), but must have at least {MIN_LINES} examples",
        hint="Add examples, upload the file again, and make a new job.",
        code="invalid_n_examples",
        rows=rows,
        least=MIN_LINES,
        param=param,
    )


def _invalid(why: str, param: str) -> FileRefused:
    kind = param.removesuffix("_file")
    return FileRefused(
        f"The job failed due to an invalid {kind} file. {why}",
        hint=_MEND,
        code=_INVALID[param],
        param=param,
    )


def _register(context: TaskContext, file: File, version: Version) -> Used:
    """The rows of dataset and version; those of another task that was quicker, where there are."""
    platform, caller = context.platform, context.caller
    with platform.database.write() as session:
        moment = clock.read(session)
        refuse_beyond_storage(
            session,
            file.user_id,
            Limits.of(platform.settings),
            moment,
            version.manifest.bytes,
            lock=True,
        )
        known = _known(session, file, version.manifest.note)
        if known is not None:
            return known
        dataset = _dataset_row(session, file, moment)
        row = index.register(session, moment, dataset, version, file.user_id)
        row.deleted_at = None
        audit(
            session,
            moment,
            caller,
            "dataset.publish",
            dataset.id,
            project_id=file.project_id,
            file=file.id,
            rows=row.rows,
        )
        return Used(row.id, f"{dataset.folder}@{row.number}", row.rows)


def _dataset_row(session: Session, file: File, moment: Moment) -> Dataset:
    """The dataset of a file; one that was deleted is there again."""
    row = session.scalars(select(Dataset).where(Dataset.folder == file.id)).one_or_none()
    if row is None:
        row = Dataset(
            id=ids.new(ids.DATASET, moment.wall),
            project_id=file.project_id,
            user_id=file.user_id,
            name=file.id,
            folder=file.id,
            description=f"Rows of {file.filename}",
            created_at=moment.wall,
        )
        session.add(row)
    row.deleted_at = None
    session.flush()
    return row
