"""Tell the world how a run goes: the event stream first, then every tracker that the recipe names.

The event stream is part of the run. Trackers are guests: one that fails is reported once and
dropped.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from tunesmith.engine.narration import line_of
from tunesmith.recipe import Recipe
from tunesmith.runs import EventWriter, RunDir

log = logging.getLogger(__name__)
PROGRESS_SECONDS = 1.0
SCALARS = (
    *("loss", "token_accuracy", "learning_rate", "grad_norm", "tokens_per_second", "epoch"),
    *("reward", "reward_std", "kl", "entropy", "answer_tokens", "cut_share", "skipped_share"),
)


class Tracker(Protocol):
    """Somewhere else that curves are drawn."""

    def log(self, prefix: str, values: dict[str, float], step: int) -> None:
        """Numbers of one step."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...


class TensorBoard:
    """TensorBoard files in the run directory."""

    def __init__(self, recipe: Recipe, run: RunDir, first_step: int | None) -> None:
        del recipe
        from torch.utils.tensorboard.writer import SummaryWriter

        # After a kill the steps since the checkpoint come again: their first values are void.
        self._writer = SummaryWriter(str(run.tensorboard_dir), purge_step=first_step)

    def log(self, prefix: str, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{prefix}/{name}", value, step)

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """Weights & Biases."""

    def __init__(self, recipe: Recipe, run: RunDir, _first_step: int | None) -> None:
        wandb: Any = importlib.import_module("wandb")
        report = recipe.report
        tags = [report.wandb_tags] if isinstance(report.wandb_tags, str) else report.wandb_tags
        self._run = wandb.init(
            project=report.wandb_project,
            entity=report.wandb_entity or None,
            name=report.wandb_name or recipe.name,
            tags=[tag for tag in tags if tag],
            dir=str(run.path),
            settings=wandb.Settings(console="off"),  # what is printed stays here
            config=recipe.model_dump(mode="json"),
        )

    def log(self, prefix: str, values: dict[str, float], step: int) -> None:
        self._run.log({f"{prefix}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """MLflow."""

    def __init__(self, recipe: Recipe, run: RunDir, _first_step: int | None) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        self._mlflow.start_run(run_name=recipe.name, tags={"run_directory": str(run.path)})

    def log(self, prefix: str, values: dict[str, float], step: int) -> None:
        self._mlflow.log_metrics({f"{prefix}/{k}": v for k, v in values.items()}, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


class SwanLab:
    """SwanLab."""

    def __init__(self, recipe: Recipe, run: RunDir, _first_step: int | None) -> None:
        swanlab: Any = importlib.import_module("swanlab")
        self._run = swanlab.init(
            project="tunesmith",
            experiment_name=recipe.name,
            logdir=str(run.path / "swanlab"),
            config=recipe.model_dump(mode="json"),
        )

    def log(self, prefix: str, values: dict[str, float], step: int) -> None:
        self._run.log({f"{prefix}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Recipe, RunDir, int | None], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
    "swanlab": SwanLab,
}


class Reporter:
    """Writes events and feeds the trackers. Without a writer (other ranks) it is silent."""

    def __init__(self, writer: EventWriter | None) -> None:
        self._writer = writer
        self._trackers: dict[str, Tracker] = {}
        self._wanted: tuple[Recipe, RunDir, int | None] | None = None
        self._last_progress = ("", 0.0)

    def use_trackers(self, recipe: Recipe, run: RunDir, *, first_step: int | None = None) -> None:
        """Feed what the recipe's `report` section names, from the first number on.

        `first_step`: the step that a further attempt begins with.
        """
        self._wanted = (recipe, run, first_step)

    def _open_trackers(self) -> None:
        # Their imports take seconds, so they wait until the first step is told.
        if self._wanted is None:
            return
        wanted, self._wanted = self._wanted, None
        for name, build in TRACKERS.items():
            if getattr(wanted[0].report, name):
                try:
                    self._trackers[name] = build(*wanted)
                except Exception as error:
                    self._complain(name, error)

    def emit(self, event_type: str, **fields: Any) -> None:
        """One event of the run."""
        if self._writer is None:
            return
        self._writer.emit(event_type, **fields)
        line = line_of(event_type, fields)
        if line:
            log.log(logging.WARNING if event_type == "warning" else logging.INFO, "%s", line)
        if event_type in ("step", "evaluation"):
            prefix = "train" if event_type == "step" else "validation"
            self._open_trackers()
            values = {k: float(fields[k]) for k in SCALARS if fields.get(k) is not None}
            self._each(lambda tracker: tracker.log(prefix, values, fields["step"]))

    def warn(self, code: str, message: str, hint: str = "") -> None:
        """Something that a person should know and that does not stop the run."""
        self.emit("warning", code=code, message=message, hint=hint)

    def progress(self, activity: str, done: int, total: int, unit: str = "") -> None:
        """How far something slow is: its start, its end, and once a second between."""
        last, when = self._last_progress
        now = time.monotonic()
        if last == activity and done < total and now - when < PROGRESS_SECONDS:
            return
        self._last_progress = (activity, now)
        self.emit("progress", activity=activity, done=done, total=total, unit=unit)

    def sync(self) -> None:
        """Wait until all events are on the disk."""
        if self._writer is not None:
            self._writer.fsync()

    def close(self) -> None:
        """The run is over."""
        self._each(lambda tracker: tracker.close())

    def _each(self, action: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                action(tracker)
            except Exception as error:  # a tracker may raise anything; the run must go on
                del self._trackers[name]
                self._complain(name, error)

    def _complain(self, name: str, error: Exception) -> None:
        self.warn(
            "tracker_failed",
            f"{name} stopped working and is left out: {type(error).__name__}: {error}",
            f"Install or repair it (pip install {name}), or write `{name}: false` under `report:`.",
        )
