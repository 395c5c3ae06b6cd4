"""What a worker asks of the place where engines run; `local.py` answers for this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tunesmith.runs import RunDir
from tunesmith.server.workers import DeviceInfo


@dataclass(frozen=True)
class Launch:
    """An order to train: this run, as this attempt, on these devices (by index)."""

    run: RunDir
    attempt: int
    devices: tuple[int, ...]


class Engine(Protocol):
    """An engine that was started, by us or by a worker before us."""

    def is_alive(self) -> bool:
        """Whether it still works, or may still come."""
        ...

    def interrupt(self) -> None:
        """Wake it: it looks at control.json, and pauses where that asks for nothing."""
        ...

    def dump_stacks(self) -> None:
        """Have it write what its threads are doing into the logs of the run."""
        ...

    def kill(self) -> None:
        """End it at once, with all processes that belong to it."""
        ...


class Backend(Protocol):
    """A place with devices, where engines are started and found again."""

    name: str

    def devices(self) -> Sequence[DeviceInfo]:
        """What there is, and what is configured but missing."""
        ...

    def start(self, launch: Launch) -> Engine:
        """Start an engine that lives on without us. Coming twice, one of the two gives way."""
        ...

    def find(self, run: RunDir) -> tuple[Engine, int] | None:
        """The engine that works in a run now, and its attempt; None when nobody does."""
        ...

    def tend(self) -> None:
        """Called again and again, for whatever the backend has to look after."""
        ...

    def close(self) -> None:
        """The worker ends; engines live on."""
        ...
