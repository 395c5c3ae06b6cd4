"""`tunesmith login URL`: keep a server and a token for all other commands."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from tunesmith.cli.remote.connecting import JsonOption
from tunesmith.cli.terminal import printable, say, say_json, warn
from tunesmith.errors import InputError
from tunesmith.sdk import Client
from tunesmith.sdk.connection import checked_address
from tunesmith.sdk.login import DEFAULT_URL, Login, sign_in, store

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_HELP = (
    "Sign in to a server, so that jobs, models, datasets and train --remote find it.\n\n"
    "Asks for a token, without showing it; with --user for the password of that user. Address and "
    "token are kept in a file of this user alone. TUNESMITH_URL and TUNESMITH_TOKEN win over it.\n"
)
_EXAMPLES = """Examples:

tunesmith login http://127.0.0.1:8400

tunesmith login https://tune.example.com --user li.na

echo "$TOKEN" | tunesmith login https://tune.example.com
"""


@app.command(help=_HELP, epilog=_EXAMPLES)
def login(
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="Address of the server.")
    ] = DEFAULT_URL,
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="NAME", help="Sign in by password.")
    ] = None,
    json: JsonOption = False,
) -> None:
    url = checked_address(url)
    if user is not None:
        found = sign_in(url, user, _secret(f"Password of {user}"))
    else:
        found = Login(url, _secret(f"Token for {url}"))
    with Client(found.url, found.token, retries=2) as client:
        me = client.me()
    path = store(found)
    for name in ("TUNESMITH_URL", "TUNESMITH_TOKEN"):
        if os.environ.get(name):
            warn(f"{name} is set, and wins over this login.")
    if json:
        return say_json({"url": found.url, "user": me.user.name, "file": str(path)})
    return say(f"Signed in to {found.url} as {printable(me.user.name)}. This is kept in\n  {path}")


def _secret(question: str) -> str:
    """Typed without echo, or a line of standard input."""
    if sys.stdin.isatty():
        secret: str = typer.prompt(question, hide_input=True, err=True)
    else:
        secret = sys.stdin.readline()
    if not secret.strip():
        raise InputError(
            "Nothing was given to sign in with.",
            hint="The first start of `tunesmith serve` prints a token; others are made by "
            "`tunesmith tokens create`.",
            code="no_token",
        )
    return secret.strip("\r\n")
