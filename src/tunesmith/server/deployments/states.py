"""The life of a deployment, and the one function that changes its status.

    stopped | failed -> starting      somebody asks for it, or has asked the model something
    starting -> ready                 its process answers, and has its adapter
    starting | ready -> stopped       a user, an idle time, or another model that needs its memory
    starting | ready -> failed        its process could not start, several times, or silence
    ready -> starting                 its process is gone; it is started again

A failed deployment is started again by the next request only after a user has started it: what
failed three times would fail for each request.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from tunesmith.server.clock import Moment
from tunesmith.server.errors import Conflict, IllegalTransition
from tunesmith.server.notices import outbox
from tunesmith.server.tables import Deployment, Model


class Status(StrEnum):
    """Where a deployment is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


_S = Status
EDGES: Final[dict[Status, frozenset[Status]]] = {
    _S.STOPPED: frozenset({_S.STARTING}),
    _S.STARTING: frozenset({_S.READY, _S.STOPPED, _S.FAILED, _S.STARTING}),
    _S.READY: frozenset({_S.STARTING, _S.STOPPED, _S.FAILED}),
    _S.FAILED: frozenset({_S.STARTING, _S.STOPPED}),
}
WANTED: Final = frozenset({_S.STARTING, _S.READY})
SILENCE_SECONDS: Final = 180.0  # while starting: no worker has taken it up, or says anything
LOADING_SECONDS: Final = 3600.0  # for a process that says that it loads, downloads included
MAX_FAILURES: Final = 3
BASE_NAME: Final = "base"  # what a process calls its base; adapters go by a deployment's id


def transition(
    session: Session,
    deployment: Deployment,
    to: Status,
    moment: Moment,
    *,
    reason: str = "",
    error: dict[str, Any] | None = None,
    **changes: Any,
) -> Deployment:
    """One UPDATE that finds the deployment only in the status that the caller saw.

    A deployment that stops or fails lets go of its process. IllegalTransition where there is no
    such edge, or somebody else was first.
    """
    before = Status(deployment.status)
    if to not in EDGES[before]:
        raise _illegal(deployment, to)
    if to is not Status.READY and "serving_id" not in changes:
        changes["serving_id"] = None
    values = {
        "status": to.value,
        "reason": reason,
        "error": error,
        "changed_at": moment.wall,
        "heard_lease": moment.lease,
        **changes,
    }
    session.flush()
    result = session.execute(
        update(Deployment)
        .where(
            Deployment.id == deployment.id,
            Deployment.status == before.value,
            Deployment.deleted_at.is_(None),
        )
        .values(values)
        .execution_options(synchronize_session=False)
    )
    is_ours = cast("CursorResult[Any]", result).rowcount == 1
    session.refresh(deployment)
    if not is_ours:
        raise _illegal(deployment, to)
    if to is not before:
        _tell(session, deployment, to, moment)
    return deployment


def failed_once(
    session: Session, deployment: Deployment, error: dict[str, Any], moment: Moment
) -> Deployment:
    """Its process did not start, or died: tried again, `MAX_FAILURES` times in a row."""
    failures = deployment.num_failures + 1
    is_last = failures >= MAX_FAILURES
    to = Status.FAILED if is_last else Status.STARTING
    return transition(
        session, deployment, to, moment, reason="process_died", error=error, num_failures=failures
    )


def refuse_deployed(session: Session, model: Model) -> None:
    """Conflict while a model answers, or is the base of one that does."""
    running = session.scalars(
        select(Deployment.name)
        .where(
            (Deployment.model_id == model.id) | (Deployment.base == model.id),
            Deployment.status.in_(sorted(WANTED)),
            Deployment.deleted_at.is_(None),
        )
        .limit(3)
    ).all()
    if running:
        raise Conflict(
            f"Model {model.name} is deployed as {', '.join(running)}; nothing was deleted.",
            hint="Stop the deployment first.",
            code="model_deployed",
        )


def _illegal(deployment: Deployment, to: Status) -> IllegalTransition:
    return IllegalTransition(
        f"Deployment {deployment.name} is {deployment.status} and cannot become {to.value}.",
        hint="Look at it again; somebody else has changed it.",
        status=deployment.status,
    )


def _tell(session: Session, deployment: Deployment, to: Status, moment: Moment) -> None:
    """Its subscribers: those of the project, and of the job that made the model."""
    event = {Status.READY: "deployment.started", Status.FAILED: "deployment.failed"}.get(to)
    if event is None:
        return
    model = session.get(Model, deployment.model_id) if deployment.model_id else None
    subject = outbox.Subject(
        deployment.id,
        deployment.project_id,
        deployment.name,
        model.job_id if model else None,
        {
            "model": deployment.name,
            "reason": deployment.reason,
            "error": str((deployment.error or {}).get("message", "")),
        },
    )
    outbox.notify_about(session, subject, event, moment)
