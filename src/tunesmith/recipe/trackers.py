"""Packages that a recipe's `report` needs and that are not installed by default."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from tunesmith.recipe.problems import Problem, problem
from tunesmith.recipe.schema import Recipe

EXTERNAL: Final = ("wandb", "mlflow", "swanlab")


def missing_trackers(recipe: Recipe) -> Iterator[Problem]:
    """Those whose package this Python cannot import; a run asks before it starts."""
    for name in EXTERNAL:
        if getattr(recipe.report, name) and find_spec(name) is None:
            yield problem("tracker_missing", f"report.{name}", package=name)
