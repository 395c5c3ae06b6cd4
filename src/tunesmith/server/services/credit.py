"""Whether an account can pay for a job: asked, and held, when it is submitted or goes on."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server import holds
from tunesmith.server.errors import QuotaExceeded
from tunesmith.server.tables import Job, User


def hold_price(
    session: Session,
    job: Job,
    price_cents_per_hour: float,
    price_cents: int | None,
    *,
    billing_url: str,
    kept: str = "nothing was submitted",
) -> None:
    """Hold what a job is expected to cost; QuotaExceeded for an account that cannot pay it.

    One in arrears, or without more than that beside what it holds for other jobs. `price_cents` is
    None while nobody knows how long the job will take: then nothing is held yet.
    """
    credit = _locked_credit(session, job.user_id)
    if credit is None or not price_cents_per_hour:
        holds.hold(session, job, 0)
        return
    held = holds.held_cents(session, job.user_id, but_for=job.id)
    if credit - held <= (price_cents or 0):
        raise _unpaid(credit, held, price_cents_per_hour, price_cents, billing_url, kept)
    holds.hold(session, job, price_cents or 0)


def _locked_credit(session: Session, user_id: str) -> int | None:
    """As it is now, until the end of the transaction: two jobs are weighed one after the other."""
    query = select(User.credit_cents).where(User.id == user_id)
    return session.scalar(query.with_for_update(key_share=True))


def _unpaid(
    credit: int, held: int, hourly: float, price: int | None, billing_url: str, kept: str
) -> QuotaExceeded:
    each = f"{hourly / 100:.2f} an hour"
    cost = f"costs {each}"
    if price is not None:
        cost = f"is expected to cost {price / 100:.2f} ({each})"
    what = "is in arrears by" if credit < 0 else "has"
    beside = f", of which {held / 100:.2f} is held for other jobs" if held else ""
    return QuotaExceeded(
        f"The account {what} {abs(credit) / 100:.2f}{beside}, and this job {cost}; {kept}.",
        hint="Add credit; a job whose credit runs out may be interrupted."
        + (f" Rules of billing: {billing_url}" if billing_url else ""),
        code="insufficient_credit",
        credit_cents=credit,
        held_cents=held,
        price_cents=price,
        price_cents_per_hour=hourly,
        billing_url=billing_url,
    )
