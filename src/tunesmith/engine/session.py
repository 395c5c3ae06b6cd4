"""One process that trains one run: lock, events, signals, and an event for every way it can end."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
from collections.abc import Sequence
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
from tunesmith.recipe.problems import refuse
from tunesmith.recipe.trackers import missing_trackers
from tunesmith.runs import (
    CheckpointDir,
    EventWriter,
    RunDir,
    acquire_lock,
    last_event,
    latest_valid_checkpoint,
    next_attempt,
    read_events,
)
from tunesmith.runs.control import clear_control
from tunesmith.runs.files import explain_storage_error
from tunesmith.runs.logs import keep_log_bounded

log = logging.getLogger(__name__)
EXIT_CODES = {"finished": 0, "paused": 75, "cancelled": 1}
_LOST_RANK = 1


class _Interrupted(BaseException):
    """A signal before the first step: nothing has to be saved. Nobody's `except Exception`."""


def _interrupt(*_: object) -> NoReturn:
    raise _Interrupted


def main(run_dir: Path, resume: bool, attempt: int | None = None) -> int:
    """Train in this process; returns its exit code. Every ending but a kill leaves an event.

    `attempt`: the number of this start, where somebody else counts them; never used twice.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    keep_freed_memory()
    torch.set_flush_denormal(True)
    run = RunDir.open(run_dir)
    keep_log_bounded(run.log_path)
    dump_stacks_on_request(run)
    recipe = load_recipe(run.resolved_path if run.resolved_path.exists() else run.recipe_path)
    device = choose_device(recipe.training.device)
    with process_group(device) as ranks:
        if not ranks.is_first:
            found = latest_valid_checkpoint(run, lambda *_: None)
            return EXIT_CODES[train(recipe, run, Reporter(None), ranks, device, found).status]
        number = next_attempt(run) if attempt is None else attempt
        if attempt is None and number > 1 and not resume:
            raise RunDirError(
                f"{run.path} was started before.",
                hint="Add --resume to go on with it, or choose another run directory.",
            )
        with acquire_lock(run, number):
            refuse_used_attempt(run, number)
            refuse_missing_trackers(recipe, run)
            with EventWriter(run, number) as writer:
                return run_to_an_end(recipe, run, Reporter(writer), ranks, device, number)


def refuse_used_attempt(run: RunDir, attempt: int) -> None:
    """An order to start may come twice; the second engine gets the lock once the first is done."""
    last = last_event(run)
    if last is not None and int(last["attempt"]) >= attempt:
        raise RunDirError(
            f"Attempt {attempt} of {run.path} has been made already; nothing was changed.",
            hint="Start it with a higher number.",
            code="attempt_used",
        )


def refuse_missing_trackers(recipe: Recipe, run: RunDir) -> None:
    """Before the first start only: a run that has begun goes on without them."""
    problems = list(missing_trackers(recipe)) if last_event(run) is None else []
    if problems:
        raise refuse(run.recipe_path.name, problems)


def dump_stacks_on_request(run: RunDir) -> None:
    """From now on SIGUSR1 writes what every thread is doing into logs/stacks.log."""
    if not hasattr(faulthandler, "register"):  # no such signal on this system
        return
    try:
        file = (run.log_path.parent / "stacks.log").open("a", encoding="utf-8")
    except OSError as error:  # a full disk, say: the training itself will tell
        log.warning("no stack can be saved: %s", error)
        return
    faulthandler.register(signal.SIGUSR1, file=file, all_threads=True)


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
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)  # until `train` listens at step boundaries
    try:
        tell_beginning(recipe, run, reporter, device, attempt, found, broken)
        outcome = train(recipe, run, reporter, ranks, device, found)
        clear_control(run)  # what was asked for has been done
        if outcome.status == "cancelled":
            raise RunFailed("Cancelled.", code="cancelled", step=outcome.state.step)
        if outcome.status == "paused" and recipe.report.curves:
            draw_curves(run)
        return EXIT_CODES[outcome.status]
    except _Interrupted:
        reporter.emit("paused", step=0 if found is None else found.step)
        return EXIT_CODES["paused"]
    except TunesmithError as error:
        reporter.emit("failed", **error.to_dict(), about=error.subject)
        log.error("%s", error)
        return error.exit_code
    except Exception as error:
        if ranks.world_size > 1 and is_lost_rank(error):
            log.exception("another process of this training is lost")
            return _LOST_RANK  # without a last word, as if this one had been killed as well
        known = explain(error, run)
        reporter.emit("failed", **known.to_dict())
        log.exception("the run failed")
        return known.exit_code
    finally:
        reporter.close()


def tell_beginning(
    recipe: Recipe,
    run: RunDir,
    reporter: Reporter,
    device: torch.device,
    attempt: int,
    found: CheckpointDir | None,
    broken: Sequence[str],
) -> None:
    """The event of an attempt that begins, and where else its events go."""
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


def is_lost_rank(error: Exception) -> bool:
    """Whether a collective broke off because the process on its other side is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and "gloo/transport" in str(error)


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
            form="start",
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
