"""One process that trains one run: lock, events, signals, and an event for every way it can end."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import NoReturn

import torch

from tunesmith.engine.loop import checkpoints_of, is_out_of_memory
from tunesmith.engine.process import keep_freed_memory
from tunesmith.engine.ranks import Ranks, process_group
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.setup import choose_device, device_name
from tunesmith.engine.train import train
from tunesmith.errors import RunDirError, RunFailed, TunesmithError
from tunesmith.evaluation.curves import draw_curves
from tunesmith.recipe import Recipe, load_recipe
from tunesmith.runs import (
    EventWriter,
    RunDir,
    acquire_lock,
    latest_valid_checkpoint,
    next_attempt,
    read_events,
)
from tunesmith.runs.control import clear_control
from tunesmith.runs.files import explain_storage_error

log = logging.getLogger(__name__)
EXIT_CODES = {"finished": 0, "paused": 75, "cancelled": 1}


class _Interrupted(BaseException):
    """A signal before the first step: nothing has to be saved. Nobody's `except Exception`."""


def _interrupt(*_: object) -> NoReturn:
    raise _Interrupted


def main(run_dir: Path, resume: bool) -> int:
    """Train in this process; returns its exit code. Every ending but a kill leaves an event."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    keep_freed_memory()
    torch.set_flush_denormal(True)
    run = RunDir.open(run_dir)
    recipe = load_recipe(run.resolved_path if run.resolved_path.exists() else run.recipe_path)
    device = choose_device(recipe.training.device)
    with process_group(device) as ranks:
        if not ranks.is_first:
            found = latest_valid_checkpoint(run, lambda *_: None)
            return EXIT_CODES[train(recipe, run, Reporter(None), ranks, device, found).status]
        attempt = next_attempt(run)
        if attempt > 1 and not resume:
            raise RunDirError(
                f"{run.path} was started before.",
                hint="Add --resume to go on with it, or choose another run directory.",
            )
        with acquire_lock(run, attempt), EventWriter(run, attempt) as writer:
            return run_to_an_end(recipe, run, Reporter(writer), ranks, device, attempt)


def run_to_an_end(
    recipe: Recipe,
    run: RunDir,
    reporter: Reporter,
    ranks: Ranks,
    device: torch.device,
    attempt: int,
) -> int:
    """`train`, with its beginning and every kind of ending as an event."""
    broken: list[str] = []
    found = latest_valid_checkpoint(run, lambda path, why: broken.append(f"{path.name}: {why}"))
    reporter.emit(
        "started",
        name=recipe.name,
        stage=recipe.stage.kind,
        method=recipe.adapter.kind,
        base=recipe.model.base,
        device=device_name(device),
        attempt=attempt,
        pid=os.getpid(),
        resumed_from_step=None if found is None else found.step,
    )
    for reason in broken:
        reporter.warn("checkpoint_broken", f"A checkpoint is not used. {reason}")
    first_step = None if attempt == 1 else 0 if found is None else found.step + 1
    reporter.use_trackers(recipe, run, first_step=first_step)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)  # until `train` listens at step boundaries
    try:
        outcome = train(recipe, run, reporter, ranks, device, found)
        clear_control(run)  # what was asked for has been done
        if outcome.status == "cancelled":
            raise RunFailed("Cancelled.", code="cancelled", step=outcome.state.step)
        if outcome.status == "paused":
            draw_curves(run)
        return EXIT_CODES[outcome.status]
    except _Interrupted:
        reporter.emit("paused", step=0 if found is None else found.step)
        return EXIT_CODES["paused"]
    except TunesmithError as error:
        reporter.emit("failed", **error.to_dict())
        log.error("%s", error)
        return error.exit_code
    except Exception as error:
        known = explain(error, run)
        reporter.emit("failed", **known.to_dict())
        log.exception("the run failed")
        return known.exit_code
    finally:
        reporter.close()


def explain(error: Exception, run: RunDir) -> TunesmithError:
    """An unforeseen error in words; its traceback is in the log."""
    told = explain_storage_error(error, run.path)
    if told is not None:
        return told
    if is_out_of_memory(error):
        return _out_of_memory(run)
    return RunFailed(
        f"Unexpected error: {type(error).__name__}: {error}",
        hint=f"The full report is in {run.log_path}.",
        code="internal_error",
    )


def _out_of_memory(run: RunDir) -> RunFailed:
    """Memory that was short outside the gradients: in loading, evaluating, saving or exporting."""
    step = 0
    for event in read_events(run)[0]:
        if event["type"] == "started":  # steps of the attempt before may be done again
            step = int(event.get("resumed_from_step") or 0)
        elif event["type"] == "step":
            step = int(event["step"])
    if step == 0:
        return RunFailed(
            "Out of memory before the first step.",
            hint="Take a smaller model or an adapter, or lower training.micro_batch_tokens or "
            "data.max_length.",
            code="out_of_memory",
        )
    return RunFailed(
        f"Out of memory after step {step}, outside the gradients: in an update, an evaluation, a "
        f"checkpoint or the export. {checkpoints_of(run)}",
        hint="See that nothing else uses the memory of the device, and go on. If it happens again, "
        "start a new run with a lower training.micro_batch_tokens or data.max_length, or with an "
        "adapter in place of all weights.",
        code="out_of_memory",
        step=step,
    )
