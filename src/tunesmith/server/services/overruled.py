"""What a server decides whatever a recipe says, and how the author of the recipe is told.

place of a run      the platform's own folder
where it computes   the flavour of the job, so `training.device` is auto
which base it is    a model of the installation is what it is, so its source is auto
trackers            run beside the engine, with the accounts of the worker's machine
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from tunesmith.recipe import Notice, Recipe

PLACE: Final = "output_place"
_OUTSIDE: Final = ("wandb", "mlflow", "swanlab")


def as_told_here(notices: Sequence[Notice]) -> list[Notice]:
    """What was said for a command line, said for a server."""
    return [_place_of_server(each) if each.code == PLACE else each for each in notices]


def is_unused(notice: Notice) -> bool:
    """Whether it tells of something that was written and has no effect."""
    return notice.code in (PLACE, "device_not_used", "base_is_here", "value_not_used", "task_type")


def _place_of_server(notice: Notice) -> Notice:
    return replace(
        notice,
        values={},  # the texts of a server, not those of a command line
        message=f"{notice.path} is not used: the platform keeps every run in a place of its own.",
        hint="The result of the job is a model: download its files once the job has succeeded.",
    )


def overruled(recipe: Recipe, *, knows_base: bool) -> tuple[dict[str, Any], list[Notice]]:
    """Values by path that win over those of the recipe, and what to say of it.

    `knows_base`: the base is a model of the installation.
    """
    changes: dict[str, Any] = {}
    if recipe.training.device != "auto":
        changes["training.device"] = "auto"
    if knows_base and recipe.model.source != "auto":
        changes["model.source"] = "auto"
    notices = [*_device(recipe), *_report(recipe)]
    if knows_base:
        notices += _base(recipe)
    return changes, notices


def _device(recipe: Recipe) -> Iterator[Notice]:
    if recipe.training.device != "auto":
        yield Notice(
            "device_not_used",
            f"training.device ({recipe.training.device}) is not used: the flavour of a job says "
            "where it is computed.",
            "Choose a flavour of the kind of device that you want.",
            "training.device",
        )


def _base(recipe: Recipe) -> Iterator[Notice]:
    """A model that is here already is not fetched from anywhere."""
    model = recipe.model
    for field, value, default in (
        ("source", model.source, "auto"),
        ("revision", model.revision, "main"),
    ):
        if value != default:
            yield Notice(
                "base_is_here",
                f"model.{field} ({value}) is not used: the base is a model of this installation.",
                "Import the model again to have another one of its revisions.",
                f"model.{field}",
            )


def _report(recipe: Recipe) -> Iterator[Notice]:
    report = recipe.report
    for name in _OUTSIDE:
        if getattr(report, name):
            yield Notice(
                "tracker_of_worker",
                f"report.{name}: the curves go to the account that is set up on the worker, if "
                "there is one; else the job goes on without them.",
                "The curves of the job are here in any case.",
                f"report.{name}",
            )
