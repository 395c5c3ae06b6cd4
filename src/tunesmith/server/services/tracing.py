"""From the wrong answers of an evaluation to the training rows behind them, and on from there.

Both are background tasks (task_kinds/tracing.py): one looks for the rows, the other publishes the
data with what was changed in it and submits the job that goes on from the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from tunesmith.errors import InputError
from tunesmith.server import clock
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict, NotFound
from tunesmith.server.services.evaluations import Evaluations
from tunesmith.server.services.tasks import Tasks
from tunesmith.server.tables import (
    Dataset,
    DatasetVersion,
    Evaluation,
    Job,
    JobDataset,
    Model,
    Task,
)
from tunesmith.server.tasks import FINAL

TRACE: Final = "evaluation.trace"
RETRAIN: Final = "evaluation.retrain"
FILE: Final = "trace.json"


@dataclass(frozen=True)
class TraceOrder:
    """Which rows have failed, and how much to find; see tunesmith.evaluation.tracing.trace."""

    score: str | None = None
    below: float | None = None
    failures: int = 20
    neighbours: int = 5
    measure: bool = False


@dataclass(frozen=True)
class ChangedRow:
    """A row of a dataset that says something else."""

    dataset_id: str
    row: int
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class RemovedRow:
    """A row of a dataset that the next version does not have."""

    dataset_id: str
    row: int


@dataclass(frozen=True)
class RetrainOrder:
    """What to change in the data, and the name of the next job; empty: that of the job, -next."""

    changes: Sequence[ChangedRow] = field(default_factory=list[ChangedRow])
    removals: Sequence[RemovedRow] = field(default_factory=list[RemovedRow])
    name: str = ""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> RetrainOrder:
        """An order as the parameters of a task have it."""
        changes = [ChangedRow(**each) for each in told["changes"]]
        return cls(changes, [RemovedRow(**each) for each in told["removals"]], told["name"])

    @property
    def dataset_ids(self) -> list[str]:
        """Those with a change, each once."""
        return list(dict.fromkeys(each.dataset_id for each in (*self.changes, *self.removals)))


class Tracing:
    """Look for the rows, read what was found, train on."""

    def __init__(
        self, database: Database, place: DataDir, tasks: Tasks, evaluations: Evaluations
    ) -> None:
        self._database, self._place = database, place
        self._tasks, self._evaluations = tasks, evaluations

    def begin(self, caller: Caller, evaluation_id: str, order: TraceOrder) -> Task:
        """Look for the training rows behind the wrong answers; an earlier trace is replaced."""
        row, job = self._trained(caller, evaluation_id)
        with self._database.write() as session:
            task = self._tasks.add(
                session, clock.read(session), caller, TRACE,
                {"evaluation_id": row.id, "job_id": job.id, "order": asdict(order)},
                project_id=row.project_id, target=row.id,
            )  # fmt: skip
        self._tasks.on_submit()
        return task

    def found(self, caller: Caller, evaluation_id: str) -> dict[str, Any] | None:
        """What the last trace found; None where there was none yet."""
        row, _ = self._evaluations.get(caller, evaluation_id)
        try:
            return orjson.loads((self._place.evaluations / row.id / FILE).read_bytes())
        except FileNotFoundError:
            return None

    def retrain(self, caller: Caller, evaluation_id: str, order: RetrainOrder) -> Task:
        """Publish the data with the changes, and go on training from the result with it."""
        row, job = self._trained(caller, evaluation_id)
        _refuse_contradictions(order)
        with self._database.write() as session:
            self._refuse_strangers(session, job, order)
            moment = clock.read(session)
            task = self._tasks.add(
                session, moment, caller, RETRAIN,
                {"evaluation_id": row.id, "job_id": job.id, "model_id": row.model_id,
                 "order": asdict(order)},
                project_id=row.project_id, target=row.id,
            )  # fmt: skip
            audit(
                session, moment, caller, "evaluation.retrain", row.id, project_id=row.project_id,
                model=row.model, changed=len(order.changes), removed=len(order.removals),
            )  # fmt: skip
        self._tasks.on_submit()
        return task

    def _trained(self, caller: Caller, evaluation_id: str) -> tuple[Evaluation, Job]:
        """A finished evaluation and the job that made its model."""
        row, task = self._evaluations.get(caller, evaluation_id)
        caller.require(row.project_id, Role.MEMBER)
        if row.finished_at is None:
            raise Conflict(
                f"Evaluation {row.id} has no result: its task is {task.state}.",
                hint="Wait for its end." if task.state not in FINAL else "Begin it again.",
                code="evaluation_unfinished",
                id=row.id,
                status=task.state,
            )
        with self._database.read() as session:
            model = session.get(Model, row.model_id) if row.model_id else None
            job = session.get(Job, model.job_id) if model is not None and model.job_id else None
        if job is None or job.deleted_at is not None:
            raise InputError(
                f"No job of this installation has made {row.model}, so its training rows are "
                "not known.",
                hint="Choose an evaluation of a model that was trained here, whose job is there.",
                code="not_trained_here",
                model=row.model,
            )
        return row, job

    @staticmethod
    def _refuse_strangers(session: Session, job: Job, order: RetrainOrder) -> None:
        """NotFound for changes of a dataset that the job did not learn from."""
        known = set(session.scalars(learned_from(job.id)))
        for dataset_id in order.dataset_ids:
            if dataset_id not in known:
                raise NotFound(
                    f"Job {job.name} did not learn from a dataset {dataset_id[:100]}.",
                    hint="Change rows of the datasets that the trace names.",
                    code="not_learned_from",
                    name=job.name,
                    id=dataset_id[:100],
                    param="changes",
                )


def _refuse_contradictions(order: RetrainOrder) -> None:
    """InputError for a row that is to be changed and to be removed."""
    changed = {(each.dataset_id, each.row) for each in order.changes}
    for each in order.removals:
        if (each.dataset_id, each.row) in changed:
            raise InputError(
                f"Row {each.row} is changed and removed at once.",
                hint="Name it in `changes` or in `removals`.",
                code="changed_and_removed",
                row=each.row,
                param="removals",
            )


def learned_from(job_id: str) -> Select[str]:
    """The ids of the datasets with rows that a job was trained on."""
    return (
        select(Dataset.id)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .join(JobDataset, JobDataset.dataset_version_id == DatasetVersion.id)
        .where(JobDataset.job_id == job_id, JobDataset.role == "train")
        .distinct()
    )
