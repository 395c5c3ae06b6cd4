"""A job in the hands of a worker: its run, its engine, what was asked of it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Final

from tunesmith.errors import RunFailed
from tunesmith.runs import RunDir, write_control
from tunesmith.server.backends.backend import Backend, Engine
from tunesmith.server.backends.memory import num_killed
from tunesmith.server.claims import Claim, Order
from tunesmith.server.worker.shipping import Shipper
from tunesmith.server.worker.storage import Trouble

log = logging.getLogger(__name__)
CANCEL_SECONDS: Final = 15.0  # then the process is ended; the job is cancelled within a minute
LEAVE_SECONDS: Final = 60.0  # after its last event
ABANDON_SECONDS: Final = 10.0
DUMP_SECONDS: Final = 1.0
# A little less than the sweep's half hour: here the stacks can be saved before it gives the job on.
SILENCE_SECONDS: Final = 1770.0


@dataclass
class Held:
    """A claim that this worker works on."""

    claim: Claim
    run: RunDir
    shipper: Shipper
    engine: Engine | None = None
    is_started: bool = False  # with no engine then: it has ended while nobody looked
    stale: tuple[Engine, int] | None = None  # of an earlier attempt: it has to leave first
    intent: str = "go_on"
    asked_at: float = 0.0
    was_told: bool = False  # to pause, since the worker ends
    ended_at: float | None = None
    retry_at: float = 0.0  # after an error of ours
    no_room: Trouble | None = None  # its engine died while nothing could be written
    heard_at: float = field(default_factory=time.monotonic)
    heard_of: int = 0  # how far its events had been shipped then
    dumped_at: float | None = None  # when it was asked what it is doing, after a silence
    why: str = ""  # it was ended by force
    killed_before: int = field(default_factory=num_killed)  # processes here, for want of memory
    _stacks_before: int = 0

    @property
    def job_id(self) -> str:
        return self.claim.job_id

    def is_alive(self) -> bool:
        return self.engine is not None and self.engine.is_alive()

    def cause_of_death(self) -> str:
        """What is known of the end of an engine that left no event; empty: nothing."""
        if self.why or num_killed() <= self.killed_before:
            return self.why
        return "memory ran out on this machine, and the system ended a process"

    def obey(self, order: Order) -> None:
        """Hand an order on to the engine, once."""
        if order.intent in ("go_on", "abandon") or order.intent == self.intent:
            return
        self.intent, self.asked_at = order.intent, time.monotonic()
        try:
            write_control(self.run, order.intent, order.by)
        except RunFailed as error:  # a full disk, say; a signal still comes through
            log.warning("%s: %s", self.job_id, error.message)
        # A stop must not come as a signal: before the first step that would be a pause.
        if self.engine is not None and order.intent in ("pause", "cancel"):
            self.engine.interrupt()
        log.info("%s: %s asked for by %s", self.job_id, order.intent, order.by or "nobody")

    def pause_for_restart(self) -> None:
        """The worker ends: a checkpoint, and the job goes on later."""
        if self.engine is not None and not self.was_told:
            self.was_told = True
            self.engine.interrupt()

    def end_silence(self, most_seconds: float) -> None:
        """End an engine that lives and does nothing; first it writes down where it hangs.

        Only what ran already: a start has a limit of its own, in the database.
        """
        assert self.engine is not None
        now = time.monotonic()
        if self.heard_of != self.shipper.offset or not self.shipper.has_started:
            self.heard_at, self.heard_of, self.dumped_at = now, self.shipper.offset, None
        elif now - self.heard_at > most_seconds and self.dumped_at is None:
            self.why = f"No progress for {_span(now - self.heard_at)}"
            log.warning("%s: %s; it is ended", self.job_id, self.why)
            self._stacks_before = self._stacks_size()
            self.engine.dump_stacks()
            self.dumped_at = now
        elif self.dumped_at is not None and now - self.dumped_at > DUMP_SECONDS:
            is_saved = self._stacks_size() > self._stacks_before
            if "stack" not in self.why:
                self.why += "; stack saved" if is_saved else "; no stack could be saved"
            self.engine.kill()

    def _stacks_size(self) -> int:
        try:
            return (self.run.log_path.parent / "stacks.log").stat().st_size
        except FileNotFoundError:
            return 0

    def press(self) -> None:
        """End a process that takes too long over its end."""
        assert self.engine is not None
        now = time.monotonic()
        if self.shipper.ending is not None and self.ended_at is None:
            self.ended_at = now
        is_late = self.ended_at is not None and now - self.ended_at > LEAVE_SECONDS
        if is_late or (self.intent == "cancel" and now - self.asked_at > CANCEL_SECONDS):
            log.warning("%s: its process is ended by force", self.job_id)
            self.engine.kill()


@dataclass
class Leaving:
    """An engine that has no claim any more and has to go; it keeps its devices until it is gone."""

    claim: Claim
    engine: Engine
    _since: float = field(default_factory=time.monotonic)
    _steps: int = 0

    def is_gone(self) -> bool:
        """Stacks are saved first, then it is asked, then it is ended by force."""
        if not self.engine.is_alive():
            return True
        waited = time.monotonic() - self._since
        if self._steps == 0:
            self.engine.dump_stacks()
        elif self._steps == 1 and waited > DUMP_SECONDS:
            self.engine.interrupt()
        elif self._steps == 2 and waited > DUMP_SECONDS + ABANDON_SECONDS:
            self.engine.kill()
        else:
            return False
        self._steps += 1
        return False


def _span(seconds: float) -> str:
    """`30 min`, or `12 s`."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def find_engine(backend: Backend, held: Held) -> None:
    """Whoever works in the run of a claim now: its engine, or a stale one."""
    found = backend.find(held.run)
    if found is None:
        return
    engine, attempt = found
    if attempt == held.claim.attempt:
        held.engine, held.is_started = engine, True
    elif attempt < held.claim.attempt:
        held.stale = (engine, attempt)
