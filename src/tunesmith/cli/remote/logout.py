"""`tunesmith logout`: forget the server and its token."""

from __future__ import annotations

import typer

from tunesmith.cli.remote.connecting import JsonOption
from tunesmith.cli.terminal import say, say_json, warn
from tunesmith.errors import TunesmithError
from tunesmith.sdk import Client
from tunesmith.sdk.login import forget, read

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command(
    help="Forget the server and its token. A token that `login --user` made is revoked.",
    epilog="Example: tunesmith logout",
)
def logout(json: JsonOption = False) -> None:
    login = read()
    revoked = False
    if login is not None and login.token_id:
        try:
            with Client(login.url, login.token, retries=1) as client:
                client.tokens.revoke(login.token_id)
            revoked = True
        except TunesmithError as error:
            warn(f"The token could not be revoked: {error.message}", "It ends by itself.")
    was_there = forget()
    if json:
        return say_json({"forgotten": was_there, "revoked": revoked})
    if not was_there:
        return say("Nobody was signed in.")
    return say(f"Signed out of {login.url}." if login is not None else "Signed out.")
