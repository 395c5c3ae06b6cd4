"""The curves of a finished job as a file of its user: CSV with purpose `fine-tune-results`.

The id of the file is made of the job's, so there is one at most. Its bytes are written before the
job ends, its row in the transaction that ends it: whoever sees the job succeed finds the file.
Bytes whose job did not end after all are written again by the next attempt, or removed as orphans.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server import ids
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.incoming import Incoming
from tunesmith.server.tables import Event, File, Job, MetricPoint

COLUMNS: Final = (
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
_MOST_BYTES: Final = 1 << 30
_ROWS_AT_ONCE: Final = 5000


@dataclass(frozen=True)
class Written:
    """A result file on the disk that has no row yet."""

    bytes: int
    sha256: str


def result_file_id(job_id: str) -> str:
    """file-01kat... of ftjob-01kat...: other files have chance at its place."""
    return ids.FILE + job_id.removeprefix(ids.JOB)


def write(database: Database, place: DataDir, job_id: str) -> Written:
    """Write the curves of a job; the same again replaces them."""
    incoming = Incoming(place.files, most=_MOST_BYTES)
    try:
        with database.read() as session:
            for piece in _pieces(session, job_id):
                incoming.write(piece)
        incoming.keep(_path(place, job_id))
    except BaseException:
        incoming.discard()
        raise
    return Written(incoming.bytes, incoming.sha256)


def add_row(session: Session, job: Job, written: Written, moment: Moment) -> None:
    """The row of the file, in the transaction that ends the job."""
    session.add(
        File(
            id=result_file_id(job.id),
            project_id=job.project_id,
            user_id=job.user_id,
            filename=f"step_metrics-{job.id}.csv",
            purpose="fine-tune-results",
            bytes=written.bytes,
            sha256=written.sha256,
            state="processed",
            created_at=moment.wall,
        )
    )
    session.flush()


def _path(place: DataDir, job_id: str) -> Path:
    return place.file(result_file_id(job_id))


def _pieces(session: Session, job_id: str) -> Iterator[bytes]:
    """Header and rows, some thousands at a time."""
    measured = _evaluations(session, job_id)
    yield _lines([COLUMNS])
    rows: list[list[Any]] = []
    for step, loss, accuracy in _steps(session, job_id):
        # An evaluation is over all validation rows, so it fills the columns of both kinds.
        rows.append([step, loss, accuracy, *(2 * measured.get(step, ("", "")))])
        if len(rows) >= _ROWS_AT_ONCE:
            yield _lines(rows)
            rows = []
    yield _lines(rows)


def _steps(session: Session, job_id: str) -> Iterator[tuple[int, Any, Any]]:
    """Each step once: as it was done last, where a restart did it again."""
    found = session.execute(
        select(MetricPoint.step, MetricPoint.number)
        .where(MetricPoint.job_id == job_id)
        .order_by(MetricPoint.number)
    )
    newest: dict[int, int] = {row.step: row.number for row in found}
    points = session.execute(
        select(MetricPoint.number, MetricPoint.step, MetricPoint.data)
        .where(MetricPoint.job_id == job_id)
        .order_by(MetricPoint.step, MetricPoint.number)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    for number, step, data in points:
        if newest[step] == number:
            yield step, _text(data.get("loss")), _text(data.get("token_accuracy"))


def _evaluations(session: Session, job_id: str) -> dict[int, tuple[Any, Any]]:
    found = session.scalars(
        select(Event.data)
        .where(Event.job_id == job_id, Event.type == "evaluation")
        .order_by(Event.number)
    )
    return {
        int(data["step"]): (_text(data.get("loss")), _text(data.get("token_accuracy")))
        for data in found
    }


def _text(value: Any) -> Any:
    return "" if value is None else value


def _lines(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
