"""Engines as processes of this machine: in sessions of their own, with files and never a pipe.

A process is known by its number and its start time, so that a number that was given again is never
taken for it. Who works in a run is what the lock of the run says.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tunesmith.runs import RunDir
from tunesmith.runs.files import storage_errors
from tunesmith.runs.launch import engine_command, engine_environment, train_arguments
from tunesmith.runs.lock import is_local, living_holder, start_time
from tunesmith.server.backends.backend import Launch
from tunesmith.server.backends.devices import CPU_FLAVOUR, find_devices, seen_again
from tunesmith.server.backends.nursery import Nursery, Order
from tunesmith.server.workers import DeviceInfo

log = logging.getLogger(__name__)
LOOK_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Process:
    """One process and no other: its number and when it started."""

    pid: int
    started: float | None

    @classmethod
    def of(cls, pid: int) -> Process:
        return cls(pid, start_time(pid))

    def is_alive(self) -> bool:
        return self.started is not None and start_time(self.pid) == self.started

    def signal(self, number: int) -> None:
        """Send a signal, if it is still there."""
        if self.is_alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                log.debug("process %d has just ended", self.pid)

    def kill_group(self) -> None:
        """End the process and all that it started: an engine leads a session of its own."""
        if not self.is_alive():
            return
        try:
            group = os.getsid(self.pid)
            if group in (os.getsid(0), 0):  # never ours
                os.kill(self.pid, signal.SIGKILL)
            else:
                os.killpg(os.getpgid(self.pid), signal.SIGKILL)
        except ProcessLookupError:
            log.debug("process %d has just ended", self.pid)


@dataclass
class LocalEngine:
    """The engine of one attempt: the process that was started, and the one that holds the run."""

    run: RunDir
    attempt: int
    child: subprocess.Popen[bytes] | None = None  # started by us directly: ours to reap
    order: Order | None = None  # asked of the nursery
    _launched: Process | None = field(default=None, init=False)
    fallback: Launch | None = None

    def is_alive(self) -> bool:
        launched = self._process()
        if launched is not None and launched.is_alive():
            return True
        if self.order is not None and self.order.pid is None and not self.order.is_lost:
            return True
        return self._holder() is not None

    def interrupt(self) -> None:
        target = self._holder() or self._process()
        if target is not None:
            target.signal(signal.SIGTERM)

    def dump_stacks(self) -> None:
        holder = self._holder()
        if holder is not None:
            holder.signal(signal.SIGUSR1)

    def kill(self) -> None:
        for process in (self._process(), self._holder()):
            if process is not None:
                process.kill_group()

    def _process(self) -> Process | None:
        if self._launched is None:
            if self.child is not None:
                self._launched = Process.of(self.child.pid)
            elif self.order is not None and self.order.pid is not None:
                self._launched = Process.of(self.order.pid)
        if self.child is not None:
            self.child.poll()
        return self._launched

    def _holder(self) -> Process | None:
        """Whoever has the lock for this attempt; a holder elsewhere counts, and hears no signal."""
        holder = living_holder(self.run)
        if holder is None or holder.attempt != self.attempt:
            return None
        return Process(holder.pid, holder.started) if is_local(holder) else _ELSEWHERE


_ELSEWHERE = Process(0, None)


class LocalBackend:
    """Starts engines on this machine, out of a nursery where one is kept."""

    name = "local"

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        command: Sequence[str] = (),
        devices: Sequence[int] | None = None,
        num_cpu_devices: int = 1,
        warm: bool = True,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """`command` stands for `python -m tunesmith.engine`; another one gets no nursery.

        `look_seconds`: how often it looks whether its GPUs are still there.
        """
        self._look_seconds = look_seconds
        self._command = list(command) or engine_command()
        self._environment = engine_environment(environment)
        self._devices = find_devices(devices, num_cpu_devices=num_cpu_devices)
        self._has_gpus = any(device.flavour != CPU_FLAVOUR for device in self._devices)
        self._look_at = time.monotonic() + look_seconds
        if not self._has_gpus and num_cpu_devices > 1:  # jobs beside each other share the cores
            threads = max(1, (os.cpu_count() or 1) // num_cpu_devices)
            self._environment.setdefault("OMP_NUM_THREADS", str(threads))
        self._nursery = None
        if warm and not command:
            self._nursery = Nursery(engine_command("nursery"), self._environment)
        self._lost: list[LocalEngine] = []
        self._children: list[subprocess.Popen[bytes]] = []

    def devices(self) -> list[DeviceInfo]:
        return list(self._devices)

    def start(self, launch: Launch) -> LocalEngine:
        engine = LocalEngine(launch.run, launch.attempt, fallback=launch)
        with storage_errors(launch.run.log_path):
            launch.run.log_path.parent.mkdir(parents=True, exist_ok=True)
        if self._nursery is not None:
            engine.order = self._nursery.order(
                _arguments(launch), str(launch.run.log_path), self._visible(launch.devices)
            )
            self._lost.append(engine)
            self._replace_lost()
        else:
            self._start_directly(engine, launch)
        return engine

    def find(self, run: RunDir) -> tuple[LocalEngine, int] | None:
        holder = living_holder(run)
        if holder is None:
            return None
        return LocalEngine(run, holder.attempt), holder.attempt

    def tend(self) -> None:
        if self._has_gpus and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + self._look_seconds
            self._devices = seen_again(self._devices)
        if self._nursery is not None:
            self._nursery.tend()
            self._replace_lost()
        self._children = [child for child in self._children if child.poll() is None]

    def close(self) -> None:
        if self._nursery is not None:
            self._nursery.close()

    def _replace_lost(self) -> None:
        """Start directly what a nursery did not live to start."""
        for engine in list(self._lost):
            assert engine.order is not None
            if engine.order.pid is None and not engine.order.is_lost:
                continue
            self._lost.remove(engine)
            if engine.order.is_lost and engine.fallback is not None:
                self._start_directly(engine, engine.fallback)

    def _start_directly(self, engine: LocalEngine, launch: Launch) -> None:
        with storage_errors(launch.run.log_path):
            output = launch.run.log_path.open("ab")
        with output:
            engine.child = subprocess.Popen(
                [*self._command, *_arguments(launch)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment | self._visible(launch.devices),
                start_new_session=True,
            )
        self._children.append(engine.child)

    def _visible(self, devices: Sequence[int]) -> dict[str, str]:
        """The devices that the engine may use, and no other."""
        shown = ",".join(str(index) for index in devices) if self._has_gpus else ""
        return {"CUDA_VISIBLE_DEVICES": shown, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def _arguments(launch: Launch) -> list[str]:
    return train_arguments(
        launch.run,
        resume=launch.attempt > 1,
        attempt=launch.attempt,
        num_ranks=max(1, len(launch.devices)),
    )
