"""`tunesmith deployments ...`: models that answer on a server, and what they were asked."""

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
from tunesmith.cli.terminal import command_line, printable, say, say_json, short_text
from tunesmith.schemas.deployments import AskedRead, DeploymentRead
from tunesmith.sdk import Client

app = group("Models that answer under /v1/chat/completions of a server.")
DeploymentArgument = Annotated[
    str, typer.Argument(metavar="DEPLOYMENT", help="Name, id, or its beginning.")
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it answers.")]


@app.command(
    epilog="Examples:\n\ntunesmith deployments create ft:starter:default:sums:7q8wz2c7\n\n"
    "tunesmith deployments create starter --name base --idle-seconds 0"
)
def create(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name of a model or checkpoint, or its id.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What requests call it; the model's name else.")
    ] = None,
    idle_seconds: Annotated[
        int | None,
        typer.Option("--idle-seconds", min=0, help="Stop when nobody asked so long; 0: never."),
    ] = None,
    no_autostart: Annotated[
        bool, typer.Option("--no-autostart", help="A question does not start it.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Keep no questions and answers.")
    ] = False,
    override: Annotated[
        bool, typer.Option("--override", help="Even if it did not pass: admins of the project.")
    ] = False,
    override_reason: Annotated[
        str, typer.Option("--override-reason", help="Why; it stands in the audit.")
    ] = "",
    project: ProjectOption = None,
    no_wait: NoWaitOption = False,
    json: JsonOption = False,
) -> None:
    """Deploy a model and wait until it answers."""
    with connect() as client:
        made = client.deployments.create(
            model,
            name=name,
            idle_seconds=idle_seconds,
            autostart=not no_autostart,
            keeps_requests=not forget,
            overrides_gate=override or bool(override_reason),
            override_reason=override_reason,
            project_id=names.project_id(client, project),
        )
        _tell(client, made, no_wait=no_wait, json=json)


@app.command(epilog="Example: tunesmith deployments start 01m7zvxy3f")
def start(
    deployment: DeploymentArgument, no_wait: NoWaitOption = False, json: JsonOption = False
) -> None:
    """Start one, and wait until it answers."""
    with connect() as client:
        found = client.deployments.start(names.deployment_id(client, deployment))
        _tell(client, found, no_wait=no_wait, json=json)


@app.command(epilog="Example: tunesmith deployments stop 01m7zvxy3f")
def stop(deployment: DeploymentArgument, json: JsonOption = False) -> None:
    """Give its memory back; a question starts it again unless it may not start by itself."""
    with connect() as client:
        found = client.deployments.stop(names.deployment_id(client, deployment))
    say_json(document(found)) if json else say(f"{printable(found.name)} is {found.status}.")


@app.command("list", epilog="Example: tunesmith deployments list")
def list_(project: ProjectOption = None, all: AllOption = False, json: JsonOption = False) -> None:
    """Deployments, newest first."""
    with connect() as client:
        every = client.deployments.list(project_id=names.project_id(client, project))
        found = list(islice(every, None if all else LISTED + 1))
    some = found if all else found[:LISTED]
    if json:
        return say_all(some)
    if not some:
        return say("No model answers here yet. See:\n  tunesmith deployments create --help")
    rows = [
        (short, printable(one.name), one.status, str(one.num_requests),
         ago(one.used_at) if one.used_at else "never")
        for short, one in zip(short_ids([one.id for one in some]), some, strict=True)
    ]  # fmt: skip
    say_table(("id", "name", "is", ">requests", "asked"), rows, wide=1)
    say_more(len(some), more=len(found) > len(some))
    return None


@app.command(epilog="Example: tunesmith deployments show 01m7zvxy3f")
def show(deployment: DeploymentArgument, json: JsonOption = False) -> None:
    """One of them, with the reason where it does not answer."""
    with connect() as client:
        found = client.deployments.get(names.deployment_id(client, deployment))
    if json:
        return say_json(document(found))
    idle = f"{found.idle_seconds} s" if found.idle_seconds else "never"
    rows = [
        ("name", printable(found.name)),
        ("is", f"{found.status}{f' ({found.reason})' if found.reason else ''}"),
        ("error", printable(str((found.error or {}).get("message", "")))),
        ("base", printable(found.base)),
        ("starts by itself", "yes" if found.autostart else "no"),
        ("stops when idle for", idle),
        ("keeps requests", "yes" if found.keeps_requests else "no"),
        ("requests", str(found.num_requests)),
        ("id", found.id),
    ]
    width = max(len(label) for label, _ in rows)
    return say("\n".join(f"{label:<{width}}  {value}" for label, value in rows if value))


@app.command(epilog="Example: tunesmith deployments requests 01m7zvxy3f --json")
def requests(
    deployment: DeploymentArgument, all: AllOption = False, json: JsonOption = False
) -> None:
    """What was asked and answered, newest first."""
    with connect() as client:
        every = client.deployments.requests(names.deployment_id(client, deployment))
        found = list(islice(every, None if all else LISTED + 1))
    some = found if all else found[:LISTED]
    if json:
        return say_all(some)
    if not some:
        return say("Nobody has asked it anything yet.")
    rows = [
        (ago(one.time), _question(one), short_text(printable(one.answer or ""), 40),
         str(one.completion_tokens), f"{one.seconds:.1f} s")
        for one in some
    ]  # fmt: skip
    say_table(("asked", "question", "answer", ">tokens", ">took"), rows, wide=1)
    say_more(len(some), more=len(found) > len(some))
    return None


@app.command(epilog="Example: tunesmith deployments delete 01m7zvxy3f")
def delete(deployment: DeploymentArgument, json: JsonOption = False) -> None:
    """Remove a deployment with the log of its requests; the model stays."""
    with connect() as client:
        found = names.deployment_id(client, deployment)
        client.deployments.delete(found)
    return say_json({"deleted": [found]}) if json else say(f"Deleted {found}. The model stays.")


def _tell(client: Client, made: DeploymentRead, *, no_wait: bool, json: bool) -> None:
    """How it is once it has started, or now; exit code 1 where it failed."""
    if not no_wait and made.status == "starting":
        if not json:
            say(f"{printable(made.name)} is starting ...")
        made = client.deployments.wait(made.id)
    if json:
        say_json(document(made))
    elif made.status == "ready":
        say(f"{printable(made.name)} answers at {client.base_url}/v1/chat/completions")
    else:
        told = printable(str((made.error or {}).get("message", "")))
        say(f"{printable(made.name)} is {made.status}. {told}".rstrip())
        say(f"\nLook again:\n  {command_line('deployments', 'show', short_id(made.id))}")
    raise typer.Exit(1 if made.status == "failed" else 0)


def _question(asked: AskedRead) -> str:
    """The last thing that was said to the model."""
    last = (asked.question or [""])[-1]
    text = last.get("content", "") if isinstance(last, dict) else last
    return short_text(printable(str(text)), 40)
