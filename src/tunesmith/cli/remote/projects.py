"""`tunesmith projects ...`: what a team shares, and who is in it."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.remote import names
from tunesmith.cli.remote.connecting import JsonOption, connect, document, group, say_all
from tunesmith.cli.remote.tables import ago, say_table, short_ids
from tunesmith.cli.terminal import printable, say, say_json

app = group("Projects of the server, and who is in them.")
ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="Name or id.")]
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Name or id.")]


@app.command("list", epilog="Example: tunesmith projects list")
def list_(json: JsonOption = False) -> None:
    """The projects that you are in, and your role."""
    with connect() as client:
        found, me = list(client.projects.list()), client.me()
    if json:
        return say_all(found)
    rows = [
        (short, one.name, me.roles.get(one.id, "-"), f"{one.weight:g}", ago(one.created_at),
         "the usual one" if one.id == me.project_id else "archived" if one.archived_at else "")
        for short, one in zip(short_ids([one.id for one in found]), found, strict=True)
    ]  # fmt: skip
    return say_table(("id", "name", "role", ">weight", "made", ""), rows, wide=1)


@app.command(epilog="Example: tunesmith projects create support")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    description: Annotated[str, typer.Option("--description", help="For people.")] = "",
    json: JsonOption = False,
) -> None:
    """Make a project; for administrators."""
    with connect() as client:
        made = client.projects.create(name, description=description)
    return say_json(document(made)) if json else say(f"Project {printable(made.name)} ({made.id}).")


@app.command(epilog="Example: tunesmith projects update support --weight 2")
def update(
    project: ProjectArgument,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="For people.")] = None,
    weight: Annotated[
        float | None, typer.Option("--weight", help="Share of the devices, against others.")
    ] = None,
    archived: Annotated[bool | None, typer.Option("--archive/--unarchive")] = None,
    json: JsonOption = False,
) -> None:
    """Change what is named."""
    given = {"name": name, "description": description, "weight": weight, "archived": archived}
    changes = {key: value for key, value in given.items() if value is not None}
    with connect() as client:
        made = client.projects.update(str(names.project_id(client, project)), **changes)
    return say_json(document(made)) if json else say(f"Project {printable(made.name)} is changed.")


@app.command(epilog="Example: tunesmith projects members support")
def members(project: ProjectArgument, json: JsonOption = False) -> None:
    """Who is in a project."""
    with connect() as client:
        found = client.projects.members(str(names.project_id(client, project)))
    if json:
        return say_all(found)
    rows = [(one.name, one.role, ago(one.created_at), one.user_id) for one in found]
    return say_table(("name", "role", "since", "id"), rows, wide=0)


@app.command("add", epilog="Example: tunesmith projects add support li.na --role viewer")
def add(
    project: ProjectArgument,
    user: UserArgument,
    role: Annotated[str, typer.Option("--role", help="viewer, member or admin.")] = "member",
    json: JsonOption = False,
) -> None:
    """Let a user in, or change their role."""
    with connect() as client:
        where = str(names.project_id(client, project))
        made = client.projects.set_member(where, names.user_id(client, user), role)
    if json:
        return say_json(document(made))
    return say(f"{printable(made.name)} is {made.role} of {printable(project)}.")


@app.command("remove", epilog="Example: tunesmith projects remove support li.na")
def remove(project: ProjectArgument, user: UserArgument, json: JsonOption = False) -> None:
    """Take a user out of a project; what they made stays."""
    with connect() as client:
        who = names.user_id(client, user)
        client.projects.remove_member(str(names.project_id(client, project)), who)
    told = f"{printable(user)} is in {printable(project)} no more."
    return say_json({"removed": [who]}) if json else say(told)
