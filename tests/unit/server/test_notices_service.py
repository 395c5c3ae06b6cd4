"""Subscriptions as users see them: whose they are, what is shown of them, what is refused."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from sqlalchemy import select
from tests.unit.server.receivers import Receiver, receiving

from tunesmith.errors import InputError, TunesmithError
from tunesmith.server.access import Caller, Role
from tunesmith.server.errors import Conflict, NotFound, PermissionDenied, RateLimited
from tunesmith.server.notices.channels import Sender
from tunesmith.server.notices.delivery import deliver_due
from tunesmith.server.notices.gateways import NoticeSettings
from tunesmith.server.outgoing import AddressNotAllowed
from tunesmith.server.sealing import Seal
from tunesmith.server.services.notices import MOST_OF_A_PROJECT, NewSubscription, Notices
from tunesmith.server.tables import AuditEntry, Delivery, Membership, Notice, Subscription

KEY = b"a key of the tests of notices ..."
SETTINGS = NoticeSettings(
    allowed_networks=("127.0.0.0/8",),
    mail_url="json://127.0.0.1/{address}",
    seal=Seal(lambda: [KEY]),
)


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def notices(world: Any) -> Notices:
    return Notices(world.database, SETTINGS)


def caller(world: Any, user: str = "user-a", role: Role = Role.MEMBER, **changes: Any) -> Caller:
    """A member of the project, in the database too."""
    with world.database.write() as session:
        if session.get(Membership, (user, world.project)) is None:
            session.add(
                Membership(
                    user_id=user,
                    project_id=world.project,
                    role=role.word,
                    created_at=world.clock.now,
                )
            )
    fields: dict[str, Any] = {"roles": {world.project: role}, "project_id": world.project}
    return Caller(user, user, **(fields | changes))


def hook(receiver: Receiver, **changes: Any) -> NewSubscription:
    fields: dict[str, Any] = {
        "channel": "webhook",
        "address": receiver.url("/hook?key=s3cret"),
        "events": ["fine_tuning.job.cancelled", "job.failed"],
    }
    return NewSubscription(**(fields | changes))


def code_of(error: type[TunesmithError], call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(error) as refused:
        call(*args, **options)
    assert "s3cret" not in str(refused.value.to_dict())
    return refused.value.code


def test_a_webhook_shows_its_secret_once_and_its_address_never_whole(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    made, secret = notices.subscribe(me, hook(receiver))
    assert secret is not None
    assert secret.startswith("whsec_")
    assert made.address == f"http://127.0.0.1:{receiver.port}/***"
    assert made.events == ["job.cancelled", "job.failed"]
    listed = notices.list(me).items
    assert listed == [made] == [notices.get(me, made.id)]
    notices.deliveries(me, made.id)
    stored = [asdict(made), *[entry.details for entry in world.all(AuditEntry)]]
    assert "s3cret" not in repr(stored)
    assert secret not in repr(stored)
    assert receiver.seen == []  # nobody is called before something happens


def stored(world: Any) -> str:
    """All that the database holds of subscriptions and the audit, as text."""
    with world.database.read() as session:
        subscriptions = [vars(row) for row in session.scalars(select(Subscription))]
        return str([*subscriptions, *(vars(row) for row in session.scalars(select(AuditEntry)))])


def test_the_database_holds_no_address_and_no_secret_in_plain_words(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    world.clock.now = datetime.now(UTC)  # the stock client looks at the time of what is signed
    to, secret = notices.subscribe(me, hook(receiver))
    robot = NewSubscription(
        "dingtalk", "https://oapi.dingtalk.com/robot/send?access_token=" + "f" * 64,
        ["job.failed"], secret="SEC" + "0" * 64,
    )  # fmt: skip
    notices.subscribe(me, robot)
    assert secret is not None
    plain = ["s3cret", "/hook", secret, secret.removeprefix("whsec_"), "f" * 64, "0" * 64]
    assert [word for word in plain if word in stored(world)] == []
    notices.update(me, to.id, address=receiver.url("/other?key=s3cret"))
    _, newer = notices.rotate_secret(me, to.id)
    assert [word for word in [*plain, newer, "/other"] if word in stored(world)] == []
    assert notices.get(me, to.id).address.startswith("http")
    assert notices.test(me, to.id).state == "sent"  # opened where it is needed
    (seen,) = receiver.seen
    assert seen.path.startswith("/other?key=s3cret")
    unwrapped = openai.OpenAI(api_key="none", webhook_secret=newer).webhooks
    unwrapped.verify_signature(seen.body.decode(), seen.headers)


def test_an_old_key_opens_what_it_sealed_and_a_lost_one_is_told(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    to, _ = notices.subscribe(me, hook(receiver))
    other = b"another key of the tests of notices"
    for keys, state in (([other, KEY], "sent"), ([other], "failed"), ([], "failed")):
        settings = replace(SETTINGS, seal=Seal(lambda keys=keys: keys))
        world.clock.now += timedelta(minutes=1)
        told = Notices(world.database, settings).test(me, to.id)
        assert told.state == state, keys
    assert told.tries[0].error == "seal_broken"
    lost = Notices(world.database, replace(SETTINGS, seal=Seal(lambda: [other])))
    assert lost.get(me, to.id).address == ""
    mended = lost.update(me, to.id, address=receiver.url("/new"))
    assert mended.address.startswith("http")


def test_what_happens_arrives_and_is_in_the_log(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    made, _ = notices.subscribe(me, hook(receiver))
    for number in range(3):
        world.clock.now += timedelta(seconds=1)
        world.jobs.cancel(world.submit(f"job {number}").id, "ada")
    sender = Sender(SETTINGS)
    while deliver_due(world.database, sender):
        pass
    first = notices.deliveries(me, made.id, limit=2)
    assert [len(first.items), first.has_more] == [2, True]
    second = notices.deliveries(me, made.id, limit=2, after=first.items[-1].id)
    assert [len(second.items), second.has_more] == [1, False]
    seen = [*first.items, *second.items]
    assert [notice.event for notice in seen] == ["job.cancelled"] * 3
    assert seen == sorted(seen, key=lambda notice: notice.id, reverse=True)
    assert [(one.outcome, one.status_code) for one in seen[0].tries] == [("sent", 200)]
    assert seen[0].next_try_at is None


def test_the_test_button_says_what_came_of_it(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    made, _ = notices.subscribe(me, hook(receiver))
    sent = notices.test(me, made.id)
    assert (sent.event, sent.state, sent.tries[0].status_code) == ("test", "sent", 200)
    assert b'"type":"test"' in receiver.seen[0].body
    assert code_of(RateLimited, notices.test, me, made.id) == "rate_limited"
    assert len(receiver.seen) == 1
    world.clock.now += timedelta(seconds=11)
    receiver.status = 404
    failed = notices.test(me, made.id)
    assert (failed.state, failed.tries[0].status_code) == ("failed", 404)
    assert deliver_due(world.database, Sender(SETTINGS)) == 0  # a test is not repeated


def test_rotation_gives_a_new_secret_and_keeps_the_old_for_a_day(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    made, old = notices.subscribe(me, hook(receiver))
    _, new = notices.rotate_secret(me, made.id)
    assert new != old
    notices.test(me, made.id)
    assert len(receiver.seen[0].headers["webhook-signature"].split()) == 2
    world.clock.now += timedelta(days=1, seconds=1)
    notices.test(me, made.id)
    assert len(receiver.seen[1].headers["webhook-signature"].split()) == 1
    mail, secret = notices.subscribe(me, NewSubscription("mail", "a@example.org", ["job.failed"]))
    assert secret is None
    assert code_of(Conflict, notices.rotate_secret, me, mail.id) == "not_a_webhook"


def test_turned_off_it_sends_nothing_and_turned_on_nothing_of_what_was_missed(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me, sender = caller(world), Sender(SETTINGS)
    made, _ = notices.subscribe(me, hook(receiver))
    world.jobs.cancel(world.submit().id, "ada")
    off = notices.update(me, made.id, enabled=False)
    assert (off.disabled_at, off.disabled_reason) == (world.clock.now, "user")
    assert code_of(Conflict, notices.test, me, made.id) == "subscription_disabled"
    on = notices.update(me, made.id, enabled=True)
    assert (on.disabled_at, on.disabled_reason) == (None, "")
    assert deliver_due(world.database, sender) == 0
    world.jobs.cancel(world.submit("after").id, "ada")
    assert deliver_due(world.database, sender) == 1


def test_a_change_is_checked_like_a_new_one(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    made, _ = notices.subscribe(me, hook(receiver))
    changed = notices.update(
        me, made.id, events=["job.paused"], language="zh", address=receiver.url("/other")
    )
    assert (changed.events, changed.language) == (["job.paused"], "zh")
    assert SETTINGS.seal.open(world.all(Subscription)[0].address) == receiver.url("/other")
    for changes, code in (
        ({"address": "http://169.254.169.254/latest?s3cret"}, "address_not_allowed"),
        ({"address": "file:///etc/passwd"}, "address_not_allowed"),
        ({"events": ["job.won"]}, "unknown_event"),
        ({"events": []}, "unknown_event"),
        ({"language": "fr"}, "unknown_language"),
    ):
        assert code_of(InputError, notices.update, me, made.id, **changes) == code
    assert notices.get(me, made.id) == changed


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"channel": "pager"}, "unknown_channel"),
        ({"channel": "mailtos"}, "unknown_channel"),
        ({"channel": "sms", "address": "+8613800000000"}, "channel_not_set_up"),
        ({"channel": "mail", "address": "s3cret"}, "bad_notice_address"),
        ({"channel": "slack", "address": "json://127.0.0.1/s3cret"}, "bad_notice_address"),
        ({"address": "http://10.0.0.1/s3cret"}, "address_not_allowed"),
        ({"address": "http://0x7f000001/s3cret"}, "address_not_allowed"),
        ({"address": "http://[::ffff:127.0.0.1]/s3cret"}, "address_not_allowed"),
        ({"job_id": "ftjob-none"}, "job_not_found"),
        ({"project_id": "proj-none"}, "project_not_found"),
    ],
)
def test_what_cannot_be_told_is_refused_and_not_stored(
    world: Any, notices: Notices, receiver: Receiver, changes: dict[str, Any], code: str
) -> None:
    me = caller(world)
    assert code_of(InputError, notices.subscribe, me, hook(receiver, **changes)) == code
    assert world.all(Subscription) == []


def test_a_job_of_another_project_cannot_be_watched(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    other = world.add_project("proj-b")
    job = world.submit("theirs", project_id=other)
    me = caller(world)
    assert (
        code_of(NotFound, notices.subscribe, me, hook(receiver, job_id=job.id)) == "job_not_found"
    )


def test_subscriptions_of_others_do_not_exist_but_for_admins_of_the_project(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    made, _ = notices.subscribe(me, hook(receiver))
    stranger = Caller("user-s", "s", roles={})
    mate = caller(world, world.add_user("user-b"))
    calls: list[Any] = [
        notices.get,
        notices.update,
        notices.delete,
        notices.rotate_secret,
        notices.test,
        notices.deliveries,
    ]
    for call in calls:
        for who in (stranger, mate):
            assert code_of(NotFound, call, who, made.id) == "subscription_not_found"
    assert notices.list(mate).items == []
    assert code_of(NotFound, notices.list, stranger, world.project) == "project_not_found"
    admin = caller(world, world.add_user("user-c"), Role.ADMIN)
    assert notices.list(admin).items == [made]
    notices.delete(admin, made.id)
    assert world.all(Subscription) == []
    assert receiver.seen == []


def test_a_viewer_and_a_token_that_only_reads_change_nothing(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    viewer = caller(world, world.add_user("user-v"), Role.VIEWER)
    assert code_of(PermissionDenied, notices.subscribe, viewer, hook(receiver)) == "role_too_low"
    me = caller(world)
    made, _ = notices.subscribe(me, hook(receiver))
    reader = caller(world, scopes=frozenset({"read"}))
    assert notices.get(reader, made.id) == made
    for call in (notices.update, notices.delete, notices.rotate_secret, notices.test):
        assert code_of(PermissionDenied, call, reader, made.id) == "scope_missing"


def test_a_deleted_subscription_takes_its_notices_and_their_log_along(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    made, _ = notices.subscribe(me, hook(receiver))
    notices.test(me, made.id)
    world.jobs.cancel(world.submit().id, "ada")
    notices.delete(me, made.id)
    assert world.all(Notice) == world.all(Delivery) == []
    assert deliver_due(world.database, Sender(SETTINGS)) == 0
    actions = [entry.action for entry in world.all(AuditEntry)]
    assert sorted(actions) == ["subscription.create", "subscription.delete", "subscription.test"]


def test_a_project_has_only_so_many_subscriptions(
    world: Any, notices: Notices, receiver: Receiver
) -> None:
    me = caller(world)
    with world.database.write() as session:
        session.add_all(
            Subscription(
                id=f"sub-{number:026d}",
                user_id=me.user_id,
                project_id=world.project,
                events=["job.failed"],
                channel="mail",
                address="a@example.org",
                created_at=world.clock.now,
            )
            for number in range(MOST_OF_A_PROJECT)
        )
    code = code_of(Conflict, notices.subscribe, me, hook(receiver))
    assert code == "too_many_subscriptions"
    page = notices.list(me, limit=150)
    rest = notices.list(me, limit=150, after=page.items[-1].id)
    assert (len(page.items), len(rest.items), rest.has_more) == (150, 50, False)


def test_without_an_allowed_network_the_server_itself_is_refused(
    world: Any, receiver: Receiver
) -> None:
    strict = Notices(world.database, NoticeSettings())
    code = code_of(AddressNotAllowed, strict.subscribe, caller(world), hook(receiver))
    assert code == "address_not_allowed"
