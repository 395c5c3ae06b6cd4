"""What jobs need before they run: the measured plan, made by the engine in a process of its own."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import orjson

from tunesmith.errors import TunesmithError
from tunesmith.recipe import dump_recipe, parse_recipe
from tunesmith.runs.launch import engine_command, engine_environment
from tunesmith.server.task_context import TaskContext
from tunesmith.server.worker.prepare import with_folders

_LOOK_SECONDS: Final = 0.5
_MOST_ERROR: Final = 2000
_FITS, _FITS_NOT = 0, 1  # exit codes of the plan


class PlanFailed(TunesmithError):
    """The engine could not make a plan; its message says why."""

    code = "plan_failed"


def plan(context: TaskContext) -> dict[str, Any]:
    """Memory, time, steps and tokens of a recipe, with the price of that time."""
    platform = context.platform
    recipe = parse_recipe(context.params["recipe"])
    with platform.database.read() as session:
        recipe = with_folders(session, platform.place, recipe)
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(dump_recipe(recipe), encoding="utf-8")
        measured = _measure(context, file)
    price = float(context.params["price_cents_per_hour"])
    return {
        **measured,
        "price_cents_per_hour": price,
        "price_cents": round(measured["seconds"] / 3600 * price),
    }


def _measure(context: TaskContext, file: Path) -> dict[str, Any]:
    """Run the engine; a cancelled task takes it with it."""
    context.progress(0, None, "", "measure")
    output, errors = file.with_name("plan.json"), file.with_name("plan.log")
    with output.open("wb") as out, errors.open("wb") as log:
        engine = subprocess.Popen(
            engine_command("plan", str(file), "--json"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env=engine_environment(),
        )
        try:
            code = _wait(context, engine)
        finally:
            if engine.poll() is None:
                engine.kill()
                engine.wait()
    if code not in (_FITS, _FITS_NOT) or not output.stat().st_size:
        told = errors.read_text(encoding="utf-8", errors="replace").strip()
        raise PlanFailed(
            f"The plan could not be made: {told[-_MOST_ERROR:] or f'exit code {code}'}",
            hint="Check the model and the data of the recipe.",
        )
    return orjson.loads(output.read_bytes())


def _wait(context: TaskContext, engine: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return engine.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            context.check_cancelled()
