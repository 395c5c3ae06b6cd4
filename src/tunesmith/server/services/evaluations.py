"""Evaluations: a model scored on rows, or compared with its base; and the gate before deployments.

The work is a background task (task_kinds/evaluations.py): both models answer through deployments of
their own, so they are started, shared and stopped like all others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.errors import InputError
from tunesmith.recipe import parse_recipe
from tunesmith.recipe.gate import Gate
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.deployments.sources import base_under
from tunesmith.server.errors import Conflict, NotFound
from tunesmith.server.paging import Page, page
from tunesmith.server.services.evaluation_rows import Rows, rows_of
from tunesmith.server.services.models import model_of, resolve_base
from tunesmith.server.services.submission import find_version
from tunesmith.server.services.tasks import Tasks
from tunesmith.server.settings import Settings
from tunesmith.server.tables import Evaluation, Job, Model, Task
from tunesmith.server.tasks import FINAL

log = logging.getLogger("tunesmith.server")
KIND: Final = "evaluation"
_REPORTS: Final = {"en": "report.html", "zh": "report.zh.html"}


@dataclass(frozen=True)
class EvaluationOrder:
    """What to find out. Rows come from `dataset`, or from the test rows of the job `job_id`.

    `base` names the model to compare with; empty: the one under an adapter, or that the job started
    from. `compares=False` scores the model alone.
    """

    model: str
    base: str = ""
    compares: bool = True
    dataset: str = ""
    job_id: str = ""
    split: str = "test"
    scores: Sequence[str] = ()
    max_rows: int | None = None
    gate: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class _Rows:
    """The rows of an order: `reference` is what the task reads."""

    reference: str
    name: str
    version_id: str | None = None
    job_id: str | None = None


class Evaluations:
    """Begin, list, look, read the report, delete."""

    def __init__(
        self, database: Database, place: DataDir, tasks: Tasks, settings: Settings
    ) -> None:
        self._database, self._place = database, place
        self._tasks, self._settings = tasks, settings

    def create(
        self, caller: Caller, order: EvaluationOrder, project_id: str | None
    ) -> tuple[Evaluation, Task]:
        """Begin one in the background; InputError or NotFound for what it names wrongly."""
        project_id = caller.chosen(project_id, Role.MEMBER)
        self._refuse_programs(order.scores)
        gate = gate_of(order.gate)
        with self._database.write() as session:
            general = self._general(session, gate.own_general, project_id)
            order = replace(order, gate={**order.gate, **general})
            made = self._create(session, clock.read(session), caller, order, project_id)
        self._tasks.on_submit()
        return made

    def list(
        self,
        caller: Caller,
        project_id: str | None = None,
        *,
        model_id: str | None = None,
        job_id: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Evaluation]:
        """Newest first."""
        query = select(Evaluation).where(
            Evaluation.project_id.in_(caller.viewed(project_id)), Evaluation.deleted_at.is_(None)
        )
        if model_id:
            query = query.where(Evaluation.model_id == model_id)
        if job_id:
            query = query.where(Evaluation.job_id == job_id)
        with self._database.read() as session:
            return page(session, query, Evaluation.id, after=after, limit=limit)

    def states(self, evaluations: Sequence[Evaluation]) -> dict[str, Task]:
        """The tasks of some evaluations, by the id of the evaluation."""
        wanted = {row.task_id: row.id for row in evaluations}
        with self._database.read() as session:
            rows = session.scalars(select(Task).where(Task.id.in_(sorted(wanted))))
            return {wanted[task.id]: task for task in rows}

    def get(self, caller: Caller, evaluation_id: str) -> tuple[Evaluation, Task]:
        with self._database.read() as session:
            row = _found(session, caller, evaluation_id, Role.VIEWER)
            return row, session.get_one(Task, row.task_id)

    def document(self, caller: Caller, evaluation_id: str) -> dict[str, Any]:
        """All that was found, with wins and losses by row; reasons in the caller's language."""
        # Here, as they bring numpy, which a server that starts does not wait for.
        from tunesmith.evaluation.report.texts import reason_text
        from tunesmith.evaluation.verdict import Reason

        row, _ = self.get(caller, evaluation_id)
        name = "comparison.json" if row.base else "scores.json"
        found = orjson.loads(self._file(caller, evaluation_id, name).read_bytes())
        found["data"] = row.data  # what the task read may be a path of this machine
        for reason in found.get("reasons", ()):
            reason["text"] = reason_text(Reason(**reason), caller.language)
        return found

    def rows(
        self,
        caller: Caller,
        evaluation_id: str,
        *,
        score: str = "",
        outcome: str = "",
        skip: int = 0,
        limit: int = 100,
    ) -> Rows:
        """Question, reference and answers, the rows that differ most first."""
        document = self.document(caller, evaluation_id)
        folder = self._place.evaluations / evaluation_id
        return rows_of(folder, document, score=score, outcome=outcome, skip=skip, limit=limit)

    def report(self, caller: Caller, evaluation_id: str, language: str) -> Path:
        """The report as one page without outside requests."""
        return self._file(caller, evaluation_id, _REPORTS.get(language, _REPORTS["en"]))

    def delete(self, caller: Caller, evaluation_id: str) -> None:
        """No longer listed, and its verdict counts no more; refused while it is at work."""
        with self._database.write() as session:
            moment = clock.read(session)
            row = _found(session, caller, evaluation_id, Role.MEMBER)
            task = session.get_one(Task, row.task_id)
            if task.state not in FINAL:
                raise Conflict(
                    f"Evaluation {row.id} is at work.",
                    hint=f"Cancel its task {task.id} first.",
                    code="evaluation_running",
                    id=row.id,
                    task_id=task.id,
                )
            row.deleted_at = moment.wall
            audit(
                session, moment, caller, "evaluation.delete", row.id,
                project_id=row.project_id, model=row.model, verdict=row.verdict,
            )  # fmt: skip

    def follow_trainings(self) -> int:
        """Begin a comparison for each result whose job has test rows and none yet; how many."""
        with self._database.read() as session:
            begun = select(Evaluation.job_id).where(Evaluation.job_id.is_not(None))
            rows = session.execute(
                select(Job, Model)
                .join(Model, Model.job_id == Job.id)
                .where(
                    Job.status == "succeeded",
                    Job.deleted_at.is_(None),
                    Job.id.not_in(begun),
                    Model.checkpoint_id.is_(None),
                    Model.deleted_at.is_(None),
                )
                .order_by(Job.id.desc())
                .limit(20)
            ).all()
        due = [(job, model) for job, model in rows if self._has_test_rows(job)]
        for job, model in due:
            caller = Caller(
                job.user_id, "", roles={job.project_id: Role.MEMBER}, project_id=job.project_id
            )
            gate = dict(job.recipe.get("gate") or {})
            try:
                order = EvaluationOrder(model.id, job_id=job.id, gate=gate)
                self.create(caller, order, job.project_id)
            except InputError as error:  # its general questions were deleted meanwhile
                log.warning("%s: %s", job.id, error.message)
                order = EvaluationOrder(model.id, job_id=job.id, gate=gate | {"general": "none"})
                self.create(caller, order, job.project_id)
        return len(due)

    def _refuse_programs(self, scores: Sequence[str]) -> None:
        if "code" in scores and not self._settings.model_programs:
            raise InputError(
                "The score `code` runs what a model wrote, which an administrator has not allowed "
                "here; nothing was begun.",
                hint="Ask for the setting model_programs, or leave the score out.",
                code="model_programs_not_allowed",
                param="scores",
            )

    def _has_test_rows(self, job: Job) -> bool:
        return (self._place.run(job.id) / "data" / "test_rows.json").is_file()

    def _create(
        self,
        session: Session,
        moment: Moment,
        caller: Caller,
        order: EvaluationOrder,
        project_id: str,
    ) -> tuple[Evaluation, Task]:
        model, name = self._model(session, caller, order.model, project_id)
        rows = self._rows(session, caller, order, project_id)
        base = self._base(session, caller, order, model, project_id) if order.compares else ""
        evaluation_id = ids.new(ids.EVALUATION, moment.wall)
        params = {"order": asdict(order) | {"scores": list(order.scores)}, "rows": rows.reference}
        task = self._tasks.add(
            session, moment, caller, KIND,
            params | {"evaluation_id": evaluation_id}, project_id=project_id, target=evaluation_id,
        )  # fmt: skip
        row = Evaluation(
            id=evaluation_id,
            project_id=project_id,
            user_id=caller.user_id,
            task_id=task.id,
            model_id=model.id if model else None,
            model=name,
            base=base,
            job_id=rows.job_id,
            dataset_version_id=rows.version_id,
            data=rows.name,
            created_at=moment.wall,
        )
        session.add(row)
        session.flush()
        audit(
            session, moment, caller, "evaluation.create", row.id,
            project_id=project_id, model=name, base=base, data=rows.name,
        )  # fmt: skip
        return row, task

    def _model(
        self, session: Session, caller: Caller, name: str, project_id: str
    ) -> tuple[Model | None, str]:
        base = resolve_base(
            session, caller, name, project_id, hub_downloads=self._settings.hub_downloads
        )
        return base.model, base.model.name if base.model else base.name

    def _base(
        self,
        session: Session,
        caller: Caller,
        order: EvaluationOrder,
        model: Model | None,
        project_id: str,
    ) -> str:
        """The name of the model to compare with."""
        if order.base:
            return self._model(session, caller, order.base, project_id)[1]
        if model is None or (model.kind != "adapter" and model.job_id is None):
            raise InputError(
                f"{order.model} rests on no other model, so there is nothing to compare it with.",
                hint="Name a base, or set compares to false.",
                code="no_base_to_compare",
                model=order.model,
                param="base",
            )
        below = base_under(session, model) if model.kind == "adapter" else model.base
        if below.startswith(ids.MODEL):
            return model_of(session, caller, below).name
        return below

    def _rows(
        self, session: Session, caller: Caller, order: EvaluationOrder, project_id: str
    ) -> _Rows:
        if bool(order.dataset) == bool(order.job_id):
            raise InputError(
                "Rows come either from a dataset or from a job with test rows.",
                hint="Name one of `dataset` and `job_id`.",
                code="rows_unclear",
                param="dataset",
            )
        if order.job_id:
            return self._rows_of_job(session, caller, order.job_id)
        if order.dataset.startswith("builtin:"):
            return _Rows(order.dataset, order.dataset)
        found = find_version(session, project_id, order.dataset)
        if found is None:
            raise NotFound(
                f"There is no dataset {order.dataset} in this project.",
                code="dataset_not_found",
                param="dataset",
                id=order.dataset,
            )
        dataset, version = found
        reference = f"{dataset.folder}@{version.number}"
        return _Rows(reference, f"{dataset.name}@{version.number}", version.id)

    def _general(self, session: Session, name: str, project_id: str) -> dict[str, str]:
        """General questions of one's own by the name of a dataset: never a path on this machine."""
        if not name:
            return {}
        found = find_version(session, project_id, name)
        if found is None:
            raise InputError(
                f"There is no dataset {name} in this project.",
                hint="Name one, `builtin:probe`, or `none`.",
                code="dataset_not_found",
                param="gate.general",
                id=name,
            )
        return {"general": f"{found[0].folder}@{found[1].number}"}

    def _rows_of_job(self, session: Session, caller: Caller, job_id: str) -> _Rows:
        job = session.get(Job, job_id)
        missing = NotFound(f"There is no job {job_id}.", code="job_not_found", id=job_id)
        if job is None or job.deleted_at is not None:
            raise missing
        caller.require(job.project_id, Role.VIEWER, missing)
        if not self._has_test_rows(job):
            raise InputError(
                f"Job {job.name} has set no test rows apart.",
                hint="Name a dataset, or train with data.test in the recipe.",
                code="no_test_rows",
                name=job.name,
                param="job_id",
            )
        return _Rows(str(self._place.run(job.id)), f"test rows of {job.name}", job_id=job.id)

    def _file(self, caller: Caller, evaluation_id: str, name: str) -> Path:
        row, task = self.get(caller, evaluation_id)
        file = self._place.evaluations / row.id / name
        if row.finished_at is None or not file.is_file():
            raise Conflict(
                f"Evaluation {row.id} has no result: its task is {task.state}.",
                hint="GET /api/v1/tasks/ID tells how far it is, or why it failed.",
                code="evaluation_unfinished",
                id=row.id,
                status=task.state,
            )
        return file


def refuse_closed_gate(session: Session, model: Model, gate: str) -> None:
    """Conflict for a model that its newest verdict keeps out, as the setting of the gate says."""
    newest = session.scalars(
        select(Evaluation)
        .where(
            Evaluation.model_id == model.id,
            Evaluation.verdict.is_not(None),
            Evaluation.deleted_at.is_(None),
        )
        .order_by(Evaluation.id.desc())
        .limit(1)
    ).one_or_none()
    kept_out = {"promote": ("hold", "reject"), "reject": ("reject",)}.get(gate, ())
    if newest is None or newest.verdict not in kept_out:
        return
    raise Conflict(
        f"Model {model.name} did not pass: the verdict of {newest.id} is {newest.verdict}. "
        f"{newest.summary.get('because', '')}".strip(),
        hint="Look at the report; an admin of the project may deploy it all the same.",
        code="gate_closed",
        name=model.name,
        evaluation_id=newest.id,
        verdict=newest.verdict,
    )


def gate_of(rules: Mapping[str, Any]) -> Gate:
    """The rules as a recipe has them; RecipeError with every one that is wrong."""
    frame = {"model": {"base": "any"}, "data": {"train": ["any"]}, "gate": dict(rules)}
    return parse_recipe(frame).gate


def _found(session: Session, caller: Caller, evaluation_id: str, role: Role) -> Evaluation:
    missing = NotFound(
        f"There is no evaluation {evaluation_id[:200]}.",
        code="evaluation_not_found",
        id=evaluation_id[:200],
    )
    row = session.get(Evaluation, evaluation_id)
    if row is None or row.deleted_at is not None:
        raise missing
    caller.require(row.project_id, role, missing)
    return row
