"""Subscriptions as users see them: make, look, change, test, and what was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import Session

from tunesmith.errors import InputError
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.errors import Conflict, NotFound, RateLimited
from tunesmith.server.notices import addresses, outbox, signing
from tunesmith.server.notices.channels import Sender
from tunesmith.server.notices.delivery import attempt, deliver_all, disable, take
from tunesmith.server.notices.gateways import NoticeSettings
from tunesmith.server.notices.texts import LANGUAGES
from tunesmith.server.paging import Page, page
from tunesmith.server.sealing import Seal, SealBroken
from tunesmith.server.tables import Delivery, Job, Notice, Subscription

MOST_OF_A_PROJECT: Final = 200
OVERLAP: Final = timedelta(days=1)  # the old secret signs beside the new one for so long
TEST_PAUSE: Final = timedelta(seconds=10)


@dataclass(frozen=True)
class NewSubscription:
    """What a subscriber asks for. Without `job_id`: all jobs and deployments of the project."""

    channel: str
    address: str
    events: Sequence[str]
    project_id: str | None = None
    job_id: str | None = None
    language: str | None = None
    secret: str | None = None  # of a DingTalk or Feishu robot; that of a webhook is made here


@dataclass(frozen=True)
class SubscriptionView:
    """A subscription without what is secret in it."""

    id: str
    user_id: str
    project_id: str
    job_id: str | None
    channel: str
    address: str  # masked
    events: Sequence[str]
    language: str
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: str


@dataclass(frozen=True)
class Try:
    """One try to deliver a notice."""

    number: int
    time: datetime
    seconds: float
    outcome: str
    status_code: int | None
    error: str


@dataclass(frozen=True)
class NoticeView:
    """A notice with all that was tried to deliver it."""

    id: str
    event: str
    job_id: str | None
    state: str
    created_at: datetime
    sent_at: datetime | None
    next_try_at: datetime | None
    tries: Sequence[Try]


class Notices:
    """Members have subscriptions of their own; admins of a project see and change all of it."""

    def __init__(
        self, database: Database, settings: NoticeSettings, sender: Sender | None = None
    ) -> None:
        self._database, self._settings = database, settings
        self._sender = sender or Sender(settings)
        self._seal = settings.seal

    def deliver(self) -> int:
        """Send what is due; how many tries there were. Any server does this, every second."""
        return deliver_all(self._database, self._sender)

    def check(self, new: NewSubscription) -> None:
        """What `subscribe` would refuse, before there is a job to subscribe to."""
        _events(new.events)
        self._address(new.channel, new.address)

    def subscribe(
        self, caller: Caller, new: NewSubscription
    ) -> tuple[SubscriptionView, str | None]:
        """The subscription, and the secret of a webhook, which is shown this once."""
        project_id = caller.chosen(new.project_id, Role.MEMBER)
        events, language = _events(new.events), _language(new.language or caller.language)
        address = self._address(new.channel, new.address)
        secret = None
        if new.channel == "webhook":
            secret = signing.new_secret()
        elif new.secret:
            secret = addresses.normal_secret(new.channel, new.secret)
        with self._database.write() as session:
            moment = clock.read(session)
            _refuse_foreign_job(session, new.job_id, project_id)
            _refuse_too_many(session, project_id)
            to = Subscription(
                id=ids.new(ids.SUBSCRIPTION, moment.wall),
                user_id=caller.user_id,
                project_id=project_id,
                job_id=new.job_id,
                events=events,
                channel=new.channel,
                address=self._seal.close(address),
                secret=None if secret is None else self._seal.close(secret),
                language=language,
                created_at=moment.wall,
            )
            session.add(to)
            session.flush()
            _audit(session, moment, caller, "create", to, self._seal)
            return _view(to, self._seal), secret if new.channel == "webhook" else None

    def list(
        self,
        caller: Caller,
        project_id: str | None = None,
        *,
        job_id: str | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Page[SubscriptionView]:
        """Newest first, those that the caller may change."""
        project_id = caller.chosen(project_id, Role.VIEWER)
        query = select(Subscription).where(
            Subscription.project_id == project_id, _visible(caller, project_id)
        )
        if job_id is not None:
            query = query.where(Subscription.job_id == job_id)
        with self._database.read() as session:
            found = page(session, query, Subscription.id, after=after, limit=limit)
        return Page([_view(to, self._seal) for to in found.items], found.has_more)

    def get(self, caller: Caller, subscription_id: str) -> SubscriptionView:
        with self._database.read() as session:
            return _view(_own(session, caller, subscription_id, Role.VIEWER), self._seal)

    def update(
        self,
        caller: Caller,
        subscription_id: str,
        *,
        events: Sequence[str] | None = None,
        address: str | None = None,
        language: str | None = None,
        enabled: bool | None = None,
    ) -> SubscriptionView:
        """What is None stays. Turned on again, nothing of what was missed is sent."""
        with self._database.read() as session:
            channel = _own(session, caller, subscription_id, Role.VIEWER).channel
        checked = None if address is None else self._address(channel, address)
        with self._database.write() as session:
            moment = clock.read(session)
            to = _own(session, caller, subscription_id, Role.MEMBER)
            if checked is not None:
                to.address, to.failing_since = self._seal.close(checked), None
            if events is not None:
                to.events = _events(events)
            if language is not None:
                to.language = _language(language)
            if enabled is False and to.disabled_at is None:
                disable(session, to, "user", moment)
            elif enabled:
                to.disabled_at, to.disabled_reason, to.failing_since = None, "", None
            session.flush()
            _audit(session, moment, caller, "update", to, self._seal)
            return _view(to, self._seal)

    def delete(self, caller: Caller, subscription_id: str) -> None:
        """Gone with its notices and their log; what waits is not sent."""
        with self._database.write() as session:
            to = _own(session, caller, subscription_id, Role.MEMBER)
            _audit(session, clock.read(session), caller, "delete", to, self._seal)
            session.delete(to)

    def rotate_secret(self, caller: Caller, subscription_id: str) -> tuple[SubscriptionView, str]:
        """A new secret for a webhook; for a day the old one signs, too."""
        with self._database.write() as session:
            moment = clock.read(session)
            to = _own(session, caller, subscription_id, Role.MEMBER)
            if to.channel != "webhook":
                raise Conflict(
                    f"Subscription {to.id} is no webhook, so it has no secret to rotate.",
                    code="not_a_webhook",
                    channel=to.channel,
                )
            secret = signing.new_secret()
            to.old_secret, to.old_secret_until = to.secret, moment.wall + OVERLAP
            to.secret = self._seal.close(secret)
            _audit(session, moment, caller, "rotate", to, self._seal)
            return _view(to, self._seal), secret

    def test(self, caller: Caller, subscription_id: str) -> NoticeView:
        """Send a test now, once; the answer says what came of it. Takes as long as the address."""
        with self._database.write() as session:
            moment = clock.read(session)
            to = _own(session, caller, subscription_id, Role.MEMBER)
            _refuse_disabled(to)
            _refuse_too_soon(session, to, moment)
            notice = outbox.add_test(session, to, moment)
            claimed = take(session, notice, moment)
            _audit(session, moment, caller, "test", to, self._seal)
        attempt(self._database, self._sender, claimed)
        with self._database.read() as session:
            return _views(session, [session.get_one(Notice, claimed.message.id)])[0]

    def deliveries(
        self, caller: Caller, subscription_id: str, *, after: str | None = None, limit: int = 20
    ) -> Page[NoticeView]:
        """What was sent or is to be, newest first, with every try."""
        with self._database.read() as session:
            to = _own(session, caller, subscription_id, Role.VIEWER)
            query = select(Notice).where(Notice.subscription_id == to.id)
            found = page(session, query, Notice.id, after=after, limit=limit)
            return Page(_views(session, found.items), found.has_more)

    def _address(self, channel: str, address: str) -> str:
        """Checked as far as it can be before something is sent."""
        if channel not in addresses.CHANNELS:
            raise InputError(
                f"There is no channel {channel}; nothing was stored.",
                hint=f"Channels are {', '.join(addresses.CHANNELS)}.",
                code="unknown_channel",
                param="channel",
                channel=channel,
            )
        if channel in ("mail", "sms") and not self._settings.gateway(channel):
            raise Conflict(
                f"This installation has no gateway for {channel}; nothing was stored.",
                hint=f"An administrator sets TUNESMITH_{channel.upper()}_URL.",
                code="channel_not_set_up",
                channel=channel,
            )
        address = addresses.normal(channel, address)
        if channel == "webhook":
            self._sender.outgoing.check(address)
        return address


def _own(session: Session, caller: Caller, subscription_id: str, role: Role) -> Subscription:
    """The subscription, locked where the transaction writes; NotFound for those of others."""
    missing = NotFound(
        f"There is no subscription {subscription_id}.",
        code="subscription_not_found",
        id=subscription_id,
    )
    query = select(Subscription).where(Subscription.id == subscription_id)
    if role is not Role.VIEWER:
        query = query.with_for_update(key_share=True)
    to = session.scalars(query).one_or_none()
    if to is None:
        raise missing
    caller.require(to.project_id, role, missing)
    if to.user_id != caller.user_id and caller.roles[to.project_id] < Role.ADMIN:
        raise missing
    return to


def _visible(caller: Caller, project_id: str) -> ColumnElement[bool]:
    """Condition on what the caller may see in a project."""
    if caller.roles[project_id] >= Role.ADMIN:
        return true()
    return Subscription.user_id == caller.user_id


def _events(wanted: Sequence[str]) -> list[str]:
    events = list(dict.fromkeys(outbox.own_name(event) for event in wanted))
    unknown = [event for event in events if event not in outbox.EVENTS]
    if unknown or not events:
        raise InputError(
            f"There is no event {unknown[0]}; nothing was stored."
            if unknown
            else "No event was named; nothing was stored.",
            hint=f"Events are {', '.join(outbox.EVENTS)}.",
            code="unknown_event",
            event=", ".join(unknown[:1]) or "-",
            events=list(outbox.EVENTS),
            param="events",
        )
    return events


def _language(language: str) -> str:
    if language not in LANGUAGES:
        raise InputError(
            f"Notices are not written in {language}; nothing was stored.",
            hint=f"Languages are {', '.join(LANGUAGES)}.",
            code="unknown_language",
            param="language",
            language=language,
        )
    return language


def _refuse_foreign_job(session: Session, job_id: str | None, project_id: str) -> None:
    if job_id is None:
        return
    found = session.scalar(
        select(Job.id).where(
            Job.id == job_id, Job.project_id == project_id, Job.deleted_at.is_(None)
        )
    )
    if found is None:
        raise NotFound(f"There is no job {job_id}.", code="job_not_found", id=job_id)


def _refuse_too_many(session: Session, project_id: str) -> None:
    number = session.scalar(select(func.count()).where(Subscription.project_id == project_id))
    if (number or 0) >= MOST_OF_A_PROJECT:
        raise Conflict(
            f"The project has {MOST_OF_A_PROJECT} subscriptions, which is the most.",
            hint="Delete some that nobody needs.",
            code="too_many_subscriptions",
            limit=MOST_OF_A_PROJECT,
        )


def _refuse_disabled(to: Subscription) -> None:
    if to.disabled_at is not None:
        raise Conflict(
            f"Subscription {to.id} is turned off, so nothing was sent.",
            hint="Turn it on again first.",
            code="subscription_disabled",
        )


def _refuse_too_soon(session: Session, to: Subscription, moment: Moment) -> None:
    """The button must not be a way to flood somebody else's address."""
    last = session.scalar(
        select(func.max(Notice.created_at)).where(
            Notice.subscription_id == to.id,
            Notice.event == outbox.TEST,
            Notice.created_at > moment.wall - TEST_PAUSE,
        )
    )
    if last is not None:
        raise RateLimited(
            "A test was sent a moment ago; none was sent now.",
            hint="Try again in some seconds.",
            retry_after=round(TEST_PAUSE.total_seconds()),
        )


def _audit(
    session: Session, moment: Moment, caller: Caller, action: str, to: Subscription, seal: Seal
) -> None:
    audit(
        session,
        moment,
        caller,
        f"subscription.{action}",
        to.id,
        project_id=to.project_id,
        channel=to.channel,
        address=_masked(to, seal),
    )


def _masked(to: Subscription, seal: Seal) -> str:
    """The address as it may be shown; nothing of one whose key is gone."""
    try:
        return addresses.masked(to.channel, seal.open(to.address))
    except SealBroken:
        return ""


def _view(to: Subscription, seal: Seal) -> SubscriptionView:
    return SubscriptionView(
        id=to.id,
        user_id=to.user_id,
        project_id=to.project_id,
        job_id=to.job_id,
        channel=to.channel,
        address=_masked(to, seal),
        events=list(to.events),
        language=to.language,
        created_at=to.created_at,
        failing_since=to.failing_since,
        disabled_at=to.disabled_at,
        disabled_reason=to.disabled_reason or "",
    )


def _views(session: Session, notices: Sequence[Any]) -> list[NoticeView]:
    tries: dict[str, list[Try]] = {notice.id: [] for notice in notices}
    rows = session.scalars(
        select(Delivery)
        .where(Delivery.notice_id.in_(tries))
        .order_by(Delivery.notice_id, Delivery.number)
    )
    for row in rows:
        tries[row.notice_id].append(
            Try(row.number, row.time, row.seconds, row.outcome, row.status_code, row.error)
        )
    return [
        NoticeView(
            id=notice.id,
            event=notice.event,
            job_id=notice.job_id,
            state=notice.state,
            created_at=notice.created_at,
            sent_at=notice.sent_at,
            next_try_at=notice.next_try_at if notice.state == "pending" else None,
            tries=tries[notice.id],
        )
        for notice in notices
    ]
