"""`tunesmith recipe`: what can be written in a recipe, and what a recipe comes to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.language import chinese, language
from tunesmith.cli.terminal import say, say_json, table, warn

if TYPE_CHECKING:
    from tunesmith.recipe import FieldDoc

_EXPLAINED = ("default", "takes", "changes", "other names")
_CHANGES_ZH = {"result": "结果", "speed": "速度", "records": "记录"}

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
    from tunesmith.models.presets import own_defaults
    from tunesmith.recipe import dump_recipe, preset_changes
    from tunesmith.recipe.load import examine
    from tunesmith.recipe.problems import refuse

    loaded = examine(recipe, overrides or [], advised=own_defaults)
    if loaded.problems:
        raise refuse(str(recipe), loaded.problems)
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
        told = ((each.doc.path, _default(each.doc), each.takes(language())) for each in found)
        shape = "{}（{}）" if chinese() else "{} ({})"
        say(table([(path, shape.format(default, takes)) for path, default, takes in told]))


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
    say(f"{doc.path}\n  {doc.facts.zh if chinese() else doc.facts.en}")
    names = ("默认值", "取值", "影响", "别名") if chinese() else _EXPLAINED
    told = (
        _default(doc),
        doc.expected(language()),
        _CHANGES_ZH.get(doc.facts.changes, doc.facts.changes) if chinese() else doc.facts.changes,
        ", ".join(doc.facts.aliases) or ("无" if chinese() else "none"),
    )
    say(table(list(zip(names, told, strict=True))))


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
        about = preset.zh if chinese() else preset.en
        say(f"{preset.name}\n  {about}\n  profile {preset.profile}; {values}")


@app.command(epilog="Example: tunesmith recipe schema > recipe.schema.json")
def schema() -> None:
    """Print the JSON schema of a complete recipe."""
    from tunesmith.recipe import recipe_json_schema

    say_json(recipe_json_schema())


def _default(doc: FieldDoc) -> str:
    from tunesmith.recipe.catalog import show as show_value

    return ("必填" if chinese() else "required") if doc.required else show_value(doc.default)


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
