"""The contract between the engine and the world: a run is a directory. No torch, no database.

Read `rundir.py` first: it names every file of a run. `events.py` writes and reads the event
stream, `control.py` carries requests to a running engine, `lock.py` keeps a second engine out,
`manifest.py` decides which checkpoints may be used, `launch.py` starts the engine as a process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.runs.control import (
        Control,
        Intent,
        clear_control,
        read_control,
        write_control,
    )
    from tunesmith.runs.events import Event, EventWriter, last_event, next_attempt, read_events
    from tunesmith.runs.files import StorageFull, StorageRefused, storage_errors, write_atomically
    from tunesmith.runs.lock import LockHolder, acquire_lock, living_holder
    from tunesmith.runs.manifest import (
        CheckpointBroken,
        CheckpointDir,
        Manifest,
        ManifestFile,
        checkpoints,
        latest_valid_checkpoint,
        verify_manifest,
        write_manifest,
    )
    from tunesmith.runs.rundir import RunDir

__all__ = [
    "CheckpointBroken",
    "CheckpointDir",
    "Control",
    "Event",
    "EventWriter",
    "Intent",
    "LockHolder",
    "Manifest",
    "ManifestFile",
    "RunDir",
    "StorageFull",
    "StorageRefused",
    "acquire_lock",
    "checkpoints",
    "clear_control",
    "last_event",
    "latest_valid_checkpoint",
    "living_holder",
    "next_attempt",
    "read_control",
    "read_events",
    "storage_errors",
    "verify_manifest",
    "write_atomically",
    "write_control",
    "write_manifest",
]

# Loaded on first use: the command line starts the engine through `launch` before anything else.
_MODULES = ("control", "events", "files", "lock", "manifest", "rundir")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            found = getattr(import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
