"""Runs background tasks, each in a process of its own, a few at a time.

The processes come from a fork server that has the libraries imported, so a short task takes as
long as it takes and not a second more. The runner is a thread of the server's process.

A task ends at its next sign of progress when it is cancelled, or its lease is lost. One that makes
none is ended by force, with all that it started; what it had begun on the disk goes with it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from tunesmith.errors import TunesmithError
from tunesmith.server import sweep, tasks
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import DatabaseUnavailable
from tunesmith.server.platform import Platform, build_platform
from tunesmith.server.settings import Settings
from tunesmith.server.tables import Task
from tunesmith.server.task_context import TaskCancelled, TaskContext
from tunesmith.server.task_kinds import function_of
from tunesmith.server.tasks import LEASE_SECONDS, TaskClaim

log = logging.getLogger("tunesmith.tasks")
_MAIN: Final = "__main__"
_LOOK_SECONDS: Final = 0.5
# What most tasks need and a server itself does not: the process that forks theirs loads it.
_PRELOADED: Final = ("tunesmith.server.task_kinds.datasets", "tunesmith.server.task_kinds.openai")
GRACE_SECONDS: Final = 5.0
STUCK_SECONDS: Final = LEASE_SECONDS + 10.0


@dataclass
class _Try:
    """The process of a claim; `why` it was ended by force, if it was."""

    process: ForkServerProcess
    unwanted_since: float | None = None
    why: str = ""

    def signal(self, number: int) -> None:
        """To the process and all that it started: it leads a session of its own."""
        pid = self.process.pid
        assert pid is not None
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # not yet a leader, or gone
            with suppress(ProcessLookupError):
                os.kill(pid, number)


class TaskRunner:
    """`start()` it beside a server; `wake()` after a task was submitted here."""

    def __init__(
        self,
        platform: Platform,
        at_once: int | None = None,
        *,
        grace_seconds: float = GRACE_SECONDS,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        """`grace_seconds`: how long a process has to end by itself once nobody wants it."""
        self._platform = platform
        self._at_once = at_once or max(2, (os.cpu_count() or 2) // 2)
        self._grace, self._stuck = grace_seconds, stuck_seconds
        self._running: dict[TaskClaim, _Try] = {}
        self._woken, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="tasks", daemon=True)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, *_PRELOADED])

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def processes(self) -> dict[TaskClaim, int]:
        """Who works on what now."""
        pids = {claimed: each.process.pid for claimed, each in list(self._running.items())}
        return {claimed: pid for claimed, pid in pids.items() if pid is not None}

    def stop(self) -> None:
        """End the processes; their tasks go back to the queue."""
        self._ended.set()
        self._woken.set()
        self._thread.join()
        for running in self._running.values():
            running.signal(signal.SIGTERM)
        for claimed, running in self._running.items():
            running.process.join()
            _clean(self._platform.place, claimed)
            tasks.hand_back(self._platform.database, claimed)

    def _run(self) -> None:
        is_clean = False
        while not self._ended.is_set():
            try:
                if not is_clean:
                    _clean_leftovers(self._platform)
                    is_clean = True
                self._end_unwanted()
                if self._reap():
                    sweep.end_unchecked(self._platform.database)
                while len(self._running) < self._at_once and self._start_one():
                    pass
            except TunesmithError as error:  # the database is away; tasks that run go on
                log.warning("%s", error)
            except Exception:
                log.exception("the task runner stumbled")
            self._woken.wait(_LOOK_SECONDS)
            self._woken.clear()

    def _start_one(self) -> bool:
        claimed = tasks.claim(self._platform.database)
        if claimed is None:
            return False
        process = self._context.Process(
            target=run_task, args=(self._platform.settings, claimed, self._stuck), daemon=False
        )
        with _without_main():
            process.start()
        self._running[claimed] = _Try(process)
        return True

    def _end_unwanted(self) -> None:
        """Give those that nobody wants any more some time, then end them by force."""
        if not self._running:
            return
        for claimed, why in tasks.unwanted(self._platform.database, list(self._running)).items():
            running, now = self._running[claimed], time.monotonic()
            if running.unwanted_since is None:
                running.unwanted_since = now
            elif now - running.unwanted_since > self._grace and running.process.is_alive():
                log.warning("%s: %s, and does not end; ended by force", claimed.task_id, why)
                running.why = why
                running.signal(signal.SIGKILL)

    def _reap(self) -> int:
        """Look after processes that ended; how many did without telling the database."""
        num_dead = 0
        for claimed, running in list(self._running.items()):
            if running.process.is_alive():
                continue
            running.process.join()
            if running.process.exitcode:
                running.signal(signal.SIGKILL)  # what it started must not live on
                _clean(self._platform.place, claimed)
                num_dead += 1
            self._conclude(claimed, running)
            del self._running[claimed]
        return num_dead

    def _conclude(self, claimed: TaskClaim, running: _Try) -> None:
        """Nothing, where the task had a proper end."""
        error = self._error_of(running)
        if running.process.exitcode and not running.why:
            log.warning("%s: %s", claimed.task_id, error["message"])
        tasks.give_back(self._platform.database, claimed, error)

    def _error_of(self, running: _Try) -> dict[str, Any]:
        code = running.process.exitcode or 0
        if running.why == "cancelled":
            how = f"did not end by itself after the cancel and was ended after {self._grace:.0f} s"
            return tasks.died(how, "SIGKILL") | {"code": "task_ended_by_force", "hint": ""}
        if code == -signal.SIGALRM:
            how = f"was stuck in one step for {self._stuck:.0f} s and was ended"
            return tasks.died(how, f"{self._stuck:.0f} s") | {
                "code": "task_stuck",
                "hint": "Look for a regular expression that matches in very many ways, or for one "
                "huge row.",
            }
        if code < 0:
            name = signal.Signals(-code).name
            return tasks.died(f"was killed ({name})", name)
        return tasks.died(f"ended without a word (exit code {code})", f"exit code {code}")


def scratch_of(place: DataDir, claimed: TaskClaim) -> Path:
    """Where one try of a task puts what is only for the moment."""
    return place.cache / "tasks" / f"{claimed.task_id}.{claimed.number}"


def _clean(place: DataDir, claimed: TaskClaim) -> None:
    """Remove what a process that was killed had begun."""
    # With pyarrow, which a server does not load before it has something to remove.
    from tunesmith.data.store import Catalog

    shutil.rmtree(scratch_of(place, claimed), ignore_errors=True)
    Catalog(place.root).remove_dead_drafts()


def _clean_leftovers(platform: Platform) -> None:
    """The same for tasks of a server that was killed, with the processes that it left."""
    folders = [path for path in (platform.place.cache / "tasks").glob("*.*") if path.is_dir()]
    claims = {
        TaskClaim(path.stem, int(path.suffix[1:])): path
        for path in folders
        if path.suffix[1:].isdecimal()
    }
    for claimed, why in tasks.unwanted(platform.database, list(claims)).items():
        if why == "lost":
            shutil.rmtree(claims[claimed], ignore_errors=True)


class _without_main:
    """Start a process without the parent's script: it would be run again in the child."""

    def __enter__(self) -> None:
        self._main = sys.modules[_MAIN]
        sys.modules[_MAIN] = type(sys)(_MAIN)

    def __exit__(self, *_: object) -> None:
        sys.modules[_MAIN] = self._main


def run_task(settings: Settings, claimed: TaskClaim, stuck_seconds: float | None = None) -> None:
    """One try of a task, in this process, to an end that the database knows of."""
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the server, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.environ["TUNESMITH_DATA_DIR"] = str(settings.data_dir)
    platform = build_platform(settings)
    try:
        with _scratch(scratch_of(platform.place, claimed)):
            perform(platform, claimed, stuck_seconds=stuck_seconds)
    except DatabaseUnavailable as error:
        log.warning("%s: %s", claimed.task_id, error.message)
        sys.exit(1)  # another try, once the database is back
    finally:
        platform.close()


@contextmanager
def _scratch(folder: Path) -> Generator[None]:
    """Temporary files lie there, and are gone at the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a full or read-only disk: whatever the task writes will tell
        log.warning("temporary files cannot lie in %s: %s", folder, error.strerror)
        yield
        return
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def perform(platform: Platform, claimed: TaskClaim, *, stuck_seconds: float | None = None) -> None:
    """Find the code of the task, run it, and write down how it ended."""
    database = platform.database
    with database.read() as session:
        task = session.scalars(select(Task).where(Task.id == claimed.task_id)).one()
    caller = platform.people.as_user(task.user_id, task.project_id)
    context = TaskContext(
        platform, claimed, caller, task.project_id, task.params, stuck_seconds=stuck_seconds
    )
    context.start()
    try:
        result = function_of(task.kind)(context)
    except TaskCancelled:
        tasks.finish(database, claimed, "cancelled")
    except DatabaseUnavailable:
        raise  # says nothing about the task
    except TunesmithError as error:
        tasks.finish(database, claimed, "failed", error=error.to_dict())
    except Exception as error:
        log.exception("task %s (%s) failed", task.id, task.kind)
        told = f"Unexpected error: {type(error).__name__}: {error}"
        hint = "The server's log has the full report."
        problem = {"code": "server_error", "message": told, "hint": hint}
        tasks.finish(database, claimed, "failed", error=problem)
    else:
        tasks.finish(database, claimed, "succeeded", result=result)
    finally:
        context.stop()
