"""`tunesmith tokens ...`: one's own API tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.remote import names
from tunesmith.cli.remote.connecting import JsonOption, connect, document, group, say_all
from tunesmith.cli.remote.tables import ago, local, say_table, short_ids
from tunesmith.cli.terminal import printable, say, say_json
from tunesmith.schemas.people import TokenRead

app = group("Your API tokens on the server.")


@app.command(epilog="Example: tunesmith tokens create laptop --days 30 --scope read")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="read, write, admin; repeatable. Otherwise: read and write."),
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Only for this one, by name or id.")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How long it counts.")] = 90,
    forever: Annotated[bool, typer.Option("--forever", help="It never ends.")] = False,
    json: JsonOption = False,
) -> None:
    """Make a token. Its secret is shown this once."""
    with connect() as client:
        made = client.tokens.create(
            name,
            scopes=scope or ["read", "write"],
            project_id=names.project_id(client, project),
            lifetime_days=None if forever else days,
        )
    if json:
        return say_json(document(made))
    until = f"until {local(made.expires_at)}" if made.expires_at else "for ever"
    say(f"{made.secret}\n")
    say(f"Token {printable(made.name)} may {', '.join(made.scopes)} {until}.")
    say("Keep it now: it is not shown again.")
    return None


@app.command("list", epilog="Example: tunesmith tokens list")
def list_(json: JsonOption = False) -> None:
    """Tokens that count, newest first."""
    with connect() as client:
        found = list(client.tokens.list())
    if json:
        return say_all(found)
    if not found:
        return say("No tokens.")
    rows = [
        (short, one.name, " ".join(one.scopes), one.prefix, _end(one), ago(one.last_used_at))
        for short, one in zip(short_ids([one.id for one in found]), found, strict=True)
    ]
    say_table(("id", "name", "may", "begins", "ends", "used"), rows, wide=1)
    return None


@app.command(epilog="Example: tunesmith tokens revoke laptop")
def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Id, its beginning, or name.")],
    json: JsonOption = False,
) -> None:
    """A token counts no more from this moment on."""
    with connect() as client:
        found = names.token_id(client, token)
        client.tokens.revoke(found)
    return say_json({"revoked": [found]}) if json else say(f"Revoked {found}.")


def _end(token: TokenRead) -> str:
    return f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "never"
