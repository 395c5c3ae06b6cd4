"""Why a job waits longer than for its turn: what its submitter is told, and who looks at it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.recipe import Notice
from tunesmith.server.clock import Moment
from tunesmith.server.quotas import Limits, quotas
from tunesmith.server.services.flavours import Flavours
from tunesmith.server.states import CLAIMED
from tunesmith.server.tables import Job

_MORE = "an administrator can raise the limit."


def held_back(session: Session, moment: Moment, limits: Limits, user_id: str) -> Notice | None:
    """The limit of a user that keeps a further job from starting now."""
    quota = quotas(session, [user_id], limits, moment)[user_id]
    is_running = Job.status.in_(sorted(CLAIMED))
    running = session.scalar(select(func.count()).where(Job.user_id == user_id, is_running)) or 0
    if quota.running_jobs is not None and running >= quota.running_jobs:
        return Notice(
            "running_jobs_limit",
            f"It waits for a limit of its user: {running} jobs run, and {quota.running_jobs} may "
            "at a time.",
            f"It starts when one of them ends; {_MORE}",
            values={"running": running, "most": quota.running_jobs},
        )
    if quota.device_seconds_left is not None and quota.device_seconds_left <= 0:
        return Notice(
            "device_hours_limit",
            "It waits for a limit of its user: the device hours of 30 days are used up.",
            f"It starts when earlier ones are older than that; {_MORE}",
        )
    if quota.storage_bytes_left is not None and quota.storage_bytes_left < 0:
        return Notice(
            "storage_limit",
            "It waits for a limit of its user: more is stored than may be.",
            f"Delete files, checkpoints or models that nobody needs; {_MORE}",
        )
    return None


def why(
    session: Session, moment: Moment, flavours: Flavours, limits: Limits, user_id: str, on: str,
    num_devices: int,
) -> Notice | None:  # fmt: skip
    """What a queued job waits for beside its turn; `on` is the name of its flavour."""
    held = held_back(session, moment, limits, user_id)
    if held is not None:
        return held
    chosen = next((each for each in flavours.all(session, moment) if each.name == on), None)
    return next(iter(flavours.notices(session, moment, chosen, num_devices)), None)
