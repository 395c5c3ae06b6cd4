"""Deployments: models that people may ask. `Deployments.target` is what a question goes through.

Every model that a member may see can be asked: the first question makes a deployment and starts
it, and it stops by itself when nobody asks any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import orjson
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from tunesmith.errors import TunesmithError
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.deployments.evaluated import forget
from tunesmith.server.deployments.sources import (
    Source,
    refuse_unserved,
    source_of,
)
from tunesmith.server.deployments.states import BASE_NAME, WANTED, Status, transition
from tunesmith.server.errors import Conflict, DeploymentNotReady, NotFound
from tunesmith.server.paging import Page, page
from tunesmith.server.services.checkpoints import model_of_checkpoint
from tunesmith.server.services.evaluations import refuse_closed_gate
from tunesmith.server.services.models import resolve_base
from tunesmith.server.services.openai.named import find_checkpoint, is_checkpoint
from tunesmith.server.settings import Settings
from tunesmith.server.tables import AskedRequest, Deployment, Model, Serving

_MOST_TEXT: Final = 64 << 10  # of one kept question or answer
_USED_SECONDS: Final = 5.0  # how exactly it is known when a deployment was asked last


@dataclass(frozen=True)
class Target:
    """Where a question goes: an address, its key, and what the model is called there."""

    deployment_id: str
    name: str
    address: str
    secret: str
    served_as: str
    keeps_requests: bool


@dataclass
class Asked:
    """One question and how it went; texts are empty where they are not to be kept."""

    kind: str
    status_code: int = 200
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    first_token_seconds: float | None = None
    question: list[Any] | None = None
    answer: str | None = None


@dataclass(frozen=True)
class DeploymentOrder:
    """What to deploy and how; `model` is a name or id of a model or checkpoint."""

    model: str
    name: str = ""
    autostart: bool = True
    idle_seconds: int | None = None
    keeps_requests: bool = True
    starts: bool = True
    overrides_gate: bool = False  # deploy what did not pass: admins of the project only
    override_reason: str = ""


class Deployments:
    """Create, start, stop, ask, look, delete."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    def create(self, caller: Caller, order: DeploymentOrder, project_id: str | None) -> Deployment:
        """A deployment of a model, which starts at once unless the order says otherwise.

        Conflict for a model whose newest verdict is not `promote`.
        """
        project_id = caller.chosen(project_id, Role.MEMBER)
        if order.overrides_gate:
            caller.require(project_id, Role.ADMIN)
        with self._database.write() as session:
            row = self._create(session, clock.read(session), caller, order, project_id)
            self._refuse_unfit(session, row)
            return row

    def create_unchecked(
        self, caller: Caller, order: DeploymentOrder, project_id: str | None
    ) -> Deployment:
        """The same for an evaluation, which is how a model gets its verdict.

        What an earlier try of it left under this name goes: it may be in any state.
        """
        project_id = caller.chosen(project_id, Role.MEMBER)
        with self._database.write() as session:
            if (left := _named(session, order.name, [project_id])) is not None:
                forget(session, left, clock.read(session))
                session.flush()
            return self._create(session, clock.read(session), caller, order, project_id)

    def list(
        self,
        caller: Caller,
        project_id: str | None = None,
        *,
        status: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Deployment]:
        """Newest first."""
        query = select(Deployment).where(
            Deployment.project_id.in_(caller.viewed(project_id)), Deployment.deleted_at.is_(None)
        )
        if status:
            query = query.where(Deployment.status == status)
        with self._database.read() as session:
            return page(session, query, Deployment.id, after=after, limit=limit)

    def source_of(self, caller: Caller, model: str, project_id: str | None) -> Source:
        """What a deployment of this model would have in memory."""
        project_id = caller.chosen(project_id, Role.MEMBER)
        with self._database.write() as session:
            moment = clock.read(session)
            return self._resolve(session, moment, caller, model, project_id)[1]

    def get(self, caller: Caller, deployment_id: str) -> Deployment:
        with self._database.read() as session:
            return _found(session, caller, deployment_id, Role.VIEWER)

    def start(self, caller: Caller, deployment_id: str) -> Deployment:
        """It is started, unless it is on its way or ready already."""
        with self._database.write() as session:
            moment = clock.read(session)
            row = _found(session, caller, deployment_id, Role.MEMBER, lock=True)
            if row.status not in WANTED:
                self._refuse_unfit(session, row)
                _start(session, row, moment)
                _audit(session, moment, caller, "start", row)
            return row

    def stop(self, caller: Caller, deployment_id: str) -> Deployment:
        """It lets go of its memory; a question starts it again where `autostart` says so."""
        with self._database.write() as session:
            moment = clock.read(session)
            row = _found(session, caller, deployment_id, Role.MEMBER, lock=True)
            if row.status != Status.STOPPED:
                transition(session, row, Status.STOPPED, moment, reason="user", num_failures=0)
                _audit(session, moment, caller, "stop", row)
            return row

    def update(self, caller: Caller, deployment_id: str, **changes: Any) -> Deployment:
        """When it starts and stops by itself, and whether questions are kept."""
        with self._database.write() as session:
            moment = clock.read(session)
            row = _found(session, caller, deployment_id, Role.MEMBER, lock=True)
            for column, value in changes.items():
                setattr(row, column, value)
            _audit(session, moment, caller, "update", row, **changes)
            return row

    def delete(self, caller: Caller, deployment_id: str) -> None:
        """The model stays; what was asked goes with the deployment."""
        with self._database.write() as session:
            moment = clock.read(session)
            row = _found(session, caller, deployment_id, Role.MEMBER, lock=True)
            if row.status != Status.STOPPED:
                transition(session, row, Status.STOPPED, moment, reason="deleted")
            row.deleted_at = moment.wall
            session.execute(delete(AskedRequest).where(AskedRequest.deployment_id == row.id))
            _audit(session, moment, caller, "delete", row)

    def requests(
        self, caller: Caller, deployment_id: str, *, after: str | None = None, limit: int = 100
    ) -> Page[AskedRequest]:
        """What was asked, newest first; by members, since the texts are those of users."""
        query = select(AskedRequest).where(AskedRequest.deployment_id == deployment_id)
        with self._database.read() as session:
            _found(session, caller, deployment_id, Role.MEMBER)
            return page(session, query, AskedRequest.id, after=after, limit=limit)

    # ------------------------------------------------------------ questions

    def target(self, caller: Caller, name: str) -> Target | None:
        """Where a question to this model goes; None while it is being started.

        A model without a deployment gets one. DeploymentNotReady where it has failed, or may not
        start by itself.
        """
        with self._database.read() as session:
            moment = clock.read(session)
            row = _by_name(session, caller, name)
            serving = session.get(Serving, row.serving_id) if row and row.serving_id else None
        if row is None:
            self._deploy_unasked(caller, name)
            return None
        caller.require(row.project_id, Role.VIEWER)
        if row.status == Status.READY and serving is not None:
            self._used(row, moment)
            return _target(row, serving)
        if row.status == Status.FAILED:
            raise _has_failed(row)
        if row.status == Status.STOPPED:
            self._start_unasked(row)
        return None

    def in_use(self, target: Target) -> None:
        """An answer of it is still being made."""
        with self._database.read() as session:
            moment = clock.read(session)
            row = session.get(Deployment, target.deployment_id)
        if row is not None:
            self._used(row, moment)

    def record(self, caller: Caller, target: Target, asked: Asked) -> None:
        """Write down one question, and that the model was in use just now."""
        with self._database.write() as session:
            moment = clock.read(session)
            session.execute(
                update(Deployment)
                .where(Deployment.id == target.deployment_id, Deployment.deleted_at.is_(None))
                .values(
                    num_requests=Deployment.num_requests + 1,
                    used_at=moment.wall,
                    used_lease=moment.lease,
                )
            )
            session.add(
                AskedRequest(
                    id=ids.new(ids.ASKED, moment.wall),
                    deployment_id=target.deployment_id,
                    user_id=caller.user_id,
                    time=moment.wall,
                    kind=asked.kind,
                    status_code=asked.status_code,
                    finish_reason=asked.finish_reason[:50],
                    prompt_tokens=asked.prompt_tokens,
                    completion_tokens=asked.completion_tokens,
                    seconds=asked.seconds,
                    first_token_seconds=asked.first_token_seconds,
                    question=_bounded(asked.question),
                    answer=None if asked.answer is None else asked.answer[:_MOST_TEXT],
                )
            )

    def forget_old(self, days: int) -> int:
        """Remove what was asked longer ago; how many there were."""
        with self._database.write() as session:
            limit = clock.read(session).wall - timedelta(days=days)
            gone = session.execute(
                delete(AskedRequest).where(AskedRequest.time < limit).returning(AskedRequest.id)
            )
            return len(gone.all())

    def _deploy_unasked(self, caller: Caller, name: str) -> None:
        """The first question to a model is enough to deploy it, where the asker may."""
        project_id = caller.chosen(None, Role.MEMBER)
        with self._database.write() as session:
            moment = clock.read(session)
            if _by_name(session, caller, name) is None:  # nobody was first meanwhile
                row = self._create(session, moment, caller, DeploymentOrder(name), project_id)
                self._refuse_unfit(session, row)

    def _start_unasked(self, row: Deployment) -> None:
        if not row.autostart:
            raise DeploymentNotReady(
                f"Deployment {row.name} is stopped and does not start by itself.",
                hint="Start it, or let it start by itself.",
                code="deployment_stopped",
                name=row.name,
                id=row.id,
            )
        with self._database.write() as session:
            moment = clock.read(session)
            session.refresh(session.merge(row, load=False), with_for_update=True)
            now = session.get_one(Deployment, row.id)
            if now.status == Status.STOPPED and now.deleted_at is None:
                self._refuse_unfit(session, now)
                _start(session, now, moment)

    def _used(self, row: Deployment, moment: Moment) -> None:
        if moment.lease - row.used_lease < _USED_SECONDS:
            return
        with self._database.write() as session:
            session.execute(
                update(Deployment)
                .where(Deployment.id == row.id)
                .values(used_lease=moment.lease, used_at=moment.wall)
            )

    def _refuse_unfit(self, session: Session, row: Deployment) -> None:
        """The gate: what did not pass is neither deployed nor started, unless an admin said so."""
        if row.model_id is not None and not row.overrides_gate:
            model = session.get_one(Model, row.model_id)
            refuse_closed_gate(session, model, self._settings.deployment_gate)

    def _create(
        self,
        session: Session,
        moment: Moment,
        caller: Caller,
        order: DeploymentOrder,
        project_id: str,
    ) -> Deployment:
        model, source, known = self._resolve(session, moment, caller, order.model, project_id)
        if model is not None:
            refuse_unserved(model)
        name = order.name or known
        if _named(session, name, [project_id]) is not None:
            raise Conflict(
                f"There is a deployment {name} already.",
                hint="Use that one, or give this one another name.",
                code="name_taken",
                name=name,
            )
        idle = order.idle_seconds
        row = Deployment(
            id=ids.new(ids.DEPLOYMENT, moment.wall),
            project_id=project_id,
            user_id=caller.user_id,
            name=name,
            model_id=model.id if model else None,
            adapter_id=source.adapter_id,
            base=source.base,
            autostart=order.autostart,
            idle_seconds=self._settings.deployment_idle_seconds if idle is None else idle,
            keeps_requests=order.keeps_requests,
            overrides_gate=order.overrides_gate,
            used_lease=moment.lease,
            heard_lease=moment.lease,
            created_at=moment.wall,
            changed_at=moment.wall,
        )
        session.add(row)
        session.flush()
        told: dict[str, Any] = {"overrides_gate": True} if order.overrides_gate else {}
        if order.overrides_gate and order.override_reason:
            told["override_reason"] = order.override_reason
        _audit(session, moment, caller, "create", row, model=known, **told)
        if order.starts:
            _start(session, row, moment)
        return row

    def _resolve(
        self, session: Session, moment: Moment, caller: Caller, name: str, project_id: str
    ) -> tuple[Model | None, Source, str]:
        """The model that a name means, what it needs in memory, and its name for users."""
        if is_checkpoint(name):
            saved = find_checkpoint(session, caller, name)
            model, _ = model_of_checkpoint(session, moment, caller, saved.checkpoint, saved.job)
            return model, source_of(session, model), saved.name
        base = resolve_base(
            session, caller, name, project_id, hub_downloads=self._settings.hub_downloads
        )
        if base.model is None:
            return None, Source(base.name), name
        return base.model, source_of(session, base.model), base.model.name


def _start(session: Session, row: Deployment, moment: Moment) -> None:
    transition(session, row, Status.STARTING, moment, num_failures=0, used_lease=moment.lease)


def _target(row: Deployment, serving: Serving) -> Target:
    return Target(
        row.id,
        row.name,
        serving.address,
        serving.secret,
        row.id if row.adapter_id else BASE_NAME,
        row.keeps_requests,
    )


def _found(
    session: Session, caller: Caller, deployment_id: str, role: Role, *, lock: bool = False
) -> Deployment:
    row = session.get(
        Deployment, deployment_id, with_for_update={"key_share": True} if lock else None
    )
    missing = NotFound(
        f"There is no deployment {deployment_id[:200]}.",
        code="deployment_not_found",
        id=deployment_id[:200],
    )
    if row is None or row.deleted_at is not None:
        raise missing
    caller.require(row.project_id, role, missing)
    return row


def _by_name(session: Session, caller: Caller, name: str) -> Deployment | None:
    """By id, by name, or by the id of its model or checkpoint: the caller's own project first."""
    return _named(session, name, caller.projects(), first=caller.project_id)


def _named(
    session: Session, name: str, project_ids: Sequence[str], *, first: str = ""
) -> Deployment | None:
    if name.startswith(ids.DEPLOYMENT):
        condition = Deployment.id == name
    elif name.startswith(ids.MODEL):
        condition = Deployment.model_id == name
    elif name.startswith(ids.CHECKPOINT):
        saved = select(Model.id).where(Model.checkpoint_id == name)
        condition = Deployment.model_id.in_(saved)
    else:
        condition = Deployment.name == name
    rows = session.scalars(
        select(Deployment).where(
            condition, Deployment.project_id.in_(project_ids), Deployment.deleted_at.is_(None)
        )
    ).all()
    return min(rows, key=lambda row: (row.project_id != first, row.id), default=None)


def _has_failed(row: Deployment) -> TunesmithError:
    told = str((row.error or {}).get("message", ""))
    return DeploymentNotReady(
        f"Deployment {row.name} has failed. {told}".strip(),
        hint="Mend what it says, then start it again.",
        code="deployment_failed",
        name=row.name,
        id=row.id,
    )


def _bounded(question: list[Any] | None) -> list[Any] | None:
    """Not kept at all above a limit: half a conversation would mislead."""
    if question is None or len(orjson.dumps(question)) > _MOST_TEXT:
        return None
    return question


def _audit(
    session: Session, moment: Moment, caller: Caller, what: str, row: Deployment, **details: Any
) -> None:
    audit(
        session, moment, caller, f"deployment.{what}", row.id,
        project_id=row.project_id, name=row.name, **details,
    )  # fmt: skip
