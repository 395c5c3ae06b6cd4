"""Credit held for jobs: taken when a job is submitted or goes on, given back when it stops.

Two jobs that together cost more than an account has are not both accepted. What an attempt cost is
taken from the credit when it ends (states.py), and from the hold, which is for what is still to
come; a job that ended or is paused holds nothing.
"""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from tunesmith.server.tables import CreditHold, Job


def held_cents(session: Session, user_id: str, *, but_for: str = "") -> int:
    """What is held for the jobs of a user, all but one."""
    query = select(func.coalesce(func.sum(CreditHold.cents), 0)).where(
        CreditHold.user_id == user_id, CreditHold.job_id != but_for
    )
    return int(session.scalars(query).one())


def hold(session: Session, job: Job, cents: int) -> None:
    """Hold so much for a job, instead of what was held for it; nothing where it costs nothing."""
    release(session, job.id)
    if cents > 0:
        session.add(CreditHold(job_id=job.id, user_id=job.user_id, cents=cents))
        session.flush()


def use_up(session: Session, job_id: str, cents: int) -> None:
    """An attempt cost so much: the job is to go on with what is left of its hold."""
    found = session.get(CreditHold, job_id, with_for_update=True)
    if found is not None:
        found.cents = max(0, found.cents - cents)
        session.flush()


def release(session: Session, job_id: str) -> None:
    """The job holds nothing any more."""
    session.execute(delete(CreditHold).where(CreditHold.job_id == job_id))
