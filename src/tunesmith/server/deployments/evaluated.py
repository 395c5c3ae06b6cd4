"""Deployments that evaluations make for as long as they ask, and what is left of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server.clock import Moment
from tunesmith.server.deployments.states import Status, transition
from tunesmith.server.tables import Deployment, Evaluation, Task
from tunesmith.server.tasks import FINAL

SIDES: Final = ("base", "tuned")
_PREFIX: Final = "evaluation-"
_NAME: Final = re.compile(rf"{_PREFIX}[0-9a-f]{{12}}")


def evaluating_name(evaluation_id: str, side: str) -> str:
    """What the deployment of an evaluation is called: in a second try the same as in the first."""
    mark = hashlib.blake2s(f"{evaluation_id}/{side}".encode(), digest_size=6).hexdigest()
    return _PREFIX + mark


def left_behind(session: Session, *, lock: bool = False) -> Sequence[Deployment]:
    """Those of evaluations that have ended; one that was killed could not delete its own."""
    query = select(Deployment).where(
        Deployment.name.startswith(_PREFIX),
        Deployment.deleted_at.is_(None),
        Deployment.autostart.is_(False),
        Deployment.keeps_requests.is_(False),
    )
    if lock:
        query = query.with_for_update(skip_locked=True, key_share=True)
    found = [row for row in session.scalars(query) if _NAME.fullmatch(row.name)]
    if not found:
        return []
    under_way = session.scalars(
        select(Evaluation.id)
        .join(Task, Task.id == Evaluation.task_id)
        .where(Task.state.not_in(sorted(FINAL)))
    ).all()
    names = {evaluating_name(one, side) for one in under_way for side in SIDES}
    return [row for row in found if row.name not in names]


def forget(session: Session, row: Deployment, moment: Moment) -> None:
    """Delete one of them; it lets go of its process."""
    if row.status != Status.STOPPED:
        transition(session, row, Status.STOPPED, moment, reason="deleted")
    row.deleted_at = moment.wall
