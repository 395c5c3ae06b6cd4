"""From events.jsonl of a run into the database: in order, each once, whatever dies in between.

That a job runs is told before its event is recorded, which may come twice; checkpoints are indexed
in the transaction of their events. How a run ended is read from its last event, so that an ending
is never lost between the two.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from tunesmith.runs import CheckpointBroken, RunDir, checkpoints, read_events
from tunesmith.runs.events import Event
from tunesmith.runs.manifest import MANIFEST, read_manifest
from tunesmith.server import claims
from tunesmith.server.claims import Claim, Saved
from tunesmith.server.database import Database
from tunesmith.server.errors import EventsMissing

log = logging.getLogger(__name__)
ENDINGS: Final = frozenset({"finished", "paused", "failed"})
_BLOCK: Final = 1 << 18  # bytes of events that are shipped at once
_SHIP_SECONDS: Final = 1.0  # then other jobs and the heartbeat come first
_TEXTS: Final = ("message", "hint")


class Shipper:
    """Reads the events of one run for one claim; knows the last of each kind."""

    def __init__(self, database: Database, claimed: Claim, run: RunDir, *, hidden: str) -> None:
        """`hidden`: the path of the data directory, which users have no use for."""
        self._database, self._claim, self._run, self._hidden = database, claimed, run, hidden
        self.offset = 0
        self.has_started = False
        self.ending: Event | None = None
        self._place: tuple[int, int] | None = None  # (attempt, seq) of the last event
        self._step: Event = {}
        self._evaluation: Event = {}
        known = claimed.offset if claimed.offset <= self._size() else 0
        while self.offset < known:  # only for what is remembered
            left = min(_BLOCK, known - self.offset)
            events, end = read_events(run, self.offset, most_bytes=left)
            if not events:
                break
            for event in events:
                self._remember(event)
            self.offset = end

    def ship(self) -> bool:
        """Record all that is there now; False when it has to be called again for that.

        What is written meanwhile is left for later: an engine may write faster than a slow database
        takes it, and orders must not wait for that.
        """
        size = self._size()
        if self.offset > size:  # the file has lost its end with the power
            self.offset, self._place = 0, None
        deadline = time.monotonic() + _SHIP_SECONDS
        while self.offset < size:
            if time.monotonic() > deadline:
                return False
            before = self.offset
            self._next()
            if self.offset <= before:
                return self.offset == before  # the rest is a torn line, or it begins anew
        return True

    def _size(self) -> int:
        try:
            return self._run.events_path.stat().st_size
        except FileNotFoundError:
            return 0

    def _next(self) -> None:
        """Ship one block of whole lines."""
        found, end = read_events(self._run, self.offset, most_bytes=_BLOCK)
        if not found:
            return
        events = [self._public(event) for event in mended(found, self._place)]
        saved: dict[int, Saved] = {}
        whole = self._whole_checkpoints() if any(e["type"] == "checkpoint" for e in events) else {}
        for event in events:
            if event["type"] == "started" and event["attempt"] == self._claim.attempt:
                claims.started(self._database, self._claim)
            self._remember(event)
            if event["type"] == "checkpoint" and int(event["step"]) in whole:
                step = int(event["step"])
                metrics = checkpoint_metrics(step, self._step, self._evaluation)
                saved[step] = Saved(step, whole[step], metrics)
        span = (self.offset, end)
        try:
            claims.record(
                self._database,
                self._claim,
                events,
                span=span,
                saved=list(saved.values()),
                kept=whole,
            )
        except EventsMissing as error:
            if self.offset == 0:
                raise
            # What is known is dropped on the way.
            log.warning("%s: reads its events from the beginning: %s", self._run.name, error)
            self.offset, self._place = 0, None
            return
        self.offset = end

    def _remember(self, event: Event) -> None:
        if "seq" not in event:
            return
        self._place = (int(event["attempt"]), int(event["seq"]))
        kind = event["type"]
        if kind == "step":
            self._step = event
        elif kind == "evaluation":
            self._evaluation = event
        if event["attempt"] == self._claim.attempt:
            self.has_started = True
            self.ending = event if kind in ENDINGS else None

    def _whole_checkpoints(self) -> dict[int, int]:
        """Steps and bytes of the checkpoints that the run has now."""
        found: dict[int, int] = {}
        for checkpoint in checkpoints(self._run):
            if not (checkpoint.path / MANIFEST).is_file():
                continue  # in the making, or cut off
            try:
                found[checkpoint.step] = read_manifest(checkpoint.path).total_bytes
            except CheckpointBroken as error:
                log.warning("%s: %s", self._run.name, error.message)
        return found

    def _public(self, event: Event) -> Event:
        """Texts without the place of the data directory."""
        texts = {
            name: event[name].replace(f"{self._hidden}/", "")
            for name in _TEXTS
            if isinstance(event.get(name), str) and self._hidden in event[name]
        }
        return event | texts if texts else event


def checkpoint_metrics(step: int, trained: Event, evaluated: Event) -> dict[str, Any]:
    """How good the model was at a checkpoint, in the names that the OpenAI API has for it."""
    values = {
        "train_loss": trained.get("loss"),
        "train_mean_token_accuracy": trained.get("token_accuracy"),
        "valid_loss": evaluated.get("loss"),
        "valid_mean_token_accuracy": evaluated.get("token_accuracy"),
        # An evaluation is always over all validation rows.
        "full_valid_loss": evaluated.get("loss"),
        "full_valid_mean_token_accuracy": evaluated.get("token_accuracy"),
    }
    return {"step": step} | {name: value for name, value in values.items() if value is not None}


def mended(events: Iterable[Event], place: tuple[int, int] | None) -> Iterator[Event]:
    """The events with a warning in the place of each one that a damaged disk has lost.

    `place`: attempt and number of the event before the first one, where it is known.
    """
    for event in events:
        if "seq" not in event:
            log.warning("%s", event.get("message"))
            continue
        attempt, seq = int(event["attempt"]), int(event["seq"])
        if place is not None and attempt >= place[0]:
            first = place[1] + 1 if attempt == place[0] else 1
            yield from _lost(event, range(first, seq))
        place = (attempt, seq)
        yield event


def _lost(event: Event, numbers: Sequence[int]) -> Iterator[Event]:
    for number in numbers:
        yield {
            **{key: event[key] for key in ("run", "attempt", "time") if key in event},
            "seq": number,
            "type": "warning",
            "code": "event_lost",
            "message": "An event could not be read: its line in events.jsonl is damaged.",
            "hint": "",
        }
