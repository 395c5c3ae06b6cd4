"""Jobs as users see them: submit, look, steer, copy, delete. Each method says who may.

The queue below (server/queue.py) decides what a job can do; here it is decided who asks, what a
draft means (submission.py), what it costs, and what is written down in the audit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, not_, select, tuple_, update
from sqlalchemy.orm import Session

from tunesmith.errors import InputError, TunesmithError
from tunesmith.recipe import Notice
from tunesmith.server import clock, holds, journal, listing
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict, NotFound
from tunesmith.server.flavours import Flavour
from tunesmith.server.keeping.needed import needed_checkpoints
from tunesmith.server.paging import Page, refuse_no_cursor
from tunesmith.server.queue import (
    Guard,
    JobFilter,
    NewJob,
    Queue,
    Submitted,
    body_hash,
    refuse_retry,
)
from tunesmith.server.quotas import Limits
from tunesmith.server.services import recipes
from tunesmith.server.services.credit import hold_price
from tunesmith.server.services.estimates import Estimate, estimate, left_of
from tunesmith.server.services.flavours import Flavours
from tunesmith.server.services.models.grounds import advised
from tunesmith.server.services.notices import NewSubscription, Notices, SubscriptionView
from tunesmith.server.services.scaling import Scaling, refuse_idle_devices, scalings
from tunesmith.server.services.submission import (
    Resolved,
    notices_once,
    overrides,
    resolve,
    with_ids,
)
from tunesmith.server.services.tasks import Tasks
from tunesmith.server.services.waiting import held_back, why
from tunesmith.server.settings import Settings
from tunesmith.server.states import FINAL, Status, illegal, status_of, transition
from tunesmith.server.tables import Checkpoint, Job, Model, Task, User

Action = Literal["cancel", "pause", "resume", "stop", "retry", "delete"]


@dataclass(frozen=True)
class Draft:
    """A job as a client describes it: names are not looked up yet.

    `overrides` win over the recipe, by path. `request` is the body as it came.
    """

    recipe: Mapping[str, Any] | str
    project_id: str | None = None
    name: str | None = None
    description: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    flavour: str = ""
    num_devices: int | None = None
    priority: int = 0
    labels: Mapping[str, str] | None = None
    request: Mapping[str, Any] | None = None
    parent_id: str | None = None
    checkpoint_id: str | None = None
    subscriptions: Sequence[NewSubscription] = ()  # who is told of what happens to it


@dataclass(frozen=True)
class Prepared:
    """A draft that could be submitted: all of it is looked up and priced."""

    project_id: str
    resolved: Resolved
    flavour: Flavour | None
    num_devices: int
    estimate: Estimate
    scalings: Sequence[Scaling] = ()


@dataclass(frozen=True)
class Receipt:
    """What became of a draft. `is_new` is False where the same request came before."""

    job: Job
    is_new: bool
    notices: Sequence[Notice] = ()
    subscriptions: Sequence[tuple[SubscriptionView, str | None]] = ()  # with a webhook's secret


@dataclass(frozen=True)
class _OrderedAgain:
    """A job that goes on: on what, and at which price."""

    flavour: Flavour | None
    price_cents_per_hour: float
    left_cents: int


@dataclass(frozen=True)
class Account:
    """What a user can pay with: `credit_cents` is None where they are not charged."""

    credit_cents: int | None
    held_cents: int  # of it, for jobs that wait or run

    def pays(self, estimate: Estimate) -> bool:
        """Whether a job of this price would be accepted."""
        if self.credit_cents is None or not estimate.price_cents_per_hour:
            return True
        return self.credit_cents - self.held_cents > estimate.price_cents


@dataclass(frozen=True)
class Details:
    """One job, without its recipe, and what lies beside it."""

    job: listing.JobRow
    datasets: Sequence[tuple[str, str, str, int | None]]  # (id of a version, role, name, number)
    attempts: Sequence[Any]
    model_id: str | None
    num_checkpoints: int
    waits_for: Notice | None = None


class Jobs:
    """The use cases of jobs."""

    def __init__(
        self, database: Database, settings: Settings, tasks: Tasks, notices: Notices
    ) -> None:
        self._database, self._settings = database, settings
        self._tasks, self._notices = tasks, notices
        self._place = DataDir(settings.data_dir)
        self.flavours = Flavours(database, settings)
        self._limits = Limits.of(settings)
        self.queue = Queue(database, self._limits)

    # ------------------------------------------------------------ submit

    def create(self, caller: Caller, draft: Draft, submitted: Submitted) -> tuple[Job, bool]:
        """The job, and whether it is new: the same request again returns the first one's job."""
        receipt = self.submit(caller, draft, submitted)
        return receipt.job, receipt.is_new

    def submit(self, caller: Caller, draft: Draft, submitted: Submitted) -> Receipt:
        """The same, with what the author should know."""
        caller.chosen(draft.project_id, Role.MEMBER)
        known = self.queue.known(caller.user_id, submitted)
        if known is not None:
            return Receipt(known, False)
        prepared = self.prepare(caller, draft)
        for wanted in draft.subscriptions:
            self._notices.check(wanted)
        job, is_new = self.queue.create(
            self._new(caller, draft, prepared),
            submitted,
            self._on_create(caller, prepared.estimate),
        )
        notices = notices_once(prepared.resolved.notices)
        if not is_new:
            return Receipt(job, False, notices)
        subscribed = [
            self._notices.subscribe(
                caller, replace(wanted, project_id=job.project_id, job_id=job.id)
            )
            for wanted in draft.subscriptions
        ]
        return Receipt(job, True, notices, subscribed)

    def prepare(self, caller: Caller, draft: Draft) -> Prepared:
        """Read a draft; what is wrong with its recipe and its names is told at once."""
        project_id = caller.chosen(draft.project_id, Role.MEMBER)
        changes = {**({"name": draft.name} if draft.name else {}), **draft.overrides}
        num_devices = draft.num_devices or 1
        wanted = overrides(changes)
        with self._database.read() as session:
            moment = clock.read(session)
            loaded = recipes.examined(
                draft.recipe,
                overrides=wanted,
                num_devices=num_devices,
                advised=advised(session, caller, project_id),
            )
            resolved = resolve(session, caller, project_id, loaded, self._settings)
            resolved.refuse()
            flavour = self.flavours.choose(session, moment, draft.flavour, draft.num_devices)
            num_devices = flavour.num_devices if flavour is not None else num_devices
            held = held_back(session, moment, self._limits, caller.user_id)
            resolved.notices += [held] if held is not None else []
            resolved.notices += self.flavours.notices(session, moment, flavour, num_devices)
            comes = recipes.comes_to(resolved.recipe, resolved.rows, num_devices)
            refuse_idle_devices(comes, num_devices)
            offered = scalings(self.flavours.all(session, moment), comes)
            expected = estimate(session, self._place, resolved, flavour, num_devices)
        return Prepared(project_id, resolved, flavour, num_devices, expected, offered)

    def _new(self, caller: Caller, draft: Draft, prepared: Prepared) -> NewJob:
        resolved, flavour = prepared.resolved, prepared.flavour
        return NewJob(
            project_id=prepared.project_id,
            user_id=caller.user_id,
            name=draft.name or resolved.recipe.name,
            recipe=resolved.recipe.model_dump(mode="json"),
            base=resolved.base_name,
            base_model_id=resolved.base.id if resolved.base is not None else None,
            description=draft.description,
            labels=draft.labels,
            request=draft.request,
            num_devices=prepared.num_devices,
            flavour=flavour.device if flavour is not None else "",
            flavour_name=flavour.name if flavour is not None else "",
            price_cents_per_hour=flavour.price_cents_per_hour if flavour is not None else 0.0,
            priority=draft.priority,
            parent_id=draft.parent_id,
            checkpoint_id=draft.checkpoint_id,
            datasets=resolved.versions,
        )

    def _on_create(self, caller: Caller, expected: Estimate) -> Guard:
        """In the transaction that makes a job: what its user can pay, and the audit."""

        def guard(session: Session, job: Job, moment: Moment) -> None:
            _hold_base(session, job)
            self.order_by(session, job, expected)
            _write(session, moment, caller, "job.create", job, parent=job.parent_id)

        return guard

    def order_by(
        self,
        session: Session,
        job: Job,
        expected: Estimate | None,
        *,
        kept: str = "nothing was submitted",
    ) -> None:
        """Keep what the job is expected to need, to be held against what it takes; hold its price.

        Refused where the account cannot pay it. `expected` is empty while the rows are not known.
        """
        job.expected = None if expected is None else asdict(expected)
        hourly = job.price_cents_per_hour
        price = None if expected is None else round(expected.seconds / 3600 * hourly)
        rules = self._settings.billing_url
        hold_price(session, job, hourly, price, billing_url=rules, kept=kept)

    def preflight(self, caller: Caller, draft: Draft) -> tuple[Prepared, Account]:
        """What would be submitted and what it is expected to cost; and what the caller has."""
        prepared = self.prepare(caller, draft)
        with self._database.read() as session:
            credit = session.scalar(select(User.credit_cents).where(User.id == caller.user_id))
            held = holds.held_cents(session, caller.user_id)
        return prepared, Account(credit, held)

    def plan(self, caller: Caller, draft: Draft) -> Task:
        """Measure what a draft needs, with its model and data: a background task."""
        prepared = self.prepare(caller, draft)
        recipe = prepared.resolved.recipe.model_dump(mode="json")
        price = prepared.estimate.price_cents_per_hour
        return self._tasks.submit(
            caller,
            "job.plan",
            {"recipe": recipe, "price_cents_per_hour": price},
            project_id=prepared.project_id,
        )

    # ------------------------------------------------------------ look

    def list(
        self,
        caller: Caller,
        *,
        project_id: str | None = None,
        statuses: Collection[Status] = (),
        user_id: str | None = None,
        text: str = "",
        base: str = "",
        labels: Mapping[str, str] | None = None,
        without_labels: bool = False,
        after: str | None = None,
        limit: int = 20,
        with_recipes: bool = True,
    ) -> Page[Any]:
        """Of one project or all of the caller's, newest first; rows without recipes are quick."""
        if project_id is not None:
            caller.require(project_id, Role.VIEWER)
        caller.require_scope("read")
        wanted = JobFilter(
            project_ids=[project_id] if project_id else caller.projects(),
            statuses=statuses,
            user_id=caller.user_id if user_id == "me" else user_id,
            text=text,
            base=base,
            labels=labels or {},
            without_labels=without_labels,
        )
        if after:
            with self._database.read() as session:
                refuse_no_cursor(session, after, Job.id)
        if with_recipes:
            found = self.queue.list(wanted, after=after, limit=limit)
            return Page(found.items, found.has_more)
        with self._database.read() as session:
            rows = listing.listed(session, wanted, after, limit + 1)
        return Page(rows[:limit], len(rows) > limit)

    def get(self, caller: Caller, job_id: str) -> Job:
        with self._database.read() as session:
            return visible(session, caller, job_id)

    def details(self, caller: Caller, job_id: str) -> Details:
        """The job with its datasets, attempts and result."""
        with self._database.read() as session:
            job = listing.one(session, job_id)
            if job is None:
                raise missing(job_id)
            caller.require(job.project_id, Role.VIEWER, missing(job_id))
            waits_for = None
            if job.status == Status.QUEUED:
                moment, devices = clock.read(session), job.num_devices
                waits_for = why(
                    session, moment, self.flavours, self._limits, job.user_id, job.flavour, devices
                )
            return Details(job, **listing.beside(session, job_id), waits_for=waits_for)

    def events(
        self, caller: Caller, job_id: str, *, after: int = 0, limit: int = 100
    ) -> Sequence[journal.Record]:
        """Events after a number, oldest first."""
        with self._database.read() as session:
            visible(session, caller, job_id)
            return journal.after(session, job_id, after, limit)

    # ------------------------------------------------------------ steer

    def cancel(self, caller: Caller, job_id: str) -> Job:
        return self.queue.cancel(job_id, caller.user_name, _guard(caller, "job.cancel"))

    def pause(self, caller: Caller, job_id: str) -> Job:
        return self.queue.pause(job_id, caller.user_name, _guard(caller, "job.pause"))

    def stop(self, caller: Caller, job_id: str) -> Job:
        return self.queue.stop(job_id, caller.user_name, _guard(caller, "job.stop"))

    def resume(self, caller: Caller, job_id: str, *, num_devices: int | None = None) -> Job:
        """Queue a paused job again, at the price of today for what is left of it."""
        with self._database.read() as session:
            job = visible(session, caller, job_id, Role.MEMBER)
            if status_of(job) is not Status.PAUSED:
                raise illegal(job, Status.QUEUED)
            ordered = self._ordered_again(session, caller, job, num_devices or job.num_devices)
        chosen, left = ordered.flavour, ordered.left_cents
        columns: dict[str, Any] = {} if chosen is None else {
            "flavour": chosen.device,
            "flavour_name": chosen.name,
        }  # fmt: skip
        columns["price_cents_per_hour"] = price = ordered.price_cents_per_hour

        def guard(session: Session, job: Job, moment: Moment) -> None:
            _require(caller, job)
            rules, kept = self._settings.billing_url, "the job stays paused"
            hold_price(session, job, price, left, billing_url=rules, kept=kept)
            _write(session, moment, caller, "job.resume", job, num_devices=num_devices, price=price)

        return self.queue.resume(
            job_id, caller.user_name, num_devices=num_devices, guard=guard, **columns
        )

    def _ordered_again(
        self, session: Session, caller: Caller, job: Job, num_devices: int
    ) -> _OrderedAgain:
        """What a job that stopped on the way is computed on today, and what the rest costs."""
        chosen = self.flavours.again(session, clock.read(session), job, num_devices)
        loaded = recipes.load(with_ids(session, job), num_devices=num_devices)
        resolved = resolve(session, caller, job.project_id, loaded, self._settings)
        if num_devices > job.num_devices:
            refuse_idle_devices(recipes.comes_to(resolved.recipe, resolved.rows), num_devices)
        expected = estimate(session, self._place, resolved, chosen, num_devices)
        price = chosen.price_cents_per_hour if chosen is not None else 0.0
        return _OrderedAgain(chosen, price, left_of(expected.price_cents, job))

    def reorder(self, caller: Caller, job_id: str, *, before: str | None) -> Job:
        """Put a waiting job in front of another of its project, or last (None)."""
        return self.queue.reorder(job_id, before=before, guard=_guard(caller, "job.reorder"))

    def retry(self, caller: Caller, job_id: str, submitted: Submitted) -> Receipt:
        """A new job like one that ended, checked and priced as of today; the caller's."""
        with self._database.read() as session:
            job = visible(session, caller, job_id, Role.MEMBER)
            refuse_retry(job)
            recipe = with_ids(session, job)
        draft = Draft(
            recipe=recipe,
            project_id=job.project_id,
            name=job.name,
            description=job.description,
            flavour=job.flavour_name or job.flavour,
            num_devices=job.num_devices,
            priority=job.priority,
            labels=job.labels,
            request=job.request,
            parent_id=job.id,
            checkpoint_id=job.checkpoint_id,
        )
        return self.submit(caller, draft, submitted)

    def update(self, caller: Caller, job_id: str, **changes: Any) -> Job:
        """Name, description and labels at any time; the priority while the job waits."""

        def change(session: Session, job: Job, moment: Moment) -> Job:
            if "priority" in changes and status_of(job) in FINAL:
                raise Conflict(
                    f"Job {job.id} is {job.status}; its priority counts no more.",
                    code="job_finished",
                    status=job.status,
                )
            for column, value in changes.items():
                setattr(job, column, value)
            _write(session, moment, caller, "job.update", job, fields=sorted(changes))
            session.flush()
            return job

        return self.queue.change(job_id, change, lambda _, job, __: _require(caller, job))

    def delete(self, caller: Caller, job_id: str) -> None:
        """A job that ended, or is paused, leaves the list. Its model stays.

        Its checkpoints are given up but for those that are models or that other jobs go on from;
        the clean-up removes the files.
        """

        def delete(session: Session, job: Job, moment: Moment) -> Job:
            if status_of(job) is Status.PAUSED:
                job = transition(
                    session, job, Status.CANCELLED, moment, reason="deleted", message="Deleted"
                )
            if status_of(job) not in FINAL:
                raise Conflict(
                    f"Job {job.id} is {job.status}; only ended and paused jobs can be deleted.",
                    hint="Cancel it first.",
                    code="job_active",
                    status=job.status,
                )
            job.deleted_at = moment.wall
            session.execute(
                update(Checkpoint)
                .where(
                    Checkpoint.job_id == job.id,
                    Checkpoint.deleted_at.is_(None),
                    not_(_is_kept(session)),
                )
                .values(deleted_at=moment.wall)
            )
            session.flush()
            return job

        self.queue.change(job_id, delete, _guard(caller, "job.delete"))

    def bulk(
        self, caller: Caller, action: Action, job_ids: Sequence[str]
    ) -> Sequence[tuple[str, Job | TunesmithError | None]]:
        """One action on several jobs, each in a transaction of its own, in the order given."""
        return [
            (job_id, self._one_of_many(caller, action, job_id)) for job_id in dict.fromkeys(job_ids)
        ]

    def _one_of_many(
        self, caller: Caller, action: Action, job_id: str
    ) -> Job | TunesmithError | None:
        try:
            if action == "delete":
                return self.delete(caller, job_id)
            if action == "retry":
                return self.retry(caller, job_id, Submitted(body_hash({"retry": job_id}))).job
            steer = {
                "cancel": self.cancel,
                "pause": self.pause,
                "resume": self.resume,
                "stop": self.stop,
            }
            return steer[action](caller, job_id)
        except InputError as error:
            return error


def _is_kept(session: Session) -> ColumnElement[bool]:
    """Checkpoints that something else rests on."""
    return tuple_(Checkpoint.job_id, Checkpoint.step).in_(sorted(needed_checkpoints(session)))


def _hold_base(session: Session, job: Job) -> None:
    """The base is still there, and stays until this transaction ends: a deletion sees the job."""
    if job.base_model_id is None:
        return
    found = session.scalar(
        select(Model.id)
        .where(Model.id == job.base_model_id, Model.deleted_at.is_(None))
        .with_for_update(read=True)
    )
    if found is None:
        raise NotFound(
            f"Model {job.base} was deleted meanwhile; nothing was submitted.",
            code="model_not_found",
            id=job.base,
        )


def visible(session: Session, caller: Caller, job_id: str, role: Role = Role.VIEWER) -> Job:
    """A job that the caller may see, or work with; NotFound for everybody else's."""
    job = session.scalars(
        select(Job).where(Job.id == job_id, Job.deleted_at.is_(None))
    ).one_or_none()
    if job is None:
        raise missing(job_id)
    caller.require(job.project_id, role, missing(job_id))
    return job


def missing(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id}.", code="job_not_found", id=job_id)


def _require(caller: Caller, job: Job) -> None:
    caller.require(job.project_id, Role.MEMBER, missing(job.id))


def _guard(caller: Caller, action: str) -> Guard:
    """Whether the caller may, and the entry that says that they did."""

    def guard(session: Session, job: Job, moment: Moment) -> None:
        _require(caller, job)
        _write(session, moment, caller, action, job)

    return guard


def _write(
    session: Session, moment: Moment, caller: Caller, action: str, job: Job, **details: Any
) -> None:
    told = {name: value for name, value in details.items() if value is not None}
    audit(session, moment, caller, action, job.id, project_id=job.project_id, **told)
