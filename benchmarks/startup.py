"""Start-up: `tunesmith --help`, `tunesmith serve`, and from a command to the first optimizer step.

    python benchmarks/startup.py [--shared ../shared] [--repeats 5] [--serve-only] [--json]

A server counts from its command to the first answer of `/api/v1/health`, on a new data directory
and on one that exists. The exit code is 1 where a goal is missed.

The command to the first step (data cached, TensorBoard on as by default) is measured in turn
with what no training can do without: importing transformers and loading the same model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from harness import ours
from harness.jobs import JOBS, Places
from harness.machine import describe_machine
from harness.measurement import BenchmarkError
from harness.processes import environment, run
from harness.report import table
from harness.serve import Starts, measure_serve
from training import SHARED, build_model

HELP_GOAL_SECONDS = 0.3
SERVE_GOAL_SECONDS = 2.0
FIRST_STEP_GOAL = 1.15  # times the import and load alone
LOAD_ALONE = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[1])
AutoModelForCausalLM.from_pretrained(sys.argv[1])
"""


@dataclass(frozen=True)
class Startup:
    """Medians in seconds."""

    help_seconds: float
    load_alone_seconds: float
    first_step_seconds: float

    @property
    def ratio(self) -> float:
        """Command to first step, in units of the import and load alone."""
        return self.first_step_seconds / self.load_alone_seconds

    @property
    def is_met(self) -> bool:
        """Whether both goals are reached."""
        return self.help_seconds <= HELP_GOAL_SECONDS and self.ratio <= FIRST_STEP_GOAL


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--scratch", type=Path, default=Path(".benchmarks"))
    parser.add_argument("--job", choices=["llama-full", "llama-lora"], default="llama-full")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--serve-only", action="store_true", help="needs no model and no data")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    places = Places(options.shared.resolve(), Path(), options.scratch.resolve())
    try:
        starts = measure_serve(places.scratch, options.repeats)
        found = None
        if not options.serve_only:
            found = measure(places, options.job, options.threads, options.repeats)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        machine = asdict(describe_machine())
        training = {} if found is None else asdict(found) | {"ratio": found.ratio}
        print(json.dumps({"machine": machine, "serve": asdict(starts), **training}))
    else:
        print("\n".join(render(starts, found)))
    return 0 if _is_met(starts) and (found is None or found.is_met) else 1


def _is_met(starts: Starts) -> bool:
    return max(starts.new.seconds, starts.existing.seconds) <= SERVE_GOAL_SECONDS


def measure(places: Places, job_name: str, threads: int, repeats: int) -> Startup:
    """Take turns; the first round only fills the caches."""
    job = JOBS[job_name]
    one_step = replace(job, warmup=0, timed=1)
    build_model(job, places)
    helps: list[float] = []
    loads: list[float] = []
    firsts: list[float] = []
    for _ in range(repeats + 1):
        helps.append(_seconds(["-m", "tunesmith", "--help"], places, threads))
        load = ["-c", LOAD_ALONE, str(places.model(job.model))]
        loads.append(_seconds(load, places, threads))
        run_once, _ = ours.train(one_step, places, seed=42, threads=threads, tensorboard=True)
        firsts.append(run_once.first_step_seconds)
    return Startup(median(helps[1:]), median(loads[1:]), median(firsts[1:]))


def _seconds(arguments: list[str], places: Places, threads: int) -> float:
    log = places.scratch / "logs" / "startup.log"
    return run([sys.executable, *arguments], log, environment(threads)).seconds


def render(starts: Starts, found: Startup | None) -> list[str]:
    """A table with the goals."""
    rows = [
        _row(f"tunesmith serve, {what} ({start.cpu_seconds:.2f} s of processor)", start.seconds,
             f"<= {SERVE_GOAL_SECONDS} s", met=start.seconds <= SERVE_GOAL_SECONDS)
        for what, start in (("new data", starts.new), ("existing data", starts.existing))
    ]  # fmt: skip
    return table(["", "seconds", "goal", ""], rows + ([] if found is None else _training(found)))


def _training(found: Startup) -> list[list[str]]:
    goal = f"<= {FIRST_STEP_GOAL} x the import and load alone"
    return [
        _row("tunesmith --help", found.help_seconds, f"<= {HELP_GOAL_SECONDS} s",
             met=found.help_seconds <= HELP_GOAL_SECONDS),
        ["import transformers, load the model", f"{found.load_alone_seconds:.2f}", "", ""],
        _row(f"command to first step ({found.ratio:.2f} x)", found.first_step_seconds, goal,
             met=found.ratio <= FIRST_STEP_GOAL),
    ]  # fmt: skip


def _row(what: str, seconds: float, goal: str, *, met: bool) -> list[str]:
    return [what, f"{seconds:.2f}", goal, "met" if met else "NO"]


if __name__ == "__main__":
    sys.exit(main())
