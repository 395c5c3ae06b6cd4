"""What is due is sent once, signed, again where it failed, and not for ever."""

from __future__ import annotations

import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from openai import InvalidWebhookSignatureError
from openai.types.webhooks import FineTuningJobCancelledWebhookEvent
from tests.unit.server.receivers import Receiver, Seen, receiving
from tests.unit.server.subscribers import subscribe

from tunesmith.server import sweep
from tunesmith.server.notices import signing
from tunesmith.server.notices.channels import Outcome, Sender
from tunesmith.server.notices.delivery import (
    LEASE_SECONDS,
    MAX_TRIES,
    RETRY_SECONDS,
    attempt,
    claim_due,
    deliver_all,
    deliver_due,
    forget_old,
    record,
    retry_delay,
)
from tunesmith.server.notices.gateways import NoticeSettings
from tunesmith.server.tables import Delivery, Notice, Subscription

SECRET = signing.new_secret()
LOCAL = NoticeSettings(allowed_networks=("127.0.0.0/8",))


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def sender() -> Sender:
    return Sender(LOCAL)


def listen(world: Any, receiver: Receiver, name: str = "sub-a", **columns: Any) -> str:
    """A webhook to the receiver, told of cancelled jobs."""
    fields: dict[str, Any] = {"events": ["job.cancelled"], "secret": SECRET}
    return subscribe(world, name, address=receiver.url("/hook?key=s3cret"), **(fields | columns))


def happen(world: Any, times: int = 1) -> None:
    for number in range(times):
        world.jobs.cancel(world.submit(f"job {number}").id, "ada")


def pass_time(world: Any, seconds: float) -> None:
    """As on a running server: the clock goes on and is swept."""
    world.clock.now += timedelta(seconds=seconds)
    sweep.sweep(world.database)


def unwrap(seen: Seen, secret: str = SECRET, body: bytes | None = None) -> Any:
    client = openai.OpenAI(api_key="none", webhook_secret=secret)
    return client.webhooks.unwrap((body or seen.body).decode(), seen.headers)


def test_a_webhook_is_one_that_the_stock_client_unwraps(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    world.clock.now = datetime.now(UTC)
    listen(world, receiver)
    job = world.submit("mine")
    world.jobs.cancel(job.id, "ada")
    assert deliver_due(world.database, sender) == 1
    (seen,) = receiver.seen
    event = unwrap(seen)
    assert isinstance(event, FineTuningJobCancelledWebhookEvent)
    assert (event.type, event.data.id) == ("fine_tuning.job.cancelled", job.id)
    assert event.id.startswith("evt_")
    assert event.created_at == int(world.clock.now.timestamp())
    assert seen.headers["content-type"] == "application/json"
    assert deliver_due(world.database, sender) == 0


def test_a_changed_body_another_secret_and_an_old_timestamp_are_refused(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    world.clock.now = datetime.now(UTC) - timedelta(seconds=290)
    listen(world, receiver)
    happen(world)
    deliver_due(world.database, sender)
    (seen,) = receiver.seen
    unwrap(seen)
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(seen, body=seen.body.replace(b"ftjob-", b"ftjob_"))
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(seen, secret=signing.new_secret())
    world.clock.now = datetime.now(UTC) - timedelta(seconds=301)
    happen(world)
    deliver_due(world.database, sender)
    with pytest.raises(InvalidWebhookSignatureError, match="too old"):
        unwrap(receiver.seen[-1])


def test_after_a_rotation_both_secrets_verify_for_a_while(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    world.clock.now = datetime.now(UTC)
    new = signing.new_secret()
    until = world.clock.now + timedelta(seconds=60)
    listen(world, receiver, secret=new, old_secret=SECRET, old_secret_until=until)
    happen(world)
    deliver_due(world.database, sender)
    assert unwrap(receiver.seen[0], new).id == unwrap(receiver.seen[0], SECRET).id
    world.clock.now += timedelta(seconds=61)
    happen(world)
    deliver_due(world.database, sender)
    assert unwrap(receiver.seen[1], new)
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(receiver.seen[1], SECRET)


def test_a_failed_delivery_is_repeated_with_the_same_id_until_it_arrives(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    listen(world, receiver)
    happen(world)
    receiver.status = 503
    assert deliver_due(world.database, sender) == 1
    assert deliver_due(world.database, sender) == 0  # not yet
    pass_time(world, RETRY_SECONDS[0] * 1.2 + 1)
    receiver.status = 204
    assert deliver_due(world.database, sender) == 1
    first, second = receiver.seen
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    log = [(row.number, row.outcome, row.status_code) for row in world.all(Delivery)]
    assert log == [(1, "retry", 503), (2, "sent", 204)]
    (notice,) = world.all(Notice)
    assert (notice.state, notice.num_tries, notice.sent_at) == ("sent", 2, world.clock.now)
    assert world.all(Subscription)[0].failing_since is None


def test_it_ends_after_five_tries(world: Any, receiver: Receiver, sender: Sender) -> None:
    listen(world, receiver)
    happen(world)
    receiver.status = 500
    for delay in (*RETRY_SECONDS, 86400.0, 86400.0):
        deliver_due(world.database, sender)
        pass_time(world, delay * 1.2 + 1)
    assert len(receiver.seen) == MAX_TRIES
    outcomes = [row.outcome for row in world.all(Delivery)]
    assert outcomes == ["retry"] * 4 + ["failed"]
    assert world.all(Notice)[0].state == "failed"
    assert world.all(Subscription)[0].disabled_at is None  # hours are not days


def test_an_address_that_fails_for_days_is_turned_off_and_the_log_says_so(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    listen(world, receiver)
    receiver.status = 500
    happen(world)
    deliver_due(world.database, sender)
    pass_time(world, 3 * 86400)
    happen(world, 2)
    deliver_due(world.database, sender)
    (to,) = world.all(Subscription)
    assert (to.disabled_at, to.disabled_reason) == (world.clock.now, "failing")
    last = sorted(world.all(Delivery), key=lambda row: (row.notice_id, row.number))
    assert "disabled" in [row.outcome for row in last]
    assert {row.state for row in world.all(Notice)} == {"failed"}
    num_seen = len(receiver.seen)
    happen(world)
    pass_time(world, 86400)
    assert deliver_due(world.database, sender) == 0
    assert len(receiver.seen) == num_seen


def test_an_address_that_says_it_is_gone_is_turned_off_at_once(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    listen(world, receiver)
    happen(world)
    receiver.status = 410
    deliver_due(world.database, sender)
    assert world.all(Subscription)[0].disabled_reason == "gone"
    assert [row.outcome for row in world.all(Delivery)] == ["failed", "disabled"]


def test_a_private_address_is_never_called(world: Any, receiver: Receiver) -> None:
    listen(world, receiver)
    happen(world)
    deliver_due(world.database, Sender(NoticeSettings()))
    assert receiver.seen == []
    (row,) = world.all(Delivery)
    assert (row.outcome, row.error) == ("failed", "address_not_allowed: loopback")


def test_a_redirect_is_a_failure_and_is_not_followed(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    listen(world, receiver)
    happen(world)
    with receiving() as other:
        receiver.status, receiver.headers = 307, {"location": other.url()}
        deliver_due(world.database, sender)
        assert other.seen == []
    assert [(row.outcome, row.status_code) for row in world.all(Delivery)] == [("retry", 307)]


def test_what_the_other_side_writes_and_its_address_are_kept_nowhere(
    world: Any, receiver: Receiver, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    receiver.status, receiver.body = 500, b"internal-secret-page"
    listen(world, receiver)
    happen(world)
    deliver_due(world.database, sender)
    told = repr([vars(row) for row in world.all(Delivery)]) + caplog.text
    assert "internal-secret-page" not in told
    assert "s3cret" not in told
    assert SECRET not in told


def test_several_deliverers_at_once_send_each_notice_once(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    for name in range(5):
        listen(world, receiver, f"sub-{name}")
    happen(world, 8)
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        while deliver_due(world.database, sender, limit=3):
            pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while deliver_due(world.database, sender):
        pass
    ids = [seen.headers["webhook-id"] for seen in receiver.seen]
    assert len(ids) == len(set(ids)) == 40
    assert {row.state for row in world.all(Notice)} == {"sent"}
    assert len(world.all(Delivery)) == 40


def test_a_notice_whose_process_died_is_sent_by_another(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    listen(world, receiver)
    happen(world)
    (lost,) = claim_due(world.database)
    assert claim_due(world.database) == []
    for _ in range(int(LEASE_SECONDS / 5) + 1):
        pass_time(world, 5)
    (second,) = claim_due(world.database)
    record(world.database, lost, Outcome(False, 500), 0.1)  # the dead one comes back
    assert world.all(Delivery) == []
    assert claim_due(world.database) == []  # the second one still has it
    attempt(world.database, sender, second)
    record(world.database, lost, Outcome(False, 500), 0.1)
    assert world.all(Notice)[0].state == "sent"
    assert [row.number for row in world.all(Delivery)] == [2]


def test_a_jump_of_the_clock_sends_nothing_twice_and_holds_nothing_back(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    listen(world, receiver)
    happen(world)
    (held,) = claim_due(world.database)
    pass_time(world, 86400)
    assert claim_due(world.database) == []  # the lease is not counted in wall time
    receiver.status = 500
    attempt(world.database, sender, held)
    pass_time(world, -3 * 86400)
    receiver.status = 200
    assert deliver_due(world.database, sender) == 1


def test_a_subscriber_with_many_notices_delays_no_other(world: Any, receiver: Receiver) -> None:
    listen(world, receiver, "sub-many")
    happen(world, 20)
    listen(world, receiver, "sub-one")
    happen(world)
    claimed = claim_due(world.database, limit=2)
    assert {one.subscription_id for one in claimed} == {"sub-many", "sub-one"}


def test_the_pauses_grow_and_are_spread() -> None:
    assert [retry_delay(number, 0.5).total_seconds() for number in (1, 2, 3, 4)] == list(
        RETRY_SECONDS
    )
    assert retry_delay(1, 0.0).total_seconds() == pytest.approx(24)
    assert retry_delay(1, 1.0).total_seconds() == pytest.approx(36)
    assert retry_delay(1, 0.5, retry_after=600).total_seconds() == 600
    assert retry_delay(1, 0.5, retry_after=1e9).total_seconds() == RETRY_SECONDS[-1] * 1.2


def test_a_server_sends_all_that_is_due_at_once(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    listen(world, receiver)
    happen(world, 5)
    assert deliver_all(world.database, sender, rounds=2) == 2  # one of a subscription a round
    assert deliver_all(world.database, sender) == 3
    assert deliver_all(world.database, sender) == 0
    assert len(receiver.seen) == 5


def test_what_is_old_and_settled_is_forgotten(
    world: Any, receiver: Receiver, sender: Sender
) -> None:
    listen(world, receiver)
    happen(world, 2)
    deliver_due(world.database, sender)
    pass_time(world, 89 * 86400)
    assert forget_old(world.database) == 0
    pass_time(world, 2 * 86400)
    assert forget_old(world.database) == 1
    assert [row.state for row in world.all(Notice)] == ["pending"]
    assert world.all(Delivery) == []
