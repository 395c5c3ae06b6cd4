"""Requests to a running engine: the last one counts, a signal only wakes the process."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from tunesmith.runs.files import write_atomically
from tunesmith.runs.rundir import RunDir

Intent = Literal["pause", "stop", "cancel"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Control:
    """One request: pause (go on later), stop (finish now, keep the result) or cancel (give up)."""

    id: str
    intent: Intent
    by: str
    time: str


def write_control(run: RunDir, intent: Intent, by: str) -> Control:
    """Ask the engine of a run for something; it obeys at the next step boundary."""
    if intent not in get_args(Intent):
        raise ValueError(f"intent is {intent!r}; it is one of {', '.join(get_args(Intent))}.")
    control = Control(
        os.urandom(16).hex(), intent, by, datetime.now(UTC).isoformat(timespec="seconds")
    )
    write_atomically(run.control_path, json.dumps(asdict(control), ensure_ascii=False) + "\n")
    return control


def read_control(run: RunDir) -> Control | None:
    """The last request; None when there is none."""
    try:
        content = run.control_path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        control = Control(**json.loads(content))
    except (ValueError, TypeError) as error:
        # Ours are written atomically, so somebody edited this one. A typing mistake
        # must not end a run.
        _log.warning("%s is no request and is ignored: %s", run.control_path, error)
        return None
    if control.intent not in get_args(Intent):
        _log.warning(
            "%s asks for %r, which is unknown and ignored", run.control_path, control.intent
        )
        return None
    return control


def clear_control(run: RunDir, control: Control | None = None) -> None:
    """Forget the request: all of them before a run is started again, or the one that was obeyed."""
    if control is None or read_control(run) == control:
        run.control_path.unlink(missing_ok=True)
