"""`tunesmith recipe`: what can be written in a recipe, and what a recipe comes to."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.terminal import say, say_json, table, warn

if TYPE_CHECKING:
    from tunesmith.recipe import FieldDoc

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What can be written in a recipe, and what a recipe comes to.",
)


@app.command(epilog="Example: tunesmith recipe show recipe.yaml epochs=2")
def show(
    recipe: Annotated[Path, typer.Argument(help="A recipe.", metavar="RECIPE.yaml")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Print a recipe with every default decided, and what its preset said otherwise."""
    from tunesmith.recipe import dump_recipe, load, preset_changes

    loaded = load(recipe, overrides or [])
    changes = preset_changes(loaded.recipe)
    if json:
        say_json(
            {
                "recipe": loaded.recipe.model_dump(mode="json"),
                "changed_from_preset": [asdict(change) for change in changes],
                "notices": [asdict(notice) for notice in loaded.notices],
            }
        )
    else:
        say(dump_recipe(loaded.recipe).rstrip())
    for change in changes:
        warn(f"{change.path} is {change.value}; the preset says {change.preset}.")
    for notice in loaded.notices:
        warn(notice.message, notice.hint)


@app.command(epilog="Example: tunesmith recipe fields --profile pangu-lora")
def fields(
    profile: Annotated[str, typer.Option(help="Whose defaults and ranges.")] = "default",
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List every field with its default and its range."""
    from tunesmith.recipe import profile_fields

    found = profile_fields(profile)
    if json:
        say_json([_facts(each.doc, each.takes()) for each in found])
    else:
        say(table([(each.doc.path, f"{_default(each.doc)} ({each.takes()})") for each in found]))


@app.command(epilog="Example: tunesmith recipe explain lora_rank")
def explain(
    name: Annotated[str, typer.Argument(help="A field, under any of its names.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Say what a field does, what it takes, and its names in other systems."""
    from tunesmith.recipe import explain as explain_field

    doc = explain_field(name)
    if json:
        say_json(_facts(doc, doc.expected()))
        return
    chinese = os.environ.get("TUNESMITH_LANG", "").lower().startswith("zh")
    say(f"{doc.path}\n  {doc.facts.zh if chinese else doc.facts.en}")
    rows = [
        ("default", _default(doc)),
        ("takes", doc.expected("zh" if chinese else "en")),
        ("changes", doc.facts.changes),
        ("other names", ", ".join(doc.facts.aliases) or "none"),
    ]
    say(table(rows))


@app.command(epilog="Example: tunesmith recipe presets")
def presets(
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List the presets with the values that they set."""
    from tunesmith.recipe import PRESETS
    from tunesmith.recipe.catalog import show as show_value

    if json:
        say_json([{**asdict(preset), "values": dict(preset.values)} for preset in PRESETS.values()])
        return
    for preset in PRESETS.values():
        values = ", ".join(f"{name}: {show_value(value)}" for name, value in preset.values.items())
        say(f"{preset.name}\n  {preset.en}\n  profile {preset.profile}; {values}")


@app.command(epilog="Example: tunesmith recipe schema > recipe.schema.json")
def schema() -> None:
    """Print the JSON schema of a complete recipe."""
    from tunesmith.recipe import recipe_json_schema

    say_json(recipe_json_schema())


def _default(doc: FieldDoc) -> str:
    from tunesmith.recipe.catalog import show as show_value

    return "required" if doc.required else show_value(doc.default)


def _facts(doc: FieldDoc, takes: str) -> dict[str, object]:
    return {
        "path": doc.path,
        "required": doc.required,
        "default": None if doc.required else doc.default,
        "takes": takes,
        "choices": doc.choices,
        "kinds": doc.kinds,
        **asdict(doc.facts),
    }
