"""An engine that trains nothing and obeys the whole contract of a run directory, quickly.

Lock, events, control, signals, checkpoints with manifests, resuming from them, artifacts: all by
the same functions as the real one. Its loss is a function of the step. LIGHT_STEPS, LIGHT_SECONDS
(of a step), LIGHT_HANG (the step that never ends), LIGHT_FULL (the step after which the disk is
full, once), LIGHT_NOISE (bytes that it prints in each step), LIGHT_SAVE (seconds between two
files of a checkpoint) and LIGHT_EAT (bytes of memory that its first attempt takes at step 3) change
its course.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import time
from pathlib import Path

from tunesmith.runs import (
    EventWriter,
    RunDir,
    acquire_lock,
    last_event,
    latest_valid_checkpoint,
    read_control,
    write_manifest,
)
from tunesmith.runs.control import clear_control
from tunesmith.runs.logs import keep_log_bounded

STEPS = int(os.environ.get("LIGHT_STEPS", "6"))
SECONDS = float(os.environ.get("LIGHT_SECONDS", "0.02"))
HANG = int(os.environ.get("LIGHT_HANG", "0"))
FULL = int(os.environ.get("LIGHT_FULL", "0"))
SAVE = float(os.environ.get("LIGHT_SAVE", "0"))
EAT = int(os.environ.get("LIGHT_EAT", "0"))
NOISE = int(os.environ.get("LIGHT_NOISE", "0"))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["train"])
    parser.add_argument("run", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--ranks", type=int, default=1)
    options = parser.parse_args()
    run = RunDir.open(options.run)
    keep_log_bounded(run.log_path)
    stacks = (run.log_path.parent / "stacks.log").open("a")
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
    with acquire_lock(run, options.attempt):
        last = last_event(run)
        if last is not None and last["attempt"] >= options.attempt:
            return 2
        with EventWriter(run, options.attempt) as writer:
            return train(run, writer)


def train(run: RunDir, writer: EventWriter) -> int:
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    found = latest_valid_checkpoint(run, lambda *_: None)
    first = found.step if found else 0
    writer.emit("started", pid=os.getpid(), resumed_from_step=found.step if found else None)
    writer.emit("plan", total_steps=STEPS)
    for step in range(first + 1, STEPS + 1):
        control = read_control(run)
        wanted = control.intent if control else "pause" if signals else None
        if wanted is not None:
            clear_control(run)
            if wanted == "cancel":
                writer.emit("failed", code="cancelled", message="Cancelled.", hint="")
                return 1
            save(run, writer, step - 1)
            if wanted == "pause":
                writer.emit("paused", step=step - 1)
                return 75
            return finish(run, writer, step - 1, "stopped")
        time.sleep(SECONDS)
        make_noise(step)
        eaten = b"x" * EAT if step == 3 and found is None else b""
        del eaten
        while step == HANG and found is None:
            time.sleep(60)
        writer.emit("step", step=step, total_steps=STEPS, loss=1 / step, tokens=10)
        if step == FULL and not (run.data_dir / "full").exists():
            (run.data_dir / "full").touch()
            writer.emit("failed", code="disk_full", message="Disk full: 0 B left.", hint="")
            return 1
        if step % 2 == 0:
            save(run, writer, step)
    return finish(run, writer, STEPS, "done")


def make_noise(step: int) -> None:
    """Lines of 64 bytes: `0000007 0000001 ......`, by step and line."""
    for line in range(NOISE // 64):
        sys.stdout.write(f"{step:07d} {line:07d} {'.' * 47}\n")


def save(run: RunDir, writer: EventWriter, step: int) -> None:
    path = run.checkpoints_dir / f"step-{step:06d}"
    if (path / "manifest.json").exists():
        return
    path.mkdir(parents=True, exist_ok=True)
    (path / "state.json").write_text(str(step))
    time.sleep(SAVE)
    write_manifest(path, step=step)
    writer.emit("checkpoint", step=step, path=f"checkpoints/{path.name}", best=False)


def finish(run: RunDir, writer: EventWriter, step: int, reason: str) -> int:
    model = run.artifacts_dir / "adapter"
    model.mkdir(parents=True, exist_ok=True)
    (model / "weights").write_text(str(step))
    write_manifest(run.artifacts_dir, kinds=["adapter"], step=step)
    writer.emit("finished", step=step, reason=reason, result_step=step, tokens=10 * step)
    return 0


if __name__ == "__main__":
    sys.exit(main())
