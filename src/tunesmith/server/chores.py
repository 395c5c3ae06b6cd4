"""What a server does beside answering: sweep, run background tasks, and other regular work.

Several servers on one database may all do it; each chore takes care of that itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tunesmith.errors import TunesmithError
from tunesmith.server.clock import SWEEP_SECONDS
from tunesmith.server.keeping.clean import clean_expired
from tunesmith.server.notices.delivery import POLL_SECONDS, forget_old
from tunesmith.server.platform import Platform
from tunesmith.server.sweep import sweep
from tunesmith.server.task_runner import TaskRunner

FILES_SECONDS = 600.0
STORAGE_SECONDS = 10.0
VERDICT_SECONDS = 10.0
log = logging.getLogger("tunesmith.server")


@dataclass(frozen=True)
class Chore:
    """Something done again and again; a failure is logged, and the next time comes."""

    name: str
    seconds: float
    do: Callable[[], object]


def chores_of(platform: Platform) -> list[Chore]:
    """All regular work of a server."""
    database, settings = platform.database, platform.settings
    chores = [
        Chore("sweep", SWEEP_SECONDS, lambda: sweep(database)),
        Chore("storage", STORAGE_SECONDS, platform.storage.read_only_since),
        Chore("notices", POLL_SECONDS, platform.notices.deliver),
        Chore("verdicts", VERDICT_SECONDS, platform.evaluations.follow_trainings),
        Chore("files", FILES_SECONDS, platform.files.clean),
        Chore("old notices", 3600.0, lambda: forget_old(database)),
    ]
    if days := settings.clean_requests_days:
        forget = partial(platform.deployments.forget_old, days)
        chores.append(Chore("old requests", 3600.0, forget))
    if settings.clean_every_hours:
        seconds = settings.clean_every_hours * 3600
        chores.append(Chore("clean", seconds, lambda: clean_expired(database, settings)))
    return chores


@contextmanager
def doing_chores(platform: Platform) -> Generator[None]:
    """Background work for as long as the block lasts."""
    ended = threading.Event()
    threads = [
        threading.Thread(target=_repeat, args=(chore, ended), name=chore.name, daemon=True)
        for chore in chores_of(platform)
    ]
    runner = TaskRunner(platform)
    platform.tasks.on_submit = runner.wake
    runner.start()
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        runner.stop()
        for thread in threads:
            thread.join(timeout=10)


def _repeat(chore: Chore, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            chore.do()
        except TunesmithError as error:  # the database is away: it may be back next time
            log.warning("%s: %s", chore.name, error)
        except Exception:
            log.exception("%s failed", chore.name)
        ended.wait(chore.seconds)
