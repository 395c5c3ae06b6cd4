"""The worker beside a server: started, started again when it dies, ended with the server."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

log = logging.getLogger("tunesmith.api")
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_STEADY_SECONDS: Final = 60.0  # a worker that lived so long begins with the first pause again


@contextmanager
def embedded_worker(*, wanted: bool) -> Generator[None]:
    """One worker; its trainings end with the server in a checkpoint, and go on later.

    It leaves by itself, with its engines alive, when the server is killed.
    """
    if not wanted:
        yield
        return
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(ended,), name="worker")
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def _keep(ended: threading.Event) -> None:
    pause = _FIRST_PAUSE
    while not ended.is_set():
        began = time.monotonic()
        worker = subprocess.Popen(
            [sys.executable, "-m", "tunesmith.server", "worker", "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
        )
        while worker.poll() is None and not ended.wait(0.2):
            pass
        if ended.is_set():
            worker.send_signal(signal.SIGTERM)  # no harm to one that has ended
            worker.wait()
            return
        if time.monotonic() - began > _STEADY_SECONDS:
            pause = _FIRST_PAUSE
        log.error(
            "The worker (process %d) ended with code %s; another starts in %.0f s. "
            "Engines that run go on meanwhile.",
            worker.pid,
            worker.returncode,
            pause,
        )
        ended.wait(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
