"""What an engine leaves in the events when it gives up before its first one.

An end without an event is a crash, which is tried again. An error that comes again at each try (a
recipe or a device that is wrong, a library that is missing) has to be told as what it is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.errors import RunDirError, RunFailed, TunesmithError
from tunesmith.runs.events import EventWriter, last_event
from tunesmith.runs.files import explain_storage_error
from tunesmith.runs.lock import acquire_lock
from tunesmith.runs.rundir import RunDir

log = logging.getLogger(__name__)


@contextmanager
def leaves_last_word(path: Path, attempt: int | None) -> Generator[None]:
    """An error that leaves this block is written as `failed` where the attempt has no event yet.

    Without a number of the attempt nobody counts tries: who started the engine reads its output.
    What may be otherwise at the next try (a GPU, another engine in the run) is left a crash.
    """
    try:
        yield
    except Exception as error:
        final = _final(error, path)
        if final is not None and attempt is not None and os.environ.get("RANK", "0") == "0":
            _write(RunDir(path), attempt, final)
        raise


def _final(error: Exception, path: Path) -> TunesmithError | None:
    """What comes again at each try, in words."""
    if isinstance(error, RunDirError):
        return None
    if isinstance(error, TunesmithError):
        return error
    if isinstance(error, ImportError):
        return RunFailed(
            f"The engine could not start: {type(error).__name__}: {error}",
            hint="`tunesmith doctor` on the machine of the worker says what is missing there.",
            code="engine_start_failed",
        )
    return explain_storage_error(error, path)


def _write(run: RunDir, attempt: int, error: TunesmithError) -> None:
    """Nothing is written beside an engine that works in the run, nor after its own last word."""
    try:
        with acquire_lock(run, attempt):
            last = last_event(run)
            if last is not None and int(last["attempt"]) >= attempt:
                return
            with EventWriter(run, attempt) as writer:
                writer.emit("failed", **error.to_dict(), about=error.subject)
    except TunesmithError as refused:
        log.warning("the end could not be written down: %s", refused.message)
