"""Options that are declared once: what the command line sees, and what the function gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from tunesmith.cli.spread import spread, words_of


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where."""

    out: Annotated[Path, typer.Option(help="Folder.")]
    max_rows: Annotated[int | None, typer.Option(min=1)] = None
    loud: Annotated[bool, typer.Option("--loud")] = False
    adapter: Annotated[list[str] | None, typer.Option()] = None


seen: list[tuple[str, Place, bool]] = []
app = typer.Typer()


@app.command()
@spread
def work(name: str, place: Place, quiet: Annotated[bool, typer.Option("--quiet")] = False) -> None:
    """Do it."""
    seen.append((name, place, quiet))


def test_fields_of_a_dataclass_are_options_and_arrive_as_one_object() -> None:
    words = ["model", "--out", "x", "--adapter", "a=1", "--adapter", "b=2", "--quiet"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert seen.pop() == ("model", Place(out=Path("x"), adapter=["a=1", "b=2"]), True)


def test_what_is_needed_and_what_has_limits_is_checked_as_ever() -> None:
    assert CliRunner().invoke(app, ["model"]).exit_code == 2
    assert CliRunner().invoke(app, ["model", "--out", "x", "--max-rows", "0"]).exit_code == 2
    assert "Do it." in CliRunner().invoke(app, ["--help"]).output


def test_only_what_was_given_is_handed_on_in_one_word_each() -> None:
    given = Place(out=Path("-x"), max_rows=3, loud=True, adapter=["a=1", "b=2"])
    words = ["--out=-x", "--max-rows=3", "--loud", "--adapter=a=1", "--adapter=b=2"]
    assert words_of(given) == words
    assert words_of(Place(out=Path("x"))) == ["--out=x"]
