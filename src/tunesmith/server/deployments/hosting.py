"""The part of a worker that keeps models answering. Read `Hosting.round` first.

The database says which deployments should answer; the processes on this machine are made to fit,
about once a second, in a thread beside the jobs. Like the worker it holds no truth: whoever it is
after a restart finds processes by their folders and goes on.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import Session

from tunesmith.errors import TunesmithError
from tunesmith.server import clock, ids
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.deployments import evaluated, placing, sources
from tunesmith.server.deployments.process import ServingProcess
from tunesmith.server.deployments.states import (
    LOADING_SECONDS,
    SILENCE_SECONDS,
    WANTED,
    Status,
    failed_once,
    transition,
)
from tunesmith.server.errors import DatabaseUnavailable, IllegalTransition
from tunesmith.server.tables import Deployment, Serving, Worker

log = logging.getLogger(__name__)
ROUND_SECONDS: Final = 0.5
_HEARD_SECONDS: Final = 10.0  # how often a starting deployment is told to be on its way


@dataclass(frozen=True)
class HostingSettings:
    """What the processes of this worker may use. `memory_bytes` of 0: half of the machine's."""

    host: str = "127.0.0.1"
    memory_bytes: int = 0
    devices: str = ""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def budget_bytes(self) -> int:
        return self.memory_bytes or psutil.virtual_memory().total // 2


class Hosting:
    """The serving processes of one worker."""

    def __init__(
        self, database: Database, place: DataDir, worker_name: str, settings: HostingSettings
    ) -> None:
        self._database, self._place, self._settings = database, place, settings
        self._worker_name = worker_name
        self._worker_id = ""
        self._processes: dict[str, ServingProcess] = {}
        self._has_looked = False

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; processes are left alone: who has the worker's name next adopts them."""
        while not stop.wait(ROUND_SECONDS):
            try:
                self.round()
            except DatabaseUnavailable as error:
                log.warning("%s", error.message)
                stop.wait(5.0)
            except Exception:
                log.exception("deployments are looked at again in 5 s")
                stop.wait(5.0)

    def end(self) -> None:
        """End all processes: the worker ends. What is wanted starts again with the next one."""
        for process in self._processes.values():
            process.process.signal(signal.SIGTERM)  # all at once, then each is waited for
        for process in self._processes.values():
            try:
                self._let_go(process.id, "worker_ended")
            except DatabaseUnavailable as error:
                log.warning("%s", error.message)  # the next start finds the process gone
            process.end()
        self._processes.clear()

    def round(self) -> None:
        """Make what runs fit what is wanted."""
        if not self._worker_id and not self._is_registered():
            return
        if not self._has_looked:
            self._adopt()
        self._bury()
        self._release_idle()
        self._release_evaluated()
        self._give_up_silent()
        plan = self._plan()
        for deployment_id, serving_id in plan.join:
            self._change(deployment_id, lambda row, s=serving_id: _join(row, s))
        for deployment_id, budget in plan.short.items():
            self._refuse_size(deployment_id, budget)
        for deployment_id in plan.evict:
            self._stop(deployment_id, "made_room")
        for serving_id in plan.end:
            self._end(serving_id)
        for wanted in plan.start:
            self._start(wanted)
        for process in list(self._processes.values()):
            self._serve(process)

    # ------------------------------------------------------------ processes

    def _is_registered(self) -> bool:
        with self._database.read() as session:
            found = session.scalar(select(Worker.id).where(Worker.name == self._worker_name))
        self._worker_id = found or ""
        return bool(found)

    def _adopt(self) -> None:
        """Processes of a life before: those that the database knows go on, others end."""
        with self._database.read() as session:
            known = set(
                session.scalars(select(Serving.id).where(Serving.worker_id == self._worker_id))
            )
            others = set(
                session.scalars(select(Serving.id).where(Serving.worker_id != self._worker_id))
            )
        folder = self._place.servings
        for child in sorted(folder.iterdir()) if folder.is_dir() else []:
            if child.name in others:
                continue
            process = ServingProcess.find(child)
            if process is None:
                self._let_go(child.name, "process_gone")
                ServingProcess.clear(child)
            elif child.name in known:
                log.info("%s: process %d adopted", child.name, process.process.pid)
                self._processes[child.name] = process
            else:
                process.end()
        for serving_id in known - self._processes.keys():
            self._let_go(serving_id, "process_gone")
        self._has_looked = True

    def _bury(self) -> None:
        """A process that has ended or hangs: its deployments start again, or fail."""
        for process in list(self._processes.values()):
            if process.is_stuck():
                log.warning("%s: it hangs, and is ended by force", process.id)
                process.kill()
            elif process.is_alive():
                continue
            said = process.last_words()
            log.warning("%s: the process has ended: %s", process.id, said)
            error: dict[str, Any] = {
                "code": "serving_process_ended",
                "message": f"The process that answers for it has ended. It said last: {said}",
                "param": None,
            }
            self._let_go(process.id, "process_died", error)
            process.clear(process.folder)
            del self._processes[process.id]

    def _let_go(self, serving_id: str, reason: str, error: dict[str, Any] | None = None) -> None:
        """The deployments of a process that is not there any more; an error counts against them."""
        with self._database.write() as session:
            moment = clock.read(session)
            rows = _locked(session, Deployment.serving_id == serving_id)
            for row in rows:
                if error is not None:
                    failed_once(session, row, error, moment)
                elif row.status in WANTED:
                    transition(session, row, Status.STARTING, moment, reason=reason)
            session.execute(delete(Serving).where(Serving.id == serving_id))

    def _start(self, wanted: placing.Wanted) -> None:
        with self._database.read() as session:
            moment = clock.read(session)
            argument = sources.base_argument(session, self._place, wanted.base)
        serving_id = ids.new(ids.SERVING, moment.wall)
        process = ServingProcess.start(
            self._place.servings / serving_id,
            argument,
            host=self._settings.host,
            environment=self._settings.environment,
            devices=self._settings.devices,
        )
        self._processes[serving_id] = process
        with self._database.write() as session:
            session.add(
                Serving(
                    id=serving_id,
                    worker_id=self._worker_id,
                    base=wanted.base,
                    address=process.address,
                    secret=process.secret,
                    memory_bytes=wanted.memory_bytes,
                    started_at=clock.read(session).wall,
                )
            )
        log.info("%s: process %d starts with %s", serving_id, process.process.pid, wanted.base)
        self._change(wanted.id, lambda row: _join(row, serving_id))

    def _end(self, serving_id: str) -> None:
        process = self._processes.pop(serving_id, None)
        self._let_go(serving_id, "process_ended")
        if process is not None:
            log.info("%s: nobody needs it any more", serving_id)
            process.end()

    # ------------------------------------------------------------ deployments

    def _plan(self) -> placing.Plan:
        mine = self._processes.keys()
        with self._database.read() as session:
            moment = clock.read(session)
            rows = session.scalars(
                select(Deployment).where(
                    Deployment.deleted_at.is_(None),
                    Deployment.status.in_(sorted(WANTED)),
                    or_(Deployment.serving_id.is_(None), Deployment.serving_id.in_(sorted(mine))),
                )
            ).all()
            wanted = [
                placing.Wanted(
                    row.id,
                    row.base,
                    sources.memory_bytes(session, self._place, row.base),
                    row.used_lease,
                    row.serving_id or "",
                    row.autostart,
                )
                for row in rows
            ]
            processes = [
                placing.Process(row.id, row.base, row.memory_bytes)
                for row in session.scalars(select(Serving).where(Serving.id.in_(sorted(mine))))
            ]
        budget = self._settings.budget_bytes
        made = placing.plan(wanted, processes, budget_bytes=budget, now=moment.lease)
        made.end += sorted(mine - {process.id for process in processes})  # given up for lost
        return made

    def _serve(self, process: ServingProcess) -> None:
        """Once the base is in memory: load and unload adapters, and say what is ready."""
        if not process.is_ready():
            if process.silences == 0:
                self._hear(process)
            return
        if process.silences:
            return  # it is asked for nothing until it answers again
        with self._database.read() as session:
            rows = session.scalars(
                select(Deployment).where(
                    Deployment.serving_id == process.id, Deployment.deleted_at.is_(None)
                )
            ).all()
            adapters = {
                row.id: sources.adapter_folder(session, self._place, row.adapter_id)
                for row in rows
                if row.adapter_id is not None
            }
        try:
            self._fit_adapters(process, rows, adapters)
        except httpx.TransportError as error:
            log.warning("%s: %s", process.id, error)  # it has died, or is busy: the next round

    def _fit_adapters(
        self, process: ServingProcess, rows: Sequence[Deployment], adapters: Mapping[str, Path]
    ) -> None:
        for row in rows:
            if row.id in adapters and row.id not in process.adapters():
                problem = process.load(row.id, adapters[row.id])
                if problem:
                    self._fail(row.id, "adapter_refused", problem)
                    continue
            if row.status == Status.STARTING:
                self._ready(row.id, process.id)
        for name in process.adapters() - adapters.keys():
            process.unload(name)

    def _ready(self, deployment_id: str, serving_id: str) -> None:
        def change(session: Session, row: Deployment, moment: Moment) -> None:
            if row.status == Status.STARTING and row.serving_id == serving_id:
                # Its idle time begins now, however long it took to load.
                transition(
                    session, row, Status.READY, moment, num_failures=0, used_lease=moment.lease
                )
                log.info("%s (%s) is ready", row.id, row.name)

        self._write(deployment_id, change)

    def _hear(self, process: ServingProcess) -> None:
        """A base that takes long to load is no silence, as long as its process says so, in time."""
        with self._database.read() as session:
            now = clock.read(session).lease
            starting = (Deployment.serving_id == process.id) & (
                Deployment.status == Status.STARTING.value
            )
            unheard = starting & (Deployment.heard_lease + _HEARD_SECONDS < now)
            waiting = session.scalars(select(Deployment.id).where(starting)).all()
            is_heard = session.scalar(select(Deployment.id).where(unheard).limit(1)) is None
        if process.loads_since is None:
            process.loads_since = now
        if now - process.loads_since > LOADING_SECONDS:
            for deployment_id in waiting:
                self._fail(deployment_id, "serving_slow", _too_slow(process))
        if is_heard or now - process.loads_since > LOADING_SECONDS:
            return
        with self._database.write() as session:
            moment = clock.read(session)
            for row in _locked(session, unheard):
                row.heard_lease = moment.lease

    def _release_idle(self) -> None:
        with self._database.read() as session:
            moment = clock.read(session)
            idle = session.scalars(
                select(Deployment.id).where(
                    Deployment.status == Status.READY.value,
                    Deployment.serving_id.in_(sorted(self._processes)),
                    Deployment.idle_seconds > 0,
                    Deployment.used_lease + Deployment.idle_seconds < moment.lease,
                )
            ).all()
        for deployment_id in idle:
            self._stop(deployment_id, "idle")

    def _release_evaluated(self) -> None:
        """Any worker does: an evaluation that was killed could not clean up behind itself."""
        with self._database.read() as session:
            if not evaluated.left_behind(session):
                return
        with self._database.write() as session:
            for row in evaluated.left_behind(session, lock=True):
                evaluated.forget(session, row, clock.read(session))
                log.info("%s (%s) goes: its evaluation has ended", row.id, row.name)

    def _give_up_silent(self) -> None:
        """Any worker does: what no worker took up, and what a lost worker had."""
        with self._database.read() as session:
            moment = clock.read(session)
            lost = session.scalars(
                select(Serving.id)
                .join(Worker, Worker.id == Serving.worker_id)
                .where(Worker.lease_until < moment.lease, Worker.id != self._worker_id)
            ).all()
            silent = session.scalars(select(Deployment.id).where(_is_silent(moment))).all()
        for serving_id in lost:
            self._let_go(serving_id, "worker_lost")
        for deployment_id in silent:
            self._write(deployment_id, _fail_silent)

    def _stop(self, deployment_id: str, reason: str) -> None:
        def change(session: Session, row: Deployment, moment: Moment) -> None:
            if row.status in WANTED:
                transition(session, row, Status.STOPPED, moment, reason=reason)
                log.info("%s (%s) stops: %s", row.id, row.name, reason)

        self._write(deployment_id, change)

    def _refuse_size(self, deployment_id: str, budget: int) -> None:
        self._fail(
            deployment_id,
            "no_memory_for_model",
            f"Models that answer may take {budget >> 20:,} MiB of memory together here, "
            "and this one alone needs more.",
        )

    def _fail(self, deployment_id: str, code: str, message: str) -> None:
        def change(session: Session, row: Deployment, moment: Moment) -> None:
            if row.status in WANTED:
                error = {"code": code, "message": message, "param": None}
                transition(session, row, Status.FAILED, moment, reason=code, error=error)
                log.warning("%s (%s): %s", row.id, row.name, message)

        self._write(deployment_id, change)

    def _change(self, deployment_id: str, change: Callable[[Deployment], None]) -> None:
        self._write(deployment_id, lambda _, row, __: change(row))

    def _write(
        self, deployment_id: str, change: Callable[[Session, Deployment, Moment], None]
    ) -> None:
        """A change under the lock of the row; what somebody else did meanwhile stands."""
        try:
            with self._database.write() as session:
                moment = clock.read(session)
                for row in _locked(session, Deployment.id == deployment_id):
                    change(session, row, moment)
        except IllegalTransition as error:
            log.info("%s", error.message)
        except TunesmithError as error:
            log.warning("%s: %s", deployment_id, error.message)
            raise


def _too_slow(process: ServingProcess) -> str:
    """What a deployment says whose base is never loaded."""
    minutes = LOADING_SECONDS / 60
    said = process.last_words()
    return f"Its base was still being loaded after {minutes:.0f} minutes. It said last: {said}"


def _join(row: Deployment, serving_id: str) -> None:
    if row.status in WANTED and row.serving_id is None:
        row.serving_id = serving_id


def _locked(session: Session, condition: ColumnElement[bool]) -> Sequence[Deployment]:
    return session.scalars(
        select(Deployment)
        .where(condition, Deployment.deleted_at.is_(None))
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    ).all()


def _is_silent(moment: Moment) -> ColumnElement[bool]:
    return (
        (Deployment.status == Status.STARTING.value)
        & (Deployment.heard_lease + SILENCE_SECONDS < moment.lease)
        & Deployment.deleted_at.is_(None)
    )


def _fail_silent(session: Session, row: Deployment, moment: Moment) -> None:
    if row.status != Status.STARTING or moment.lease - row.heard_lease <= SILENCE_SECONDS:
        return  # something was heard meanwhile
    error = {
        "code": "serving_silent",
        "message": f"No worker has started it, or said anything, for {SILENCE_SECONDS:.0f} s.",
        "param": None,
    }
    transition(session, row, Status.FAILED, moment, reason="silent", error=error)
