"""Whose time counts: the database's, and for leases a clock in the database that cannot jump.

`Moment.wall` is the database's time in UTC, for people. `Moment.lease` is in seconds and only ever
goes on: leases and silences are counted in it. It is stored in one row and moved forward by each
sweep, by the wall time since the last one but by `LONGEST_TICK` at most:

    wall jumps by a day       -> the lease clock goes on by some seconds; no lease ends early
    wall goes back by a day   -> it stands still until the next sweep, then goes on
    all servers were down, or a laptop slept -> the workers get their leases' time to report again
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import ColumnElement, Select, func, select, text, type_coerce
from sqlalchemy.orm import Session

from tunesmith.server.tables import LeaseClock, UtcTime

SWEEP_SECONDS = 5.0
LONGEST_TICK = 10.0


@dataclass(frozen=True)
class Moment:
    """A time read once and used for a whole transaction."""

    wall: datetime
    lease: float

    def ago(self, lease: float) -> timedelta:
        """How long ago a reading of the lease clock was."""
        return timedelta(seconds=max(0.0, self.lease - lease))


def read(session: Session) -> Moment:
    """The time of the database."""
    reading = _reading(session.get_bind().dialect.name)
    seconds, wall, now = session.execute(reading).one()
    return _moment(session, seconds, wall, now)


def tick(session: Session) -> Moment:
    """Move the lease clock forward; every sweep does, in its own short transaction."""
    row = session.scalars(select(LeaseClock).with_for_update()).one()
    moment = _moment(
        session,
        row.seconds,
        row.wall,
        session.scalar(select(_now(session.get_bind().dialect.name))),
    )
    row.seconds, row.wall = moment.lease, moment.wall
    return moment


def _moment(session: Session, seconds: float, wall: datetime, now: datetime | None) -> Moment:
    injected = session.info.get("clock")
    now = injected() if injected else now
    assert now is not None
    passed = (now - wall).total_seconds()
    return Moment(now, seconds + min(max(passed, 0.0), LONGEST_TICK))


@cache
def _reading(dialect: str) -> Select[float, datetime, datetime]:
    """Made once: every request reads the clock."""
    return select(LeaseClock.seconds, LeaseClock.wall, _now(dialect))


def _now(dialect: str) -> ColumnElement[datetime]:
    if dialect == "sqlite":
        return type_coerce(func.strftime("%Y-%m-%d %H:%M:%f", text("'now'")), UtcTime)
    return type_coerce(func.clock_timestamp(), UtcTime)
