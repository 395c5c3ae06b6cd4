"""Sending what is due: claim, try, write down; again later where it failed.

    deliver_all(database, sender)    what a server does every second (chores.py)

Several processes may do this at once: a notice is claimed under a lease, and its number of tries is
the token, so a process that was away too long writes nothing. One that dies while it sends is
followed by another try, under the same webhook-id: at least once, and told apart by who cares.

A round takes one notice of each subscription, so one with thousands waiting delays no other.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, CursorResult, delete, func, or_, select, update
from sqlalchemy.orm import Session

from tunesmith.server import clock
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.notices.channels import Message, Outcome, Sender
from tunesmith.server.notices.outbox import TEST
from tunesmith.server.tables import Delivery, Notice, Subscription

RETRY_SECONDS: Final = (30.0, 300.0, 1800.0, 7200.0)  # five tries in some two and a half hours
MAX_TRIES: Final = len(RETRY_SECONDS) + 1
JITTER: Final = 0.2
LEASE_SECONDS: Final = 120.0  # longer than any one try may take
DISABLE_AFTER: Final = timedelta(days=3)
KEPT: Final = timedelta(days=90)  # of what was sent or has failed
POLL_SECONDS: Final = 1.0
AT_ONCE: Final = 8
MOST_ROUNDS: Final = 20
_LONGEST_DELAY: Final = timedelta(seconds=RETRY_SECONDS[-1] * (1 + JITTER))

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claimed:
    """A notice in the hands of this process."""

    message: Message
    subscription_id: str
    token: int
    now: datetime


def deliver_all(database: Database, sender: Sender, *, rounds: int = MOST_ROUNDS) -> int:
    """Rounds until nothing is due, `rounds` at most; a server does this every POLL_SECONDS."""
    num_tries = 0
    for _ in range(rounds):
        made = deliver_due(database, sender)
        num_tries += made
        if made == 0:
            break
    return num_tries


def deliver_due(database: Database, sender: Sender, *, limit: int = AT_ONCE) -> int:
    """One round: at most `limit` notices at once. How many tries there were."""
    claimed = claim_due(database, limit)
    if claimed:
        with ThreadPoolExecutor(len(claimed), thread_name_prefix="notice") as threads:
            list(threads.map(lambda one: attempt(database, sender, one), claimed))
    return len(claimed)


def claim_due(database: Database, limit: int = AT_ONCE) -> list[Claimed]:
    """Notices whose time has come, one of a subscription, for this process alone."""
    with database.read() as session:  # most rounds end here, without a lock
        if not _due_ids(session, clock.read(session), 1):
            return []
    with database.write() as session:
        moment = clock.read(session)
        notices = session.scalars(
            select(Notice)
            .where(Notice.id.in_(_due_ids(session, moment, limit)), *_due(moment))
            .order_by(Notice.next_try_at, Notice.id)
            .with_for_update(skip_locked=True)
        ).all()
        return [take(session, notice, moment) for notice in notices]


def take(session: Session, notice: Notice, moment: Moment) -> Claimed:
    """Claim a notice for one try; the caller holds its lock, or has just made it."""
    notice.num_tries = (notice.num_tries or 0) + 1
    notice.lease_until = moment.lease + LEASE_SECONDS
    session.flush()
    to = session.get_one(Subscription, notice.subscription_id)
    secrets = [to.secret]
    if to.old_secret_until is not None and to.old_secret_until > moment.wall:
        secrets.append(to.old_secret)
    message = Message(
        notice.id,
        notice.event,
        notice.body,
        to.channel,
        to.address,
        tuple(secret for secret in secrets if secret),
        to.language,
    )
    return Claimed(message, to.id, notice.num_tries, moment.wall)


def attempt(database: Database, sender: Sender, claimed: Claimed) -> None:
    """One try, and its line in the log of deliveries."""
    begun = time.monotonic()
    outcome = sender.send(claimed.message, claimed.now)
    record(database, claimed, outcome, time.monotonic() - begun)


def record(database: Database, claimed: Claimed, outcome: Outcome, seconds: float) -> None:
    """What came of a try, unless another process has the notice by now."""
    with database.write() as session:
        moment = clock.read(session)
        to = session.scalars(  # before the notices, as everywhere
            select(Subscription)
            .where(Subscription.id == claimed.subscription_id)
            .with_for_update(key_share=True)
        ).one_or_none()
        notice = session.scalars(
            select(Notice)
            .where(Notice.id == claimed.message.id, Notice.num_tries == claimed.token)
            .where(Notice.state == "pending")
            .with_for_update()
        ).one_or_none()
        if to is None or notice is None:
            return
        notice.lease_until = None
        _settle(notice, outcome, moment)
        session.add(
            Delivery(
                notice_id=notice.id,
                number=notice.num_tries,
                time=claimed.now,
                seconds=seconds,
                outcome=notice.state if notice.state != "pending" else "retry",
                status_code=outcome.status_code,
                error=outcome.error,
            )
        )
        _judge(session, to, notice, outcome, moment)


def retry_delay(num_tries: int, chance: float, retry_after: float = 0.0) -> timedelta:
    """How long to wait after so many tries; `chance` of 0 to 1 spreads what failed together."""
    base = RETRY_SECONDS[min(num_tries, len(RETRY_SECONDS)) - 1]
    seconds = base * (1 - JITTER + 2 * JITTER * chance)
    return timedelta(seconds=min(max(seconds, retry_after), _LONGEST_DELAY.total_seconds()))


def disable(session: Session, to: Subscription, reason: str, moment: Moment) -> None:
    """Send nothing more to an address; what waits for it will not be sent."""
    to.disabled_at, to.disabled_reason = moment.wall, reason
    session.execute(
        update(Notice)
        .where(Notice.subscription_id == to.id, Notice.state == "pending")
        .values(state="failed", lease_until=None)
    )


def forget_old(database: Database) -> int:
    """Delete the notices, with their log, that are settled and old; how many there were."""
    with database.write() as session:
        before = clock.read(session).wall - KEPT
        gone = session.execute(
            delete(Notice).where(Notice.state != "pending", Notice.created_at < before)
        )
        return cast("CursorResult[Any]", gone).rowcount


def _settle(notice: Notice, outcome: Outcome, moment: Moment) -> None:
    is_last = notice.event == TEST or notice.num_tries >= MAX_TRIES
    if outcome.is_sent:
        notice.state, notice.sent_at = "sent", moment.wall
    elif outcome.is_final or outcome.is_gone or is_last:
        notice.state = "failed"
    else:
        chance = random.random()
        notice.next_try_at = moment.wall + retry_delay(
            notice.num_tries, chance, outcome.retry_after
        )


def _judge(
    session: Session, to: Subscription, notice: Notice, outcome: Outcome, moment: Moment
) -> None:
    """An address that says it is gone, or that fails for days, is no longer tried."""
    if outcome.is_sent:
        to.failing_since = None
        return
    since = to.failing_since = to.failing_since or moment.wall
    has_failed_long = moment.wall - since >= DISABLE_AFTER
    if to.disabled_at is not None or not (outcome.is_gone or has_failed_long):
        return
    session.flush()
    disable(session, to, "gone" if outcome.is_gone else "failing", moment)
    session.add(
        Delivery(
            notice_id=notice.id,
            number=notice.num_tries + 1,
            time=moment.wall,
            seconds=0.0,
            outcome="disabled",
            error="the address is gone"
            if outcome.is_gone
            else f"deliveries failed for {DISABLE_AFTER.days} days",
        )
    )
    _log.warning("Subscription %s is disabled: %s", to.id, to.disabled_reason)


def _due(moment: Moment) -> Sequence[ColumnElement[bool]]:
    """A wall clock that was set back must not keep notices waiting for days."""
    return (
        Notice.state == "pending",
        or_(
            Notice.next_try_at <= moment.wall,
            Notice.next_try_at > moment.wall + _LONGEST_DELAY,
        ),
        or_(Notice.lease_until.is_(None), Notice.lease_until < moment.lease),
    )


def _due_ids(session: Session, moment: Moment, limit: int) -> list[Any]:
    place = func.row_number().over(
        partition_by=Notice.subscription_id, order_by=(Notice.next_try_at, Notice.id)
    )
    ranked = (
        select(Notice.id, Notice.next_try_at, place.label("place")).where(*_due(moment)).subquery()
    )
    query = select(ranked.c.id).where(ranked.c.place == 1)
    return list(session.scalars(query.order_by(ranked.c.next_try_at, ranked.c.id).limit(limit)))
