"""`tunesmith notices ...`: who is told of what happens to jobs, and what was sent."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from tunesmith.cli.remote import names
from tunesmith.cli.remote.connecting import (
    AllOption,
    JsonOption,
    ProjectOption,
    connect,
    document,
    group,
    say_all,
)
from tunesmith.cli.remote.tables import LISTED, ago, say_more, say_table, short_id, short_ids
from tunesmith.cli.terminal import command_line, printable, say, say_json
from tunesmith.schemas.notices import SentNoticeRead

app = group("Be told of what happens to jobs: by mail, SMS, chat or webhook.")
SubscriptionArgument = Annotated[
    str, typer.Argument(metavar="SUBSCRIPTION", help="Id, or its beginning.")
]


@app.command(
    epilog="Examples:\n\ntunesmith notices subscribe mail li.na@example.com\n\n"
    "tunesmith notices subscribe webhook https://hooks.example.com/t --event job.failed"
)
def subscribe(
    channel: Annotated[
        str,
        typer.Argument(
            metavar="CHANNEL", help="mail, sms, wecom, dingtalk, feishu, slack, webhook."
        ),
    ],
    address: Annotated[str, typer.Argument(metavar="ADDRESS")],
    event: Annotated[
        list[str] | None,
        typer.Option("--event", help="Repeatable. Otherwise: job.succeeded and job.failed."),
    ] = None,
    job: Annotated[str | None, typer.Option("--job", help="Only of this job.")] = None,
    project: ProjectOption = None,
    language: Annotated[str | None, typer.Option("--language", help="en or zh.")] = None,
    secret: Annotated[
        str | None, typer.Option("--secret", help="Of a DingTalk or Feishu robot that signs.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Be told of a job, or of all jobs of a project."""
    events = event or ["job.succeeded", "job.failed"]
    with connect() as client:
        about = {"language": language, "secret": secret}
        about["project_id"] = names.project_id(client, project)
        about["job_id"] = None if job is None else names.job_id(client, job)
        made = client.notices.subscribe(channel, address, events, **about)
    if json:
        return say_json(document(made))
    say(f"{made.channel} {made.address} is told of {', '.join(made.events)}.")
    if made.secret is not None:
        say(f"\nSecret to verify what comes, shown this once:\n  {made.secret}")
    say(f"\nTry it:\n  {command_line('notices', 'test', short_id(made.id))}")
    return None


@app.command("list", epilog="Example: tunesmith notices list")
def list_(project: ProjectOption = None, all: AllOption = False, json: JsonOption = False) -> None:
    """Subscriptions of a project that are yours, newest first."""
    with connect() as client:
        every = client.notices.list(project_id=names.project_id(client, project))
        found = list(islice(every, None if all else LISTED + 1))
    some = found if all else found[:LISTED]
    if json:
        return say_all(some)
    if not some:
        return say("Nobody is told anything. See:\n  tunesmith notices subscribe --help")
    rows = [
        (short, one.channel, one.address, " ".join(one.events),
         "off" if one.disabled_at else "failing" if one.failing_since else "on")
        for short, one in zip(short_ids([one.id for one in some]), some, strict=True)
    ]  # fmt: skip
    say_table(("id", "channel", "address", "events", "is"), rows, wide=3)
    say_more(len(some), more=len(found) > len(some))
    return None


@app.command("test", epilog="Example: tunesmith notices test 01m7zvxy3f")
def send_test(subscription: SubscriptionArgument, json: JsonOption = False) -> None:
    """Send a test now, and say what came of it."""
    with connect() as client:
        sent = client.notices.test(names.subscription_id(client, subscription))
    say_json(document(sent)) if json else say(_outcome(sent))
    raise typer.Exit(0 if sent.state == "sent" else 1)


@app.command(epilog="Example: tunesmith notices sent 01m7zvxy3f")
def sent(
    subscription: SubscriptionArgument, all: AllOption = False, json: JsonOption = False
) -> None:
    """What was sent, newest first, and what came of it."""
    with connect() as client:
        every = client.notices.sent(names.subscription_id(client, subscription))
        found = list(islice(every, None if all else LISTED + 1))
    some = found if all else found[:LISTED]
    if json:
        return say_all(some)
    if not some:
        return say("Nothing was sent yet.")
    rows = [
        (one.event, one.state, str(len(one.tries)), _outcome(one), ago(one.created_at))
        for one in some
    ]
    say_table(("event", "state", ">tries", "outcome", "made"), rows, wide=3)
    say_more(len(some), more=len(found) > len(some))
    return None


@app.command(epilog="Example: tunesmith notices off 01m7zvxy3f")
def off(subscription: SubscriptionArgument, json: JsonOption = False) -> None:
    """Tell nothing more, until it is turned on again."""
    _turn(subscription, enabled=False, json=json)


@app.command(epilog="Example: tunesmith notices on 01m7zvxy3f")
def on(subscription: SubscriptionArgument, json: JsonOption = False) -> None:
    """Tell again; what was missed is not sent."""
    _turn(subscription, enabled=True, json=json)


@app.command(epilog="Example: tunesmith notices secret 01m7zvxy3f")
def secret(subscription: SubscriptionArgument, json: JsonOption = False) -> None:
    """A new secret for a webhook; for a day the old one signs, too."""
    with connect() as client:
        made = client.notices.rotate_secret(names.subscription_id(client, subscription))
    return say_json(document(made)) if json else say(f"{made.secret}\n\nIt is shown this once.")


@app.command(epilog="Example: tunesmith notices delete 01m7zvxy3f")
def delete(subscription: SubscriptionArgument, json: JsonOption = False) -> None:
    """Remove a subscription with the log of what was sent."""
    with connect() as client:
        found = names.subscription_id(client, subscription)
        client.notices.delete(found)
    return say_json({"deleted": [found]}) if json else say(f"Deleted {found}.")


def _turn(subscription: str, *, enabled: bool, json: bool) -> None:
    with connect() as client:
        found = names.subscription_id(client, subscription)
        changed = client.notices.update(found, enabled=enabled)
    told = f"{changed.channel} {changed.address} is {'on' if enabled else 'off'}."
    return say_json(document(changed)) if json else say(told)


def _outcome(sent: SentNoticeRead) -> str:
    if not sent.tries:
        return "not tried yet"
    last = sent.tries[-1]
    status = f" with status {last.status_code}" if last.status_code is not None else ""
    error = f": {last.error}" if last.error else ""
    return printable(f"{last.outcome}{status} after {last.seconds:.1f} s{error}")
