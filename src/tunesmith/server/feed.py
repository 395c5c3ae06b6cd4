"""What happens to jobs, as it happens: one reader of the database a process for all who watch.

    with feed.watch("ftjob-...") as watch:       # in the event loop of the API
        message = await watch.next(timeout=30)   # (number, text as sent, is it the last one)

The feed looks for news every `TICK_SECONDS`: one query for all watched jobs, one for the new events
of all that changed. A text is made once and shared by everybody who watches the job. Whoever is
slower than the jobs loses what waits for them and gets the number to catch up to, from the
database: nothing is kept for anybody beyond `MOST_WAITING` messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple

import orjson
from anyio import CapacityLimiter, to_thread
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from tunesmith.errors import TunesmithError
from tunesmith.server import clock, ids, journal
from tunesmith.server.database import Database
from tunesmith.server.errors import RateLimited
from tunesmith.server.journal import Record
from tunesmith.server.states import FINAL, Status
from tunesmith.server.tables import Event, Job, MetricPoint

log = logging.getLogger("tunesmith.server")
TICK_SECONDS: Final = 0.25
AWAY_SECONDS: Final = 2.0  # between two looks while the database does not answer
MOST_WAITING: Final = 200  # messages that one watcher may leave unread
MOST_A_TICK: Final = 500  # events of one job
MOST_WATCHERS: Final = 2000
_JOBS_A_QUERY: Final = 50
_CATCHING_UP: Final = 4
_YOUNG: Final = timedelta(minutes=1)
_ACTIVE: Final = sorted(set(Status) - FINAL)
_STATE: Final = (
    "id",
    "project_id",
    "name",
    "status",
    "reason",
    "intent",
    "step",
    "total_steps",
    "loss",
    "eta_seconds",
    "event_count",
    "changed_at",
)


class Message(NamedTuple):
    """What a watcher gets. Without a text: catch up to the number."""

    number: int
    text: bytes | None
    is_last: bool = False


@dataclass(eq=False)
class Watch:
    """One who watches a job, or all jobs of some projects."""

    job_id: str | None = None
    projects: frozenset[str] = frozenset()
    _waiting: deque[Message] = field(default_factory=deque[Message])
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, message: Message) -> None:
        """Leave a message; one too many makes it a number to catch up to."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.clear()
            message = Message(message.number, None, message.is_last)
        self._waiting.append(message)
        self._news.set()

    async def next(self, timeout: float) -> Message | None:
        """The next message; None when nothing came for so many seconds."""
        if not self._waiting:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), timeout)
            except TimeoutError:
                return None
        return self._waiting.popleft()


@dataclass
class _Known:
    """How far the feed is with a job."""

    number: int
    state: dict[str, Any]


@dataclass
class _News:
    """What one look found."""

    states: list[dict[str, Any]]
    records: dict[str, list[Record]]


class Feed:
    """All watchers of one process. Its reader runs while somebody watches."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_job: dict[str, set[Watch]] = {}
        self._of_projects: set[Watch] = set()
        self._known: dict[str, _Known] = {}
        self._reader: asyncio.Task[None] | None = None
        # Hundreds that come back at once shall not take all connections.
        self._catching_up = CapacityLimiter(_CATCHING_UP)

    @property
    def num_watchers(self) -> int:
        return len(self._of_projects) + sum(len(each) for each in self._by_job.values())

    def admit(self) -> None:
        """RateLimited where no more may watch; asked before a stream begins."""
        if self.num_watchers >= MOST_WATCHERS:
            raise RateLimited(
                f"There are {MOST_WATCHERS} streams open already.",
                hint="Close some; one stream of all jobs is enough for a page.",
                code="too_many_streams",
                retry_after=10,
            )

    async def stored(self, job_id: str, number: int) -> list[Message]:
        """What the database has behind a number, `MOST_A_TICK` at most; few read at once."""
        return await to_thread.run_sync(
            read_after, self._database, job_id, number, limiter=self._catching_up
        )

    @contextmanager
    def watch(self, job_id: str | None = None, projects: Collection[str] = ()) -> Generator[Watch]:
        """Messages for as long as the block lasts; call it in the event loop."""
        watch = Watch(job_id, frozenset(projects))
        group = self._group(job_id)
        group.add(watch)
        self._start()
        if job_id in self._known:  # it may have read the database before it was here
            watch.push(Message(self._known[job_id].number, None))
        try:
            yield watch
        finally:
            group.discard(watch)
            if job_id is not None and not group:
                self._by_job.pop(job_id, None)
                if not self._of_projects:
                    self._known.pop(job_id, None)

    def _group(self, job_id: str | None) -> set[Watch]:
        return self._of_projects if job_id is None else self._by_job.setdefault(job_id, set())

    def _start(self) -> None:
        """A reader in the loop that runs now; one of a loop that is gone counts for nothing."""
        loop = asyncio.get_running_loop()
        reader = self._reader
        if reader is None or reader.done() or reader.get_loop() is not loop:
            self._known.clear()
            self._reader = loop.create_task(self._read(), name="feed")

    async def _read(self) -> None:
        while self.num_watchers:
            pause = TICK_SECONDS
            try:
                wanted = set(self._by_job)
                projects = set[str]().union(*(each.projects for each in self._of_projects))
                news = await asyncio.to_thread(self._look, wanted, projects)
                self._hand_out(news, wanted)
            except TunesmithError as error:  # away: those who watch wait, and miss nothing
                log.warning("feed: %s", error.message)
                pause = AWAY_SECONDS
            await asyncio.sleep(pause)
        self._known.clear()

    def _look(self, wanted: Collection[str], projects: Collection[str]) -> _News:
        """In a thread: states of what is watched, and events that are new."""
        with self._database.read() as session:
            states = _states(session, wanted, projects, self._known)
            spans = {
                state["id"]: (known.number, state["event_count"])
                for state in states
                if (known := self._known.get(state["id"])) and known.number < state["event_count"]
            }
            return _News(states, read_many(session, spans))

    def _hand_out(self, news: _News, wanted: Collection[str]) -> None:
        for state in news.states:
            self._of_one(state, news.records.get(state["id"], []))
        found = {state["id"] for state in news.states}
        for gone in set(wanted) - found:  # deleted
            for watch in self._by_job.get(gone, ()):
                watch.push(Message(0, None, is_last=True))
        for job_id in set(self._known) - found:
            del self._known[job_id]

    def _of_one(self, state: dict[str, Any], records: Sequence[Record]) -> None:
        job_id = state["id"]
        known = self._known.get(job_id)
        watchers = self._by_job.get(job_id, ())
        if known is None:
            self._known[job_id] = _Known(state["event_count"], state)
            for watch in watchers:
                watch.push(Message(state["event_count"], None))
            self._tell_projects(state, [job_state(state)])
            return
        messages = [message_of(record) for record in records]
        for watch in watchers:
            for message in messages:
                watch.push(message)
        if messages:
            known.number = messages[-1].number
        if records or state != known.state:
            known.state = state
            others = [message_of(record) for record in records if record.type != "step"]
            self._tell_projects(state, [*others, job_state(state)])

    def _tell_projects(self, state: Mapping[str, Any], messages: Iterable[Message]) -> None:
        watchers = [each for each in self._of_projects if state["project_id"] in each.projects]
        if watchers:
            for message in messages:
                for watch in watchers:
                    watch.push(message)


def message_of(record: Record) -> Message:
    """An event as it is sent; its id is its number."""
    to = record.data.get("to") if record.type == "status" else None
    return Message(
        record.number,
        b"id: %d\ndata: %s\n\n" % (record.number, _json(record)),
        is_last=to in FINAL,
    )


def job_state(state: Mapping[str, Any]) -> Message:
    """What lists of jobs show, for those who watch all of them."""
    return Message(0, b"event: job\ndata: %s\n\n" % _json(state))


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def read_after(
    database: Database, job_id: str, number: int, limit: int = MOST_A_TICK
) -> list[Message]:
    """What comes behind a number, from the database."""
    with database.read() as session:
        return [message_of(each) for each in journal.after(session, job_id, number, limit)]


def read_many(session: Session, spans: Mapping[str, tuple[int, int]]) -> dict[str, list[Record]]:
    """Events of several jobs: those with numbers in (after, upto], `MOST_A_TICK` each at most."""
    found: dict[str, list[Record]] = {}
    pairs = list(spans.items())
    for start in range(0, len(pairs), _JOBS_A_QUERY):
        part = pairs[start : start + _JOBS_A_QUERY]
        for table in (Event, MetricPoint):
            spanned = [
                and_(
                    table.job_id == job_id,
                    table.number > after,
                    table.number <= min(upto, after + MOST_A_TICK),
                )
                for job_id, (after, upto) in part
            ]
            for row in session.scalars(select(table).where(or_(*spanned))):
                found.setdefault(row.job_id, []).append(journal.record_of(row))
    for records in found.values():
        records.sort(key=lambda record: record.number)
    return found


def _states(
    session: Session,
    wanted: Collection[str],
    projects: Collection[str],
    known: Mapping[str, _Known],
) -> list[dict[str, Any]]:
    """Jobs that are watched: by id, or all of some projects that may still change.

    Those known from the last look are asked for again: their last event may have come since.
    """
    columns = [getattr(Job, name) for name in _STATE]
    conditions = [Job.id.in_(set(wanted))] if wanted else []
    if projects:
        young = ids.first(ids.JOB, clock.read(session).wall - _YOUNG)
        mine = Job.project_id.in_(projects)
        conditions += [
            mine & Job.status.in_(_ACTIVE),
            mine & (Job.id > young),
            mine & Job.id.in_(_unfinished(known)),
        ]
    if not conditions:
        return []
    query = select(*columns).where(Job.deleted_at.is_(None), or_(*conditions))
    return [dict(row) for row in session.execute(query).mappings()]


def _unfinished(known: Mapping[str, _Known]) -> list[str]:
    return [
        job_id
        for job_id, each in known.items()
        if each.state["status"] not in FINAL or each.number < each.state["event_count"]
    ]
