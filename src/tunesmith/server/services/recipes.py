"""Recipes as a server takes them: the fields of a form, all problems at once, names never paths.

Read `read` first: what a client may write in a recipe. Datasets and models are names or ids of this
installation (submission.py looks them up), and nothing in a recipe is a path or an argument.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from tunesmith.data.names import TEMPLATES, is_builtin, parse_reference
from tunesmith.data.sides import VIEWS, kinds_for
from tunesmith.errors import RecipeError
from tunesmith.evaluation.graders.training import wrong_in
from tunesmith.recipe import (
    PRESETS,
    PROFILES,
    Loaded,
    Notice,
    Preset,
    Problem,
    Profile,
    Recipe,
    catalog,
    dump_recipe,
    preset_changes,
    profile_fields,
    recipe_json_schema,
)
from tunesmith.recipe.adapters import names_in
from tunesmith.recipe.catalog import FieldDoc
from tunesmith.recipe.convert import Conversion, convert_llamafactory_text
from tunesmith.recipe.load import Advised, examine, values_at
from tunesmith.recipe.problems import problem, read_problems
from tunesmith.recipe.problems import refuse as refuse_recipe
from tunesmith.recipe.profiles import Rule
from tunesmith.recipe.rewards import GraderReward, has_program, reward_path
from tunesmith.recipe.stages import Grpo
from tunesmith.recipe.views import preset_values
from tunesmith.recipe.words import listed, quoted
from tunesmith.server.settings import Settings

# What a form shows at once; everything else is behind "advanced".
BASIC: Final = frozenset(
    {
        "name",
        "model.base",
        "adapter.kind",
        "adapter.rank",
        "adapter.alpha",
        "adapter.continue_from",
        *("stage.kind", "stage.beta", "stage.loss", "stage.gamma"),
        *("stage.rewards", "stage.group_size", "stage.max_answer_tokens"),
        "data.train",
        "data.train.*.dataset",
        "data.train.*.sampling_rate",
        "data.train.*.share",
        "data.train.*.role",
        "data.validation.kind",
        "data.validation.fraction",
        "data.validation.dataset",
        "data.max_length",
        "training.epochs",
        "training.batch_size",
        "training.learning_rate",
        "training.schedule.kind",
        "training.schedule.warmup_ratio",
    }
)
MODEL_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FINE_TUNED: Final = re.compile(r"ft:[\w./:-]+")  # ft:starter:org:name:01abcdef
_ID: Final = re.compile(r"(ds|dsv|file|model|ftjob)-[0-9a-z]+|ftckpt_[0-9a-z]+")
MOST_LAYERS: Final = 40
NOT_SUBMITTED: Final = "Nothing was submitted."


@dataclass(frozen=True)
class FormField:
    """A field as a form shows it."""

    doc: FieldDoc
    rule: Rule | None
    takes: Mapping[str, str]

    @property
    def group(self) -> str:
        return "basic" if self.doc.path in BASIC else "advanced"


@dataclass(frozen=True)
class Checked:
    """A recipe, or every reason to refuse it."""

    loaded: Loaded | None
    problems: Sequence[Problem]
    notices: Sequence[Notice]


def read(
    source: Mapping[str, Any] | str,
    settings: Settings,
    *,
    overrides: Sequence[str] = (),
    num_devices: int = 1,
    advised: Advised | None = None,
) -> Loaded:
    """The recipe of a client who looks at it; RecipeError lists every problem, foreign code too."""
    loaded = load(source, overrides=overrides, num_devices=num_devices, kept="", advised=advised)
    refuse(refusals(loaded.recipe, settings), kept="")
    return loaded


def load(
    source: Mapping[str, Any] | str,
    *,
    overrides: Sequence[str] = (),
    num_devices: int = 1,
    kept: str = NOT_SUBMITTED,
    advised: Advised | None = None,
) -> Loaded:
    """A recipe that is right in itself; what it names is not looked at."""
    loaded = examined(
        source, overrides=overrides, num_devices=num_devices, kept=kept, advised=advised
    )
    refuse(loaded.problems, kept)
    return loaded


def examined(
    source: Mapping[str, Any] | str,
    *,
    overrides: Sequence[str] = (),
    num_devices: int = 1,
    kept: str = NOT_SUBMITTED,
    advised: Advised | None = None,
) -> Loaded:
    """A recipe with its problems: whoever looks its names up tells all at once."""
    try:
        if not isinstance(source, str):
            _refuse_depth(source)
        return examine(source, overrides, devices=num_devices, advised=advised)
    except RecipeError as error:
        raise _for_clients(error, kept) from None


def refusals(recipe: Recipe, settings: Settings) -> list[Problem]:
    """What a server never takes: places on a disk or in a network, and code of others."""
    return [
        *paths_in(recipe), *_rewards(recipe, settings), *_foreign_code(recipe, settings)
    ]  # fmt: skip


def refuse(problems: Sequence[Problem], kept: str = NOT_SUBMITTED) -> None:
    """RecipeError that lists all problems, where there are some."""
    if problems:
        raise _for_clients(refuse_recipe("recipe", problems), kept)


def _for_clients(error: RecipeError, kept: str) -> RecipeError:
    """The same error for somebody who has no command line."""
    problems = problems_of(error)
    hint = problems[0].hint if len(problems) == 1 else "Correct the named fields."
    return RecipeError(
        error.message,
        hint=f"{hint} {kept}".strip(),
        code=error.code,
        param=next((each.path for each in problems if each.path), None) or "recipe",
        problems=as_dicts(problems),
        kept=kept,
    )


def problems_of(error: RecipeError) -> list[Problem]:
    """The problems of a refused recipe; one for an error that lists none."""
    known = read_problems(error.details.get("problems") or [])
    return known or [Problem("", error.message, error.hint)]


def paths_in(recipe: Recipe) -> Iterator[Problem]:
    """What looks like a place on a disk or in a network: a server takes names and ids."""
    yield from (
        problem("not_a_dataset_name", path, name=quoted(name))
        for path, name in dataset_names(recipe)
        if not is_dataset_name(name)
    )
    if not is_model_name(recipe.model.base):
        yield problem("not_a_model_name", "model.base", name=quoted(recipe.model.base))
    if recipe.model.source == "local":
        yield problem("no_local_models", "model.source")
    template = recipe.data.chat_template
    if template is not None and template not in TEMPLATES:
        yield problem(
            "not_a_builtin_template",
            "data.chat_template",
            name=quoted(template),
            known=listed(TEMPLATES),
        )
    yield from _continued(recipe)


def _continued(recipe: Recipe) -> Iterator[Problem]:
    adapter = recipe.adapter
    if adapter.kind != "lora":
        return
    before = [] if adapter.continue_from is None else [adapter.continue_from]
    for path, names in (
        ("adapter.continue_from", before),
        ("adapter.merge_first", names_in(adapter.merge_first)),
    ):
        for name in names:
            if not (_ID.fullmatch(name) or _FINE_TUNED.fullmatch(name)):
                yield problem("not_a_result_id", path, name=quoted(name))


def _rewards(recipe: Recipe, settings: Settings) -> Iterator[Problem]:
    """Rewards that read files of the server, programs that nobody allowed, and bad graders."""
    for reward in recipe.stage.rewards if isinstance(recipe.stage, Grpo) else ():
        path = reward_path(reward)
        if path is not None:
            yield problem("reward_of_a_file", "stage.rewards", file=quoted(path))
        elif has_program(reward) and not settings.python_graders:
            yield problem("reward_program_not_allowed", "stage.rewards")
        elif isinstance(reward, GraderReward) and (wrong := wrong_in(reward.grader)):
            yield problem("reward_grader_not_valid", "stage.rewards", why="; ".join(wrong))


def _foreign_code(recipe: Recipe, settings: Settings) -> Iterator[Problem]:
    """Code of a repository runs only where an administrator allowed that commit of it."""
    model = recipe.model
    if not model.trust_remote_code:
        return
    if f"{model.base}@{model.revision}" not in settings.remote_code_repositories:
        yield problem(
            "remote_code_not_allowed",
            "model.trust_remote_code",
            base=model.base,
            revision=model.revision,
        )


def _refuse_depth(value: Any, depth: int = 0) -> None:
    if depth > MOST_LAYERS:
        raise refuse_recipe("recipe", [problem("recipe_too_deep")])
    inside: Any = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for item in inside:
            _refuse_depth(item, depth + 1)


def is_dataset_name(name: str) -> bool:
    """A name, a name with a version, an id, or one of those that ship with the package."""
    if is_builtin(name):
        return name.removeprefix("builtin:").isidentifier()
    return bool(_ID.fullmatch(name)) or parse_reference(name) is not None


def is_model_name(name: str) -> bool:
    """An id of ours or of a hub, or the name of a result."""
    known = MODEL_ID.fullmatch(name) or _FINE_TUNED.fullmatch(name)
    return known is not None and ".." not in name and len(name) <= 300


def dataset_names(recipe: Recipe) -> list[tuple[str, str]]:
    """All datasets that a recipe names: path and name."""
    data = recipe.data
    found = [(f"data.train.{n}.dataset", each.dataset) for n, each in enumerate(data.train)]
    for part, section in (("validation", data.validation), ("test", data.test)):
        if section.kind == "dataset":
            found.append((f"data.{part}.dataset", section.dataset))
    return found


# ---------------------------------------------------------------- what a form needs


def form(profile: str) -> list[FormField]:
    """All fields with the defaults and ranges of a profile."""
    return [
        FormField(_with_help(each.doc), each.rule, {"en": each.takes("en"), "zh": each.takes("zh")})
        for each in profile_fields(profile)
    ]


def _with_help(doc: FieldDoc) -> FieldDoc:
    """The same field of another kind of section explains it where this one does not."""
    if doc.facts.en:
        return doc
    from dataclasses import replace

    twins = (each for each in catalog().values() if each.leaf == doc.leaf and each.facts.en)
    told = next(twins, doc)
    facts = replace(doc.facts, en=told.facts.en, zh=told.facts.zh, unit=told.facts.unit)
    return replace(doc, facts=facts)


def stage_rows() -> Mapping[str, Sequence[str]]:
    """The kinds of rows that each training type is meant for."""
    return {kind: kinds_for(view) for kind, view in VIEWS.items()}


def json_schema() -> dict[str, Any]:
    return recipe_json_schema()


def profiles() -> Sequence[Profile]:
    return list(PROFILES.values())


def presets() -> Sequence[tuple[Preset, Mapping[str, Any]]]:
    """Each with its values by the path of the field."""
    return [(preset, preset_values(preset)) for preset in PRESETS.values()]


# ---------------------------------------------------------------- what a recipe comes to


@dataclass(frozen=True)
class Value:
    """A value, and who said so."""

    path: str
    value: Any
    origin: str
    preset: Any = None
    changed_from_preset: bool = False


@dataclass(frozen=True)
class ComesTo:
    """What the numbers of a recipe come to; None where the rows are not known."""

    num_devices: int
    batch_rows: int | None
    batch_rows_per_device: int | None
    batch_tokens: int | None
    rows_available: int | None
    training_rows: int | None
    steps_per_epoch: int | None
    total_steps: int | None
    learning_rate: float
    lowest_learning_rate: float
    warmup_steps: int | None
    tokens_per_checkpoint: int


def explained(loaded: Loaded) -> list[Value]:
    """Every value of a recipe, in the order of the schema, with its origin."""
    changed = {each.path: each.preset for each in preset_changes(loaded.recipe)}
    found: list[Value] = []
    for path in catalog():
        if path == "data.train":
            continue
        for concrete, value in values_at(loaded.recipe, path):
            origin = loaded.origins.get(concrete, "default")
            is_changed = concrete in changed
            found.append(Value(concrete, value, origin, changed.get(concrete), is_changed))
    return found


def comes_to(recipe: Recipe, rows: int | None, num_devices: int = 1) -> ComesTo:
    """Steps and rates; `rows` are those of the training datasets before anything is held out."""
    training, schedule = recipe.training, recipe.training.schedule
    batch = training.batch_size if training.batch_tokens is None else None
    kept = None if rows is None else training_rows(recipe, rows)
    steps = None if kept is None or batch is None else max(1, math.ceil(kept / batch))
    total = None if steps is None else max(1, math.ceil(steps * training.epochs))
    if training.max_steps is not None:
        total = training.max_steps if total is None else min(total, training.max_steps)
    return ComesTo(
        num_devices=num_devices,
        batch_rows=batch,
        batch_rows_per_device=None if batch is None else math.ceil(batch / num_devices),
        batch_tokens=training.batch_tokens,
        rows_available=rows,
        training_rows=kept,
        steps_per_epoch=steps,
        total_steps=total,
        learning_rate=training.learning_rate,
        lowest_learning_rate=training.learning_rate * schedule.min_ratio,
        warmup_steps=None if total is None else round(total * schedule.warmup_ratio),
        tokens_per_checkpoint=recipe.tokens_per_checkpoint,
    )


def training_rows(recipe: Recipe, rows: int) -> int:
    """What is left to train on once validation and test rows are held out."""
    held = 0
    for section in (recipe.data.test, recipe.data.validation):
        if section.kind == "split":
            held += min(section.max_rows, max(1, round(rows * section.fraction)))
    return max(0, rows - held)


def both_ways(loaded: Loaded) -> tuple[dict[str, Any], str]:
    """A recipe as an object and as YAML, both complete."""
    return loaded.recipe.model_dump(mode="json"), dump_recipe(loaded.recipe)


def convert(text: str, dataset_info: str | None) -> Conversion:
    """A LLaMA-Factory job as a recipe; nothing is looked up on the disk of the server."""
    return convert_llamafactory_text(text, dataset_info)


def as_dicts(items: Sequence[Notice] | Sequence[Problem]) -> list[dict[str, Any]]:
    """Problems and notices as the wire has them: `field` is where."""
    rows = [asdict(cast("Any", item)) for item in items]
    return [{"field": row.pop("path"), **row} for row in rows]
