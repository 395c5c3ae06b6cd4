"""From submitting a small job to its first optimizer step, on a worker that is warm.

    python benchmarks/submit.py [--jobs 10] [--database URL] [--json]

The job trains a LoRA on the starter with rows of the package, cached by a job before it. Beside the
whole time stand its parts: until a worker has claimed it, until its engine says that it runs, until
the step is done, until the step can be read from the database. Each step must be a real one: tokens
were trained and the norm of the gradient is above zero.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from harness.machine import describe_machine
from harness.measurement import BenchmarkError
from harness.report import table
from tunesmith.runs import RunDir, read_events
from tunesmith.server.database import Database
from tunesmith.server.migrations.upgrade import migrate
from tunesmith.server.queue import NewJob, Queue, Submitted, body_hash
from tunesmith.server.states import FINAL
from tunesmith.server.tables import Attempt, Project, User

GOAL_SECONDS = 2.0
WARM_SECONDS = 300.0
RECIPE = {
    "model": "starter",
    "adapter": {"kind": "lora", "rank": 8},
    "data": {
        "train": [{"dataset": "builtin:shop", "max_samples": 100}],
        "validation": {"kind": "none"},
        "max_length": 256,
    },
    "training": {"max_steps": 3, "batch_size": 4, "learning_rate": 1e-4},
}


@dataclass(frozen=True)
class Submission:
    """Seconds after the submission."""

    claimed: float
    started: float
    first_step: float
    visible: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--database", default="", help="URL; SQLite otherwise")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        url = options.database or f"sqlite:///{root / 'tunesmith.db'}"
        try:
            found = measure(root, url, options.jobs)
        except BenchmarkError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    if options.json:
        machine = asdict(describe_machine())
        print(json.dumps({"machine": machine, "jobs": [asdict(one) for one in found]}))
    else:
        print("\n".join(render(found)))
    return int(median(one.first_step for one in found) > GOAL_SECONDS)


def measure(root: Path, url: str, num_jobs: int) -> list[Submission]:
    """Jobs one after the other; the first one fills the caches."""
    migrate(url)
    database = Database(url)
    queue = Queue(database)
    try:
        user, project = _owner(database)
        with _worker(root, url):
            found = [
                _submit(queue, database, root, user, project, number)
                for number in range(num_jobs + 1)
            ]
    finally:
        database.close()
    return found[1:]


def _owner(database: Database) -> tuple[str, str]:
    mark, now = os.urandom(4).hex(), datetime.now(UTC)
    with database.write() as session:
        session.add(User(id=f"user-{mark}", name=f"bench-{mark}", created_at=now))
        session.add(Project(id=f"proj-{mark}", name=f"bench-{mark}", created_at=now))
    return f"user-{mark}", f"proj-{mark}"


@contextmanager
def _worker(root: Path, url: str) -> Generator[None]:
    """A worker whose nursery has imported everything."""
    chosen = {"TUNESMITH_DATA_DIR": str(root), "TUNESMITH_DATABASE_URL": url}
    log = root / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tunesmith.server", "worker", "--name", "bench"],
            env=os.environ | chosen,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + WARM_SECONDS
        while "nursery is ready" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"the worker is not ready: {log.read_text()}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _submit(
    queue: Queue, database: Database, root: Path, user: str, project: str, number: int
) -> Submission:
    """One job to its end."""
    name = f"job-{number}"
    new = NewJob(project, user, name, RECIPE | {"name": name}, "starter")
    submitted = time.time()
    job, _ = queue.create(new, Submitted(body_hash([user, name])))
    visible = None
    while (now := queue.get(job.id)).status not in FINAL:
        if visible is None and now.step >= 1:
            visible = time.time() - submitted
        time.sleep(0.01)
    if now.status != "succeeded":
        raise BenchmarkError(f"{name} is {now.status}: {now.error}")
    with database.read() as session:
        claimed = session.get_one(Attempt, (job.id, 1)).claimed_at.timestamp()
    events, _ = read_events(RunDir(root / "runs" / job.id))
    started = next(event for event in events if event["type"] == "started")
    step = next(event for event in events if event["type"] == "step")
    if not (step["tokens"] > 0 and step["grad_norm"] > 0 and step["loss"] > 0):
        raise BenchmarkError(f"the first step of {name} has trained nothing: {step}")
    times = [datetime.fromisoformat(event["time"]).timestamp() for event in (started, step)]
    assert visible is not None
    return Submission(claimed - submitted, times[0] - submitted, times[1] - submitted, visible)


def render(found: Sequence[Submission]) -> list[str]:
    """A table with the goal."""
    rows: list[list[str]] = []
    for name in ("claimed", "started", "first_step", "visible"):
        values = sorted(getattr(one, name) for one in found)
        goal = f"<= {GOAL_SECONDS} s" if name == "first_step" else ""
        met = "" if not goal else "met" if median(values) <= GOAL_SECONDS else "NO"
        rows.append([name, f"{median(values):.2f}", f"{values[-1]:.2f}", goal, met])
    return table(["seconds after submitting", "median", "worst", "goal", ""], rows)


if __name__ == "__main__":
    sys.exit(main())
