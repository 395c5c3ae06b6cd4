"""Recipes: what can be written, whether it is right, and what it comes to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from tunesmith.api.dependencies import CallerDep, CallerFirst, PlatformDep
from tunesmith.api.notices_zh import told
from tunesmith.api.texts import problems_on_wire
from tunesmith.recipe.catalog import MISSING
from tunesmith.schemas.recipes import (
    Converted,
    ConvertRequest,
    Explained,
    FieldRead,
    Help,
    ModelDefaults,
    PresetRead,
    ProblemRead,
    ProfileRead,
    Range,
    RecipeRequest,
    RecipeSchema,
    Rendered,
    RenderRequest,
    Validated,
)
from tunesmith.server.services import recipes
from tunesmith.server.services.recipes import FormField

router = APIRouter(prefix="/recipes", tags=["recipes"], route_class=CallerFirst)

Name = Annotated[str, Query(max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]


@router.get("/schema")
def get_schema(caller: CallerDep, profile: Name = "default") -> RecipeSchema:
    """Every field with its range, unit, help in two languages and names in other systems."""
    caller.require_scope("read")
    return RecipeSchema(
        profile=profile,
        fields=[_field(each) for each in recipes.form(profile)],
        stage_rows={kind: list(rows) for kind, rows in recipes.stage_rows().items()},
        json_schema=recipes.json_schema(),
    )


@router.get("/profiles")
def list_profiles(caller: CallerDep) -> list[ProfileRead]:
    """Named sets of defaults and ranges."""
    caller.require_scope("read")
    return [
        ProfileRead(
            name=each.name,
            help=Help(en=each.en, zh=each.zh),
            defaults=dict(each.defaults),
            rules={
                path: Help(en=rule.describe("en"), zh=rule.describe("zh"))
                for path, rule in each.rules.items()
            },
        )
        for each in recipes.profiles()
    ]


@router.get("/presets")
def list_presets(caller: CallerDep) -> list[PresetRead]:
    """Named sets of values on top of a profile."""
    caller.require_scope("read")
    return [
        PresetRead(
            name=preset.name,
            help=Help(en=preset.en, zh=preset.zh),
            profile=preset.profile,
            values=dict(values),
            written=dict(preset.values),
            notices=told(preset.notices, caller.language),
        )
        for preset, values in recipes.presets()
    ]


@router.get("/defaults")
def get_defaults(
    caller: CallerDep,
    platform: PlatformDep,
    base: Name,
    dataset: Annotated[list[Name] | None, Query(max_length=100)] = None,
    profile: Name = "default",
    project_id: Annotated[str | None, Query(max_length=100)] = None,
) -> ModelDefaults:
    """What a form is filled with for a model and, where they are named, its datasets."""
    found = platform.advice.defaults(
        caller, base, datasets=dataset or (), profile=profile, project_id=project_id
    )
    return ModelDefaults.model_validate(found)


@router.post("/validate")
def validate_recipe(body: RecipeRequest, caller: CallerDep, platform: PlatformDep) -> Validated:
    """All problems at once, unknown names included. Answers 200 also where there are some."""
    found = platform.advice.validate(
        caller, body.recipe, project_id=body.project_id, num_devices=body.num_devices
    )
    return Validated(
        valid=found.loaded is not None and not found.problems,
        problems=[
            ProblemRead.model_validate(each)
            for each in problems_on_wire(found.problems, caller.language)
        ],
        notices=told(found.notices, caller.language),
        recipe=found.loaded.recipe.model_dump(mode="json")
        if found.loaded is not None and not found.problems
        else None,
    )


@router.post("/explain")
def explain_recipe(body: RecipeRequest, caller: CallerDep, platform: PlatformDep) -> Explained:
    """Every value with its origin, and what they come to: batch, steps, rates."""
    found = platform.advice.explain(
        caller, body.recipe, project_id=body.project_id, num_devices=body.num_devices
    )
    return Explained.model_validate(
        {
            "recipe": found.recipe,
            "values": [asdict(each) for each in found.values],
            "comes_to": asdict(found.comes_to),
            "notices": told(found.notices, caller.language),
        }
    )


@router.post("/convert/llamafactory")
def convert_llamafactory(body: ConvertRequest, caller: CallerDep) -> Converted:
    """A job of LLaMA-Factory as a recipe; every key is accounted for. Datasets stay names."""
    caller.require_scope("read")
    made = recipes.convert(body.text, body.dataset_info)
    return Converted.model_validate(
        {
            "recipe": made.recipe.model_dump(mode="json"),
            "yaml": made.yaml,
            "keys": [asdict(each) for each in made.entries],
            "notices": told(made.notices, caller.language),
        }
    )


@router.post("/render")
def render_recipe(body: RenderRequest, caller: CallerDep, platform: PlatformDep) -> Rendered:
    """An object as YAML, or YAML text as an object; complete either way."""
    caller.require_scope("read")
    recipe, yaml = recipes.both_ways(platform.advice.read(caller, body.recipe))
    return Rendered(recipe=recipe, yaml=yaml)


def _field(field: FormField) -> FieldRead:
    doc, rule = field.doc, field.rule
    bounds: dict[str, Any] = dict(doc.bounds)
    if rule is not None:
        narrower = {"ge": rule.ge, "le": rule.le, "multiple_of": rule.multiple_of}
        bounds |= {name: value for name, value in narrower.items() if value is not None}
    is_required = doc.default is MISSING
    return FieldRead(
        path=doc.path,
        section=doc.section,
        group=field.group,  # pyright: ignore[reportArgumentType]
        types=list(doc.types),
        choices=list(rule.choices if rule is not None and rule.choices else doc.choices),
        optional=doc.optional,
        required=is_required,
        default=None if is_required else doc.default,
        range=Range.model_validate(bounds),
        takes=Help.model_validate(field.takes),
        unit=doc.facts.unit,
        help=Help(en=doc.facts.en, zh=doc.facts.zh),
        aliases=list(doc.facts.aliases),
        changes=doc.facts.changes,
        kinds=list(doc.kinds),
    )
