"""The client that all commands talk through, and the options that all of them have."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from tunesmith.cli.language import language
from tunesmith.cli.terminal import say_json, short_text
from tunesmith.errors import InputError
from tunesmith.schemas.common import Answer
from tunesmith.sdk import Client

_TRIES = 2  # somebody waits at the terminal

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them, not the newest 20.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ProjectOption = Annotated[str | None, typer.Option("--project", help="Name or id of a project.")]


def group(help: str) -> typer.Typer:
    """The app of one group of commands."""
    return typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=help,
    )


def connect() -> Client:
    """A client for the server of TUNESMITH_URL, or of the login; use it in a `with` block."""
    return Client(language=language(), retries=_TRIES)


def document(answer: Answer) -> dict[str, Any]:
    """An answer of the server as JSON."""
    return answer.model_dump(mode="json")


def say_all(answers: list[Any]) -> None:
    """A list as the JSON document of a command."""
    say_json({"data": [document(each) for each in answers]})


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is gone; without a terminal only --yes will do."""
    if yes:
        return
    question = short_text(question, 200)
    if not sys.stdin.isatty():
        raise InputError(
            f"{question} Nobody is there to ask.", hint="Add --yes.", code="not_confirmed"
        )
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)
