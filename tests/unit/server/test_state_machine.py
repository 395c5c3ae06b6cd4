"""Any order of submits, claims, heartbeats, deaths, clock jumps, cancels and stale writers.

Whatever happens: one owner at a time, three tries at most, a final status stays, one model for each
job that succeeded and none for others, no event lost or doubled.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, update
from sqlalchemy.orm import Session

import tunesmith.server
from tunesmith.server import claims, journal
from tunesmith.server.claims import Claim, Result
from tunesmith.server.clock import Moment
from tunesmith.server.errors import (
    Conflict,
    EventsMissing,
    NotFound,
    QuotaExceeded,
    StaleAttempt,
)
from tunesmith.server.queue import Submitted, body_hash
from tunesmith.server.services.credit import hold_price
from tunesmith.server.states import CLAIMED, EDGES, FINAL, MAX_TRIES, Status
from tunesmith.server.tables import Attempt, CreditHold, Device, Job, Model, User

CREDIT, EXPECTED, CENTS_AN_HOUR = 500, 60, 3600.0
SERVER = Path(tunesmith.server.__file__).parent


def test_the_edges_are_those_of_the_design() -> None:
    drawn = {
        ("validating_files", "queued"),
        ("queued", "starting"),
        ("starting", "running"),
        *(("running", end) for end in ("succeeded", "failed", "pausing", "queued")),
        *(("pausing", end) for end in ("paused", "queued")),
        ("starting", "queued"),
        ("paused", "queued"),
    }
    unfinished = [status for status in Status if status not in FINAL]
    drawn |= {(status.value, "cancelled") for status in unfinished}
    # Not drawn, but meant: work that cannot go on fails, and a pause may come after the last step.
    drawn |= {(status, "failed") for status in ("validating_files", "starting", "pausing")}
    drawn |= {("pausing", "succeeded")}
    assert {(a.value, b.value) for a, ends in EDGES.items() for b in ends} == drawn
    assert {"succeeded", "failed", "cancelled"} == FINAL


def test_only_transition_changes_a_status() -> None:
    """No other code of the platform assigns to `status` or writes the column."""
    found: list[str] = []
    for file in sorted(SERVER.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            targets: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, ast.AugAssign | ast.AnnAssign):
                targets = [node.target]
            assigned = any(isinstance(t, ast.Attribute) and t.attr == "status" for t in targets)
            written = (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", getattr(node.func, "attr", ""))
                in ("Job", "values", "setattr")
                and any(word.arg == "status" for word in node.keywords)
            )
            # A dict as columns of a statement; as an answer to a client it changes nothing.
            named = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "values"
            called = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (
                "values",
                "execute",
                "update",
            )
            keyed = (named or called) and any(
                isinstance(key, ast.Constant) and key.value == "status"
                for each in ast.walk(node)
                if isinstance(each, ast.Dict)
                for key in each.keys
            )
            if assigned or written or keyed:
                found.append(f"{file.relative_to(SERVER)}:{node.lineno}")
    of_jobs, of_deployments = "states.py:", "deployments/states.py:"
    assert [place for place in found if not place.startswith((of_jobs, of_deployments))] == []
    assert len(found) == 2


def hold_expected(session: Session, job: Job, _: Moment) -> None:
    """What services/jobs does in the same place, for a job that is expected to take a minute."""
    hold_price(session, job, job.price_cents_per_hour, EXPECTED, billing_url="")


class Life(RuleBasedStateMachine):
    """Two workers with two devices each, and any number of jobs."""

    world: Any  # set by the test
    jobs = Bundle("jobs")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.world.reset()
        self.database = self.world.database
        with self.database.write() as session:
            session.execute(update(User).values(credit_cents=CREDIT))
        self.workers = [self.world.worker(name, 2) for name in ("w1", "w2")]
        self.final: dict[str, str] = {}
        self.files: dict[str, list[dict[str, Any]]] = {}  # events.jsonl of each job
        self.seen: dict[str, tuple[int, str]] = {}  # events and status of each job, when looked at
        self.count = 0

    # ------------------------------------------------------------ users

    @rule(
        target=jobs,
        devices=st.integers(1, 2),
        priority=st.integers(0, 1),
        check=st.booleans(),
        is_paid=st.booleans(),
    )
    def submit(self, devices: int, priority: int, check: bool, is_paid: bool) -> Any:
        self.count += 1
        body = {"number": self.count}
        new = replace(
            self.world.new(f"job-{self.count}"),
            num_devices=devices,
            priority=priority,
            needs_validation=check,
            price_cents_per_hour=CENTS_AN_HOUR * is_paid,
        )
        sent = Submitted(body_hash(body), key=f"key-{self.count}")
        if is_paid and self.credit() - sum(self.held().values()) <= EXPECTED:
            with pytest.raises(QuotaExceeded):
                self.world.jobs.create(new, sent, hold_expected)
            return multiple()
        job, is_new = self.world.jobs.create(new, sent, hold_expected)
        assert is_new
        assert self.held().get(job.id, 0) == EXPECTED * is_paid
        assert self.world.jobs.create(new, sent)[0].id == job.id
        self.files[job.id] = []
        return job.id

    @rule(job=jobs)
    def validated(self, job: str) -> None:
        self.attempt(lambda: self.world.jobs.validated(job))

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        was_final = self.job(job).status in FINAL
        assert self.attempt(lambda: self.world.jobs.cancel(job, "user")) is not was_final

    @rule(job=jobs)
    def pause(self, job: str) -> None:
        self.attempt(lambda: self.world.jobs.pause(job, "user"))

    @rule(job=jobs)
    def stop(self, job: str) -> None:
        self.attempt(lambda: self.world.jobs.stop(job, "user"))

    @rule(job=jobs, devices=st.integers(1, 2))
    def resume(self, job: str, devices: int) -> None:
        resume = self.world.jobs.resume
        self.attempt(lambda: resume(job, "user", num_devices=devices, guard=hold_expected))

    @rule(job=jobs, other=jobs)
    def reorder(self, job: str, other: str) -> None:
        self.attempt(lambda: self.world.jobs.reorder(job, before=other))

    # ------------------------------------------------------------ workers

    @rule(target=claims, worker=st.integers(0, 1))
    def claim(self, worker: int) -> Any:
        claimed = claims.claim(self.database, self.workers[worker])
        return multiple() if claimed is None else claimed

    @rule(claimed=claims)
    def heartbeat(self, claimed: Claim) -> None:
        is_current = self.is_current(claimed)
        (order,) = claims.renew(self.database, claimed.worker_id, [claimed])
        assert (order.intent == "abandon") is not is_current

    @rule(claimed=claims)
    def start(self, claimed: Claim) -> None:
        self.write(claimed, lambda: claims.started(self.database, claimed))

    @rule(claimed=claims, steps=st.integers(1, 4))
    def train(self, claimed: Claim, steps: int) -> None:
        """The engine of the newest claim writes its file, whether or not the worker lives."""
        file = self.files[claimed.job_id]
        if self.is_current(claimed):
            for _ in range(steps):
                seq = sum(event["attempt"] == claimed.attempt for event in file) + 1
                kind = "step" if seq % 3 else "evaluation"
                place = {"attempt": claimed.attempt, "seq": seq}
                file.append(place | {"type": kind, "step": len(file) + 1, "loss": 1.0})

    @rule(claimed=claims, start=st.integers(0, 30), length=st.integers(1, 12))
    def ship(self, claimed: Claim, start: int, length: int) -> None:
        """Any part of the file, known events included; one that would leave a gap is refused."""
        file = self.files[claimed.job_id]
        known = len(self.shipped(claimed.job_id))
        start = min(start, len(file))
        part = file[start : start + length]
        span = (start, start + len(part))

        def send() -> None:
            claims.record(self.database, claimed, part, span=span)

        if start > known and self.is_current(claimed):
            with pytest.raises(EventsMissing):
                send()
        else:
            self.write(claimed, send)

    @rule(claimed=claims)
    def ship_all(self, claimed: Claim) -> None:
        file = self.files[claimed.job_id]
        span = (0, len(file))  # an event of this file is one byte long
        if self.write(claimed, lambda: claims.record(self.database, claimed, file, span=span)):
            assert len(self.shipped(claimed.job_id)) == len(file)

    @rule(claimed=claims)
    def succeed(self, claimed: Claim) -> None:
        model = Result(f"ft:{claimed.job_id}", "adapter")
        self.write(claimed, lambda: claims.succeed(self.database, claimed, model), "succeeded")

    @rule(claimed=claims)
    def fail(self, claimed: Claim) -> None:
        error = {"code": "x", "message": "y"}
        self.write(claimed, lambda: claims.fail(self.database, claimed, error), "failed")

    @rule(claimed=claims)
    def paused(self, claimed: Claim) -> None:
        self.write(claimed, lambda: claims.paused(self.database, claimed), "paused")

    @rule(claimed=claims)
    def confirm_cancel(self, claimed: Claim) -> None:
        self.write(claimed, lambda: claims.confirm_cancel(self.database, claimed), "cancelled")

    @rule(claimed=consumes(claims))
    def release(self, claimed: Claim) -> None:
        self.write(claimed, lambda: claims.release(self.database, claimed))

    # ------------------------------------------------------------ time

    @rule(seconds=st.sampled_from([1, 5, 40, 200]))
    def time_goes_by(self, seconds: int) -> None:
        """Workers that send no heartbeat meanwhile are dead."""
        self.world.wait(seconds)

    @rule(days=st.sampled_from([-1, 1]))
    def clock_jumps(self, days: int) -> None:
        self.world.clock.now += timedelta(days=days)

    # ------------------------------------------------------------ what always holds

    @invariant()
    def every_promise_holds(self) -> None:
        with self.database.read() as session:
            jobs = session.scalars(select(Job)).all()
            attempts = session.scalars(select(Attempt)).all()
            models = Counter(session.scalars(select(Model.job_id)))
            devices = Counter(session.scalars(select(Device.job_id)))
        for job in jobs:
            own = [attempt for attempt in attempts if attempt.job_id == job.id]
            going_on = [attempt for attempt in own if attempt.ended_at is None]
            is_claimed = job.status in CLAIMED
            assert sorted(attempt.number for attempt in own) == list(range(1, job.attempt + 1))
            assert [attempt.number for attempt in going_on] == [job.attempt] * is_claimed
            assert (job.worker_id is not None) == is_claimed == (job.lease_until is not None)
            assert devices[job.id] == (job.num_devices if is_claimed else 0)
            assert 0 <= job.tries <= MAX_TRIES
            assert models[job.id] == (job.status == "succeeded")
            assert (job.finished_at is not None) == (job.status in FINAL)
            if job.id in self.final:
                assert job.status == self.final[job.id]
            elif job.status in FINAL:
                self.final[job.id] = job.status
            for attempt in own:
                held = attempt.device_seconds / len(attempt.devices)
                assert attempt.charged_cents == round(held / 3600 * job.price_cents_per_hour)
            if self.seen.get(job.id) != (job.event_count, job.status):
                self.seen[job.id] = (job.event_count, job.status)
                self.no_event_is_lost_or_doubled(job)

    @invariant()
    def no_cent_is_charged_twice_or_held_for_nothing(self) -> None:
        charged = sum(attempt.charged_cents for attempt in self.world.all(Attempt))
        assert self.credit() == CREDIT - charged
        jobs = {job.id: job for job in self.world.all(Job)}
        for job_id, cents in self.held().items():
            assert jobs[job_id].status not in {*FINAL, "paused"}
            assert jobs[job_id].price_cents_per_hour
            assert 0 <= cents <= EXPECTED

    def teardown(self) -> None:
        """Also of jobs whose number of events says that nothing happened."""
        for job in self.world.all(Job):
            self.no_event_is_lost_or_doubled(job)

    def no_event_is_lost_or_doubled(self, job: Job) -> None:
        events = self.events(job.id)
        assert [event.number for event in events] == list(range(1, job.event_count + 1))
        file = [(event["attempt"], event["seq"]) for event in self.files.get(job.id, [])]
        shipped = [(event.attempt, event.seq) for event in events if event.seq is not None]
        assert shipped == file[: len(shipped)]
        status = "validating_files"
        for event in events:
            if event.type == "status":
                assert event.data["from"] == status
                assert event.data["to"] in EDGES[Status(status)]
                status = event.data["to"]
        assert status == job.status

    # ------------------------------------------------------------ helpers

    def credit(self) -> int:
        (user,) = self.world.all(User)
        return user.credit_cents

    def held(self) -> dict[str, int]:
        return {hold.job_id: hold.cents for hold in self.world.all(CreditHold)}

    def job(self, job_id: str) -> Job:
        return self.world.job(job_id)

    def events(self, job_id: str) -> Any:
        with self.database.read() as session:
            return journal.after(session, job_id, 0, 10_000)

    def shipped(self, job_id: str) -> list[tuple[int, int]]:
        return [(e.attempt, e.seq) for e in self.events(job_id) if e.seq is not None]

    def is_current(self, claimed: Claim) -> bool:
        job = self.job(claimed.job_id)
        return job.status in CLAIMED and job.attempt == claimed.attempt

    def attempt(self, action: Callable[[], Any]) -> bool:
        """Whether what a user asked for was allowed."""
        try:
            action()
        except Conflict:
            return False
        except (NotFound, QuotaExceeded):
            return False
        return True

    def write(self, claimed: Claim, action: Callable[[], Any], ends_as: str = "") -> bool:
        """A write of a worker works when its token is the current one, or repeats an end."""
        job = self.job(claimed.job_id)
        repeats = job.attempt == claimed.attempt and job.status == ends_as
        allowed = self.is_current(claimed) or repeats
        if allowed:
            action()
        else:
            with pytest.raises(StaleAttempt):
                action()
        return allowed


def test_any_order_of_events_keeps_every_promise(world: Any) -> None:
    class Bound(Life):
        pass

    Bound.world = world
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=25,
            stateful_step_count=35,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
