"""`tunesmith users ...`: for administrators; `users show` and `users password` for everybody."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Annotated, Any

import typer

from tunesmith.cli.remote import names
from tunesmith.cli.remote.connecting import (
    AllOption,
    JsonOption,
    connect,
    document,
    group,
    say_all,
)
from tunesmith.cli.remote.tables import LISTED, ago, local, say_more, say_table, short_ids
from tunesmith.cli.terminal import printable, say, say_json, table
from tunesmith.cli.work import size
from tunesmith.errors import InputError
from tunesmith.schemas.people import UserRead

app = group("Users of the server.")
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Name, id, or `me`.")]
EmailOption = Annotated[str | None, typer.Option("--email", help="Where notices may go.")]
AskOption = Annotated[bool, typer.Option("--password", help="Ask for one; from a pipe: a line.")]
AdminOption = Annotated[bool | None, typer.Option("--admin/--no-admin", help="Administrator.")]
LanguageOption = Annotated[str | None, typer.Option("--language", help="en or zh.")]
JobsOption = Annotated[int | None, typer.Option("--running-jobs", min=0, help="At most.")]
HoursOption = Annotated[
    float | None, typer.Option("--device-hours", min=0, help="In 30 days, at most.")
]
StorageOption = Annotated[
    float | None, typer.Option("--storage-gb", min=0, help="Of files, at most.")
]
CreditOption = Annotated[int | None, typer.Option("--credit", help="In cents.")]


@app.command("list", epilog="Example: tunesmith users list")
def list_(all: AllOption = False, json: JsonOption = False) -> None:
    """Users, newest first."""
    with connect() as client:
        users = list(islice(client.users.list(), None if all else LISTED + 1))
    found = users if all else users[:LISTED]
    if json:
        return say_all(found)
    rows = [
        (short, one.name, _role(one), one.email or "-", ago(one.last_login_at))
        for short, one in zip(short_ids([one.id for one in found]), found, strict=True)
    ]
    say_table(("id", "name", "is", "email", "signed in"), rows, wide=3)
    say_more(len(found), more=len(users) > len(found))
    return None


@app.command(epilog="Example: tunesmith users show me")
def show(user: UserArgument = "me", json: JsonOption = False) -> None:
    """One user."""
    with connect() as client:
        found = client.users.get(names.user_id(client, user))
    return say_json(document(found)) if json else say(table(_facts(found)))


@app.command(epilog="Example: tunesmith users create li.na --email li.na@example.com --password")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    email: EmailOption = None,
    password: AskOption = False,
    admin: AdminOption = None,
    language: LanguageOption = None,
    project: Annotated[
        list[str] | None, typer.Option("--project", help="To be a member of; repeatable.")
    ] = None,
    running_jobs: JobsOption = None,
    device_hours: HoursOption = None,
    storage_gb: StorageOption = None,
    credit: CreditOption = None,
    json: JsonOption = False,
) -> None:
    """Make a user. Without --project they join the one named `default`, if there is one."""
    fields = _fields(email, admin, language, running_jobs, device_hours, storage_gb, credit)
    with connect() as client:
        if project:
            fields["project_ids"] = [names.project_id(client, each) for each in project]
        if password:
            fields["password"] = ask_password(f"Password for {name}")
        made = client.users.create(name, **fields)
        if json:
            return say_json(document(made))
        joined = [client.projects.get(each).name for each in made.project_ids]
    return say(f"User {printable(made.name)} ({made.id}), {_place(made, joined)}.")


@app.command(epilog="Example: tunesmith users update li.na --running-jobs 4 --disable")
def update(
    user: UserArgument,
    email: EmailOption = None,
    password: AskOption = False,
    admin: AdminOption = None,
    disable: Annotated[bool | None, typer.Option("--disable/--enable")] = None,
    language: LanguageOption = None,
    running_jobs: JobsOption = None,
    device_hours: HoursOption = None,
    storage_gb: StorageOption = None,
    credit: CreditOption = None,
    no_limit: Annotated[
        list[str] | None,
        typer.Option("--no-limit", help="running-jobs, device-hours, storage or credit."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Change what is named."""
    changes = _fields(email, admin, language, running_jobs, device_hours, storage_gb, credit)
    changes |= {_LIMITS[_limit(word)]: None for word in no_limit or []}
    if disable is not None:
        changes["disabled"] = disable
    with connect() as client:
        found = names.user_id(client, user)
        if password:
            changes["password"] = ask_password(f"New password for {user}")
        if not changes:
            raise InputError("Nothing to change was named.", hint="See --help for what there is.")
        made = client.users.update(found, **changes)
    return say_json(document(made)) if json else say(f"User {printable(made.name)} is changed.")


def ask_password(question: str) -> str:
    """Typed twice without echo; a line of standard input where that is no terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return typer.prompt(question, hide_input=True, confirmation_prompt=True, err=True)


_LIMITS = {
    "running-jobs": "quota_running_jobs",
    "device-hours": "quota_device_hours",
    "storage": "quota_storage_bytes",
    "credit": "credit_cents",
}


def _limit(word: str) -> str:
    if word not in _LIMITS:
        raise InputError(
            f"--no-limit {printable(word)} names no limit.",
            hint=f"Limits are {', '.join(_LIMITS)}.",
        )
    return word


def _fields(
    email: str | None,
    admin: bool | None,
    language: str | None,
    running_jobs: int | None,
    device_hours: float | None,
    storage_gb: float | None,
    credit: int | None,
) -> dict[str, Any]:
    """What was named, as the server calls it."""
    given = {
        "email": email,
        "is_admin": admin,
        "language": language,
        "quota_running_jobs": running_jobs,
        "quota_device_hours": device_hours,
        "quota_storage_bytes": None if storage_gb is None else round(storage_gb * 1e9),
        "credit_cents": credit,
    }
    return {name: value for name, value in given.items() if value is not None}


def _place(user: UserRead, projects: list[str]) -> str:
    """Where a new user stands."""
    if user.is_admin:
        return "administrator of all projects"
    return f"member of {printable(', '.join(projects))}" if projects else "in no project"


def _role(user: UserRead) -> str:
    return "disabled" if user.disabled_at else "admin" if user.is_admin else "user"


def _facts(user: UserRead) -> list[tuple[str, str]]:
    hours, cents = user.quota_device_hours, user.credit_cents
    facts = [
        ("id", user.id),
        ("name", user.name),
        ("email", user.email or ""),
        ("is", _role(user)),
        ("language", user.language),
        ("running jobs", "" if user.quota_running_jobs is None else str(user.quota_running_jobs)),
        ("device hours", "" if hours is None else f"{hours:g} in 30 days"),
        ("storage", "" if user.quota_storage_bytes is None else size(user.quota_storage_bytes)),
        ("credit", "" if cents is None else f"{cents / 100:.2f}"),
        ("made", local(user.created_at)),
        ("signed in", local(user.last_login_at)),
    ]
    return [(name, printable(value)) for name, value in facts if value]
