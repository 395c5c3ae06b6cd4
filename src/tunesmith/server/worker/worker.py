"""The loop of a worker. Read `Worker.run` first, then `_round`, done several times a second.

A worker holds no truth: jobs are the database's, engines and their events are on the disk. So it
may be killed at any point and started again under the same name, and goes on with both. While the
database is away, engines go on and their events wait in their files.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from tunesmith import __version__
from tunesmith.errors import TunesmithError
from tunesmith.runs import CheckpointBroken, RunDir, StorageFull, StorageRefused
from tunesmith.runs.control import clear_control
from tunesmith.runs.lock import read_holder
from tunesmith.server import claims, clock, flavours, sweep, workers
from tunesmith.server.backends.backend import Backend, Launch
from tunesmith.server.claims import Claim, Order
from tunesmith.server.clock import SWEEP_SECONDS
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import DatabaseUnavailable, NotFound, StaleAttempt
from tunesmith.server.oversights import oversights
from tunesmith.server.quotas import Limits
from tunesmith.server.settings import FlavourSetting
from tunesmith.server.worker import endings
from tunesmith.server.worker.glance import Glance, glance
from tunesmith.server.worker.held import SILENCE_SECONDS, Held, Leaving, find_engine
from tunesmith.server.worker.prepare import prepare
from tunesmith.server.worker.shipping import Shipper
from tunesmith.server.worker.storage import Storage, Trouble
from tunesmith.server.workers import HEARTBEAT_SECONDS, DeviceInfo

log = logging.getLogger(__name__)
ROUND_SECONDS: Final = 0.2
QUEUE_SECONDS: Final = 2.0  # a queue in which nothing changed is looked at again
RETRY_SECONDS: Final = 5.0
_LONGEST_PAUSE: Final = 5.0


class Worker:
    """Runs jobs on the devices of one backend."""

    def __init__(
        self,
        database: Database,
        backend: Backend,
        place: DataDir,
        *,
        name: str,
        host: str = "",
        limits: Limits | None = None,
        stop_seconds: float = 120.0,
        silence_seconds: float = SILENCE_SECONDS,
        storage: Storage | None = None,
        flavours: Sequence[FlavourSetting] = (),
    ) -> None:
        """`stop_seconds`: how long it waits for the checkpoints of its jobs when it ends.

        `silence_seconds`: after that long without an event an engine is taken to hang.
        `flavours`: the setting, to be compared with the devices that workers have.
        """
        self._database, self._backend, self._place = database, backend, place
        self._name, self._host, self._limits = name, host, limits or Limits()
        self._stop_seconds, self._silence_seconds = stop_seconds, silence_seconds
        self._flavours = flavours
        self._id = ""  # none before it is registered
        self._held: dict[str, Held] = {}
        self._leaving: list[Leaving] = []
        self._storage = storage or Storage(place.root)
        self._beat_at = self._sweep_at = self._claim_at = 0.0
        self._queue: object = None  # as it was when nothing in it could start
        self._pause = ROUND_SECONDS
        self._reported: list[DeviceInfo] = []
        self._is_stalled = False  # something could not be written
        self._away_since: float | None = None

    def run(self, stop: threading.Event, leave: threading.Event | None = None) -> None:
        """Work until `stop`; then pause what runs and give it back. `leave`: go at once."""
        leave = leave or threading.Event()
        while not stop.is_set():
            self._guarded(self._round)
            stop.wait(self._pause)
        log.info("ends; %d jobs are saved and given back", len(self._held))
        deadline = time.monotonic() + self._stop_seconds
        while self._is_busy() and time.monotonic() < deadline and not leave.is_set():
            self._guarded(self._last_round)
            leave.wait(self._pause)
        for held in self._held.values():
            log.warning("%s goes on by itself; the next start adopts it", held.job_id)
        self._guarded(self._retire)

    def _is_busy(self) -> bool:
        return bool(self._held or self._leaving)

    def _guarded(self, work: Callable[[], None]) -> None:
        """A database that is away is waited for, longer each time; nothing is lost meanwhile.

        So is one that lies on a full or read-only disk.
        """
        try:
            work()
        except (DatabaseUnavailable, StorageFull, StorageRefused) as error:
            if not isinstance(error, DatabaseUnavailable):
                self._is_stalled = True
            if self._away_since is None:
                self._away_since = time.monotonic()
                log.warning("%s", error.message)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            return
        except NotFound as error:
            if error.code != "worker_not_found":
                raise
            log.warning("the database has forgotten this worker; it registers again")
            self._id = ""
        if self._away_since is not None:
            log.info("the database is back after %.0f s", time.monotonic() - self._away_since)
        self._pause, self._away_since = ROUND_SECONDS, None

    def _note_trouble(self) -> None:
        """Remember which engines the disk has ended, until that can be written down."""
        trouble = self._storage.trouble()
        self._is_stalled = trouble is not None
        for held in self._held.values():
            if trouble and held.is_started and held.no_room is None and not held.is_alive():
                held.no_room = trouble
                log.warning("%s: its engine has ended: %s", held.job_id, trouble.message)

    # ------------------------------------------------------------ one round

    def _round(self) -> None:
        """Orders, engines, heartbeat, new jobs."""
        if not self._id or list(self._backend.devices()) != self._reported:
            self._register()
        seen = self._look_after()
        if seen.is_anyone_waiting:
            self._claim(seen)

    def _last_round(self) -> None:
        if not self._id:
            self._register()
            workers.drain(self._database, self._id)
        for held in list(self._held.values()):
            if held.is_started:
                held.pause_for_restart()
            else:
                with _unless_stale():
                    claims.release(self._database, held.claim)
                del self._held[held.job_id]
        self._look_after()

    def _look_after(self) -> Glance:
        """Everything but new jobs."""
        if self._is_stalled:
            self._note_trouble()
        self._backend.tend()
        self._beat()
        seen = glance(self._database, self._id)
        self._adopt(seen)
        for held in list(self._held.values()):
            order = seen.orders.get(held.job_id)
            if order is None or order.attempt != held.claim.attempt:
                self._abandon(held)
            else:
                self._each(held, partial(self._follow, order=order))
        for leaving in list(self._leaving):
            if leaving.is_gone():
                self._leaving.remove(leaving)
                claims.stale_stopped(self._database, leaving.claim.job_id, leaving.claim.attempt)
                log.info(
                    "%s: stale attempt %d stopped", leaving.claim.job_id, leaving.claim.attempt
                )
        return seen

    def _register(self) -> None:
        devices = self._reported = list(self._backend.devices())
        self._id = workers.register(
            self._database,
            self._name,
            devices,
            host=self._host,
            backend=self._backend.name,
            version=__version__,
        )
        named = ", ".join(f"{d.index} {'missing' if d.is_missing else d.name}" for d in devices)
        log.info("worker %s (%s) with devices %s", self._name, self._id, named)
        self._tell_oversights()

    def _tell_oversights(self) -> None:
        """What the setting of flavours gets wrong, now that the devices are known."""
        if not self._flavours:
            return
        with self._database.read() as session:
            hosts = flavours.load(session, clock.read(session))
        for each in oversights([host for host in hosts if host.flavour], self._flavours):
            log.warning("%s %s", each.message, each.hint)

    def _beat(self) -> None:
        now = time.monotonic()
        if now >= self._sweep_at:
            for change in sweep.sweep(self._database):
                log.info("%s is %s: %s", change.job_id, change.status, change.reason)
            self._sweep_at = now + SWEEP_SECONDS
        if now >= self._beat_at:
            claims.renew(self._database, self._id, [held.claim for held in self._held.values()])
            self._beat_at = now + HEARTBEAT_SECONDS

    def _retire(self) -> None:
        if self._id:
            workers.drain(self._database, self._id)

    # ------------------------------------------------------------ jobs that come

    def _claim(self, seen: Glance) -> None:
        """Take jobs as long as there are devices; a queue that fits nothing is not asked again."""
        while True:
            free = self._free()
            state = (seen.queue, tuple(free))
            if not free or (state == self._queue and time.monotonic() < self._claim_at):
                return
            if self._storage.trouble() is not None:  # nothing could be written for it
                return
            claimed = claims.claim(self._database, self._id, free=free, limits=self._limits)
            if claimed is None:
                self._queue, self._claim_at = state, time.monotonic() + QUEUE_SECONDS
                return
            log.info(
                "%s: attempt %d on devices %s", claimed.job_id, claimed.attempt, claimed.devices
            )
            self._begin(claimed)

    def _free(self) -> list[int]:
        taken = {i for held in self._held.values() for i in held.claim.devices}
        taken |= {i for leaving in self._leaving for i in leaving.claim.devices}
        devices = self._backend.devices()
        return [d.index for d in devices if not d.is_missing and d.index not in taken]

    def _begin(self, claimed: Claim) -> None:
        """Make the run and start its engine; what is missing ends the job here."""
        try:
            run = prepare(self._database, self._place, claimed)
        except DatabaseUnavailable:
            raise  # the claim stays ours, and is found again
        except (StorageFull, StorageRefused) as error:
            with _unless_stale():
                self._pause_for_room(claimed, error)
            return
        except TunesmithError as error:
            told = endings.public_error({**error.to_dict(), "about": error.subject})
            with _unless_stale():
                claims.fail(self._database, claimed, told)
            log.info("%s: %s", claimed.job_id, error.message)
            return
        held = self._hold(claimed, run)
        find_engine(self._backend, held)
        if not held.is_started:
            clear_control(run)  # of an attempt before
            self._each(held, self._start)

    def _hold(self, claimed: Claim, run: RunDir) -> Held:
        shipper = Shipper(self._database, claimed, run, hidden=str(self._place.root))
        held = self._held[claimed.job_id] = Held(claimed, run, shipper)
        return held

    def _start(self, held: Held) -> None:
        """Start the engine once no other attempt is in the run."""
        if held.stale is not None:
            engine, attempt = held.stale
            claimed = Claim(held.job_id, attempt, self._id)
            self._leaving.append(Leaving(claimed, engine))
            held.stale = None
        if any(leaving.claim.job_id == held.job_id for leaving in self._leaving):
            return  # tried again in the next round
        launch = Launch(held.run, held.claim.attempt, held.claim.devices)
        try:
            held.engine = self._backend.start(launch)
        except (StorageFull, StorageRefused) as error:
            self._pause_for_room(held.claim, error)
            del self._held[held.job_id]
            return
        held.is_started = True

    def _pause_for_room(self, claimed: Claim, error: Trouble) -> None:
        """In the words of the directory as a whole, where the fault is still there."""
        told = self._storage.trouble(now=True) or error
        message = told.message.replace(f"{self._place.root}/", "")
        endings.pause_for_room(self._database, claimed, told.code, message)
        log.warning("%s: paused: %s", claimed.job_id, error.message)

    def _adopt(self, seen: Glance) -> None:
        """Jobs that the database says are ours: of a life before, or claimed without an answer."""
        if not seen.orders.keys() - self._held.keys():
            return
        for claimed in claims.held(self._database, self._id):
            if claimed.job_id in self._held:
                continue
            run = RunDir(self._place.run(claimed.job_id))
            if not run.recipe_path.is_file():
                self._begin(claimed)
                continue
            self._each(self._hold(claimed, run), self._recognise)
            log.info("%s: attempt %d adopted", claimed.job_id, claimed.attempt)

    def _recognise(self, held: Held) -> None:
        """Whether an engine of this attempt is in the run, or has been."""
        find_engine(self._backend, held)
        holder = read_holder(held.run.lock_path)
        held.is_started |= holder is not None and holder.attempt == held.claim.attempt
        held.shipper.ship()
        held.is_started |= held.shipper.has_started

    # ------------------------------------------------------------ jobs that are here

    def _follow(self, held: Held, order: Order) -> None:
        """Ship what is new, hand on what is asked, and end the claim when the engine has ended."""
        held.obey(order)
        if not held.is_started:
            self._start(held)
            return
        is_alive = held.is_alive()  # before its events are read: then none comes later
        is_whole = held.shipper.ship()
        if is_alive:
            held.press()
            held.end_silence(self._silence_seconds)
        if is_alive or not is_whole:
            return
        if held.no_room is None and endings.may_be_the_disk(held.shipper.ending):
            held.no_room = self._storage.trouble(now=True)
        try:
            what = endings.conclude(
                self._database,
                held.claim,
                held.run,
                held.shipper.ending,
                was_told=held.was_told,
                no_room=held.no_room,
                why=held.cause_of_death(),
            )
        except CheckpointBroken as error:  # the result cannot be read: once more
            what = f"interrupted: {error.message}"
            claims.interrupted(self._database, held.claim, why="the result is damaged")
        log.info("%s: attempt %d %s", held.job_id, held.claim.attempt, what)
        del self._held[held.job_id]

    def _each(self, held: Held, work: Callable[[Held], None]) -> None:
        """What goes wrong with one job leaves the others alone."""
        if time.monotonic() < held.retry_at:
            return
        try:
            work(held)
        except StaleAttempt as error:
            log.warning("%s", error.message)
            self._abandon(held)
        except (DatabaseUnavailable, NotFound):
            raise
        except (StorageFull, StorageRefused) as error:
            # Of its run, or of the database: then the next heartbeat tells of that.
            self._is_stalled = True
            held.retry_at = time.monotonic() + RETRY_SECONDS
            log.warning("%s: %s", held.job_id, error.message)
        except Exception:
            log.exception("%s: tried again in %.0f s", held.job_id, RETRY_SECONDS)
            held.retry_at = time.monotonic() + RETRY_SECONDS

    def _abandon(self, held: Held) -> None:
        """The job is somebody else's by now, or nobody's."""
        log.warning("%s: attempt %d is no longer ours", held.job_id, held.claim.attempt)
        del self._held[held.job_id]
        if held.engine is not None and held.is_alive():
            self._leaving.append(Leaving(held.claim, held.engine))


@contextmanager
def _unless_stale() -> Generator[None]:
    """An ending of a claim that is over already changes nothing."""
    try:
        yield
    except StaleAttempt as error:
        log.warning("%s", error.message)
