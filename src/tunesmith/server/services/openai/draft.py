"""From the body of a request to a recipe: pure translation, nothing is looked up.

The recipe is made of ours below and the further fields of the body on top. The training file stands
in it as a dataset: by its own id before its rows are known, by the id of its version afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from tunesmith.errors import InputError
from tunesmith.recipe.load import Advised, Loaded
from tunesmith.schemas.openai.jobs import JobCreate
from tunesmith.server.services import recipes
from tunesmith.server.services.openai.auto import Numbers
from tunesmith.server.services.submission import overrides

MOST_VALIDATION_ROWS: Final = 1000
_ANSWERS: Final = 8  # to each question, times compute_multiplier


def recipe_of(
    body: JobCreate,
    *,
    base: str,
    seed: int,
    train: str,
    validation: str | None,
    numbers: Numbers | None = None,
    recommended_rate: float | None = None,
    rows: int | None = None,
    advised: Advised | None = None,
) -> Loaded:
    """The recipe of a body; RecipeError names the first field that is wrong.

    `train`, `validation` name datasets. Without `numbers` those that are "auto" have defaults.
    `advised`: what suits the base.
    """
    tree: dict[str, Any] = {
        "name": body.suffix or "run",
        "model": {"base": base},
        "stage": _stage(body, numbers),
        "data": {
            "train": [{"dataset": train}, *_mixed(body)],
            "validation": _validation(validation, numbers),
            "allow_small": True,  # this API asks for ten rows
        },
        "training": {
            "seed": seed,
            "stop": {"restore_best": False},
            **_numbers(body, numbers, recommended_rate, rows),
        },
        "report": _report(body),
    }
    loaded = recipes.load(tree, overrides=overrides(body.recipe_fields), advised=advised)
    _refuse_other_data(loaded, train, base)
    return loaded


def asked_numbers(body: JobCreate) -> Mapping[str, Any]:
    """The hyper-parameters as they were asked for, "auto" included."""
    return body.numbers.model_dump()


def _report(body: JobCreate) -> dict[str, Any]:
    """Curves go to one project at most: the first that is named."""
    if not body.integrations:
        return {}
    asked = body.integrations[0].wandb
    named = {"project": asked.project, "entity": asked.entity, "name": asked.name}
    said = {f"wandb_{name}": value for name, value in named.items() if value}
    return {"wandb": True, **said, "wandb_tags": asked.tags or []}


def _mixed(body: JobCreate) -> list[dict[str, Any]]:
    return [each.model_dump(exclude_none=True) for each in body.datasets or ()]


def _stage(body: JobCreate, numbers: Numbers | None) -> dict[str, Any]:
    """How the model learns. Before the rows are known only what was said, to be checked."""
    own = asked_numbers(body) if numbers is None else numbers.own
    if body.kind == "dpo":
        beta = own["beta"]
        return {"kind": "dpo"} if beta == "auto" else {"kind": "dpo", "beta": beta}
    if body.method is None or body.method.reinforcement is None:
        return {}
    grader = body.method.reinforcement.grader.model_dump(mode="json", exclude_none=True)
    stage = {"kind": "grpo", "rewards": [{"kind": "grader", "grader": grader}]}
    effort = own["compute_multiplier"]
    return stage if effort == "auto" else {**stage, "group_size": _group_size(effort)}


def _group_size(compute_multiplier: float) -> int:
    """Answers to each question: two at least, or there is nothing to compare."""
    return max(2, round(_ANSWERS * compute_multiplier))


def _validation(name: str | None, numbers: Numbers | None) -> dict[str, Any]:
    if name is None:
        return {"kind": "none"}
    most = MOST_VALIDATION_ROWS
    if numbers is not None:
        most = min(most, numbers.own.get("eval_samples", most))
    return {"kind": "dataset", "dataset": name, "max_rows": most}


def _numbers(
    body: JobCreate, numbers: Numbers | None, recommended_rate: float | None, rows: int | None
) -> dict[str, Any]:
    """The fields of `training`. Before the rows are known only what was said, to be checked."""
    if numbers is None or recommended_rate is None or rows is None:
        asked = asked_numbers(body)
        said = {"epochs": asked["n_epochs"], "batch_size": asked["batch_size"]}
        return {name: value for name, value in said.items() if value != "auto"}
    steps_an_epoch = math.ceil(rows / numbers.batch_size)
    fields: dict[str, Any] = {
        "epochs": numbers.n_epochs,
        "batch_size": numbers.batch_size,
        "learning_rate": min(1.0, recommended_rate * numbers.learning_rate_multiplier),
        "checkpoint": {"every_steps": max(1, steps_an_epoch)},
    }
    if "eval_interval" in numbers.own:
        fields["evaluate"] = {"every_steps": numbers.own["eval_interval"]}
    return fields


def _refuse_other_data(loaded: Loaded, train: str, base: str) -> None:
    """The further fields may set how data is read, not which data or model it is."""
    if loaded.recipe.data.train[0].dataset != train:
        raise InputError(
            "data.train is the training file; nothing was submitted.",
            hint="Name datasets to mix with it in `datasets`.",
            code="data_given_twice",
            param="data.train",
        )
    if loaded.recipe.model.base != base:
        raise InputError(
            "The base model is given twice; nothing was submitted.",
            hint="Name it in `model` alone.",
            code="model_given_twice",
            param="model.base",
        )
