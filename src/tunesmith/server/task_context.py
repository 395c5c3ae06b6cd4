"""What the code of a background task gets: parameters, the platform, who asked, progress."""

from __future__ import annotations

import logging
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from tunesmith.errors import TunesmithError
from tunesmith.server import tasks
from tunesmith.server.access import Caller
from tunesmith.server.platform import Platform
from tunesmith.server.tasks import TaskClaim

log = logging.getLogger("tunesmith.tasks")
RENEW_SECONDS: Final = 2.0


class TaskCancelled(BaseException):
    """Somebody cancelled the task, or it is another process's now. No `except Exception` has it."""


@dataclass
class TaskContext:
    """One try of one task. Its thread renews the lease, whatever the task is busy with.

    `stuck_seconds`: the kernel ends the process (SIGALRM) when that thread could not run for so
    long, as while one regular expression backtracks for ever: the lease is lost by then. None where
    the process does other things as well.
    """

    platform: Platform
    claimed: TaskClaim
    caller: Caller
    project_id: str | None
    params: dict[str, Any]
    stuck_seconds: float | None = None
    _progress: dict[str, Any] = field(default_factory=dict[str, Any])
    _began: float = field(default_factory=time.monotonic)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lost: threading.Event = field(default_factory=threading.Event)

    def progress(
        self, done: float, total: float | None = None, unit: str = "", activity: str = ""
    ) -> None:
        """How far it is, shown with rate and time left. Also a place to be cancelled."""
        passed = time.monotonic() - self._began
        rate = done / passed if passed > 0 else 0.0
        left = (total - done) / rate if total is not None and rate > 0 else None
        self._progress = {
            "done": done,
            "total": total,
            "unit": unit,
            "activity": activity,
            "rate": round(rate, 3),
            "eta_seconds": None if left is None else round(max(0.0, left), 1),
        }
        self.check_cancelled()

    def check_cancelled(self) -> None:
        """Raises TaskCancelled when the task shall end here."""
        if self._lost.is_set():
            raise TaskCancelled

    def start(self) -> None:
        self._show_life()
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _keep(self) -> None:
        while not self._stopped.wait(RENEW_SECONDS):
            self._show_life()
            try:
                is_ours = tasks.renew(self.platform.database, self.claimed, self._progress)
            except TunesmithError as error:  # the database is away, and may be back in time
                log.warning("%s: %s", self.claimed.task_id, error.message)
                continue
            if not is_ours:
                self._lost.set()
                return

    def _show_life(self) -> None:
        if self.stuck_seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, self.stuck_seconds)
