"""Real workers as processes, on a data directory and a database of a test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select, text

from tunesmith.runs import RunDir, living_holder, read_events
from tunesmith.server import journal
from tunesmith.server.database import Database
from tunesmith.server.states import FINAL
from tunesmith.server.tables import Attempt, Job, Model

LIGHT = f"{sys.executable} {Path(__file__).with_name('light_engine.py')}"
RECIPE: dict[str, Any] = {"model": "starter", "data": {"train": ["builtin:shop"]}}


@dataclass
class Installation:
    """A data directory with its workers."""

    world: Any
    url: str
    root: Path
    settings: dict[str, str] = field(default_factory=dict[str, str])
    processes: dict[str, subprocess.Popen[bytes]] = field(
        default_factory=dict[str, "subprocess.Popen[bytes]"]
    )

    def start(self, name: str = "w", **settings: str) -> subprocess.Popen[bytes]:
        """A worker; the same name again is the same worker."""
        plain = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
        chosen = {
            "TUNESMITH_DATA_DIR": str(self.root),
            "TUNESMITH_DATABASE_URL": self.url,
            "TUNESMITH_ENGINE_COMMAND": LIGHT,
            "TUNESMITH_WORKER_NAME": name,
            "OMP_NUM_THREADS": "1",
        }
        with (self.root.parent / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tunesmith.server", "worker"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=plain | chosen | self.settings | settings,
            )
        return self.processes[name]

    def kill(self, name: str = "w") -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self, name: str = "w") -> int:
        self.processes[name].terminate()
        return self.processes[name].wait(60)

    def log(self, name: str = "w") -> str:
        return (self.root.parent / f"{name}.log").read_text()

    def submit(self, name: str = "job", recipe: dict[str, Any] | None = None, **more: Any) -> str:
        return self.world.submit(name, recipe=(recipe or RECIPE) | {"name": name}, **more).id

    def run(self, job_id: str) -> RunDir:
        return RunDir(self.root / "runs" / job_id)

    def engine(self, job_id: str) -> int | None:
        """The process that works on a job now."""
        holder = living_holder(self.run(job_id))
        return holder.pid if holder else None

    def job(self, job_id: str) -> Job:
        return self.world.job(job_id)

    def wait(self, job_id: str, *statuses: str, seconds: float = 60) -> Job:
        """Until the job has one of these statuses; any final one without."""

        def reached() -> bool:
            status = self.job(job_id).status
            assert not statuses or status in statuses or status not in FINAL, self.told(job_id)
            return status in (statuses or FINAL)

        self.until(reached, seconds, lambda: self.told(job_id))
        return self.job(job_id)

    def wait_for_step(self, job_id: str, step: int, seconds: float = 60) -> None:
        self.until(lambda: self.job(job_id).step >= step, seconds, lambda: self.told(job_id))

    def until(
        self, reached: Callable[[], bool], seconds: float, told: Callable[[], str] = lambda: ""
    ) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, told()
            time.sleep(0.02)

    def events(self, job_id: str) -> list[journal.Record]:
        with self.world.database.read() as session:
            return list(journal.after(session, job_id, 0, 100_000))

    def told(self, job_id: str) -> str:
        """All that is known of a job, for the message of a test that fails."""
        lines = [
            f"{e.number} {e.attempt}.{e.seq} {e.type} {e.message}" for e in self.events(job_id)
        ]
        logs = [f"--- {name}\n{self.log(name)}" for name in self.processes]
        output = self.run(job_id).log_path
        logs += [output.read_text()] if output.exists() else []
        return "\n".join([f"{self.job(job_id).status} {self.job(job_id).error}", *lines, *logs])

    def models(self, job_id: str | None = None) -> list[Model]:
        with self.world.database.read() as session:
            found = session.scalars(select(Model)).all()
        return [model for model in found if job_id in (None, model.job_id)]

    def assert_no_event_lost_or_doubled(self, job_id: str) -> None:
        """The database has what the file has, in its order, numbered without a gap."""
        events = self.events(job_id)
        assert [event.number for event in events] == list(
            range(1, self.job(job_id).event_count + 1)
        )
        shipped = [(e.attempt, e.seq, e.type) for e in events if e.seq is not None]
        written = [(e["attempt"], e["seq"], e["type"]) for e in read_events(self.run(job_id))[0]]
        assert shipped == written

    def assert_every_job_ended_once(self) -> None:
        """One ending, one model if it succeeded, no open attempt, no process."""
        jobs = self.world.all(Job)
        assert {job.status for job in jobs} <= set(FINAL)
        done = [job.id for job in jobs if job.status == "succeeded"]
        assert Counter(model.job_id for model in self.models()) == Counter(done)
        assert all(attempt.ended_at for attempt in self.world.all(Attempt))
        for job in jobs:
            ends = [e for e in self.events(job.id) if e.type == "status" and e.data["to"] in FINAL]
            assert len(ends) == 1, job.id
            assert self.engine(job.id) is None
            self.assert_no_event_lost_or_doubled(job.id)


@contextmanager
def installation(world: Any, url: str, root: Path) -> Generator[Installation]:
    """The database on its own clock, since other processes use it; nothing runs on afterwards."""
    world.database.close()
    world.database = Database(url, timeout=30)
    with world.database.write() as session:
        session.execute(text("UPDATE lease_clock SET wall = CURRENT_TIMESTAMP"))
    made = Installation(world, url, root)
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()
        for job in world.all(Job):
            pid = made.engine(job.id)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        world.database.close()
