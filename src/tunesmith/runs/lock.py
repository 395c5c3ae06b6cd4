"""One engine at a time in a run directory, with locks that a killed process cannot leave behind.

The lock names its holder: process, start time of the process, boot of the machine, attempt. A
holder that is dead, or whose number now belongs to another process, has lost the lock. A holder in
another container or on another machine cannot be looked up; it counts as alive until the run has
been silent for a while.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tunesmith.errors import RunDirError
from tunesmith.runs.files import storage_errors
from tunesmith.runs.rundir import RunDir

SILENCE_SECONDS = 180.0


@dataclass(frozen=True)
class LockHolder:
    """Who holds a run; `started` is in clock ticks since boot on Linux, in seconds elsewhere."""

    pid: int
    started: float
    boot_id: str
    namespace: str
    host: str
    attempt: int


@contextmanager
def acquire_lock(run: RunDir, attempt: int) -> Generator[LockHolder]:
    """Hold the run for this process; RunDirError names a living holder, a dead one loses it."""
    me = _this_process(attempt)
    with storage_errors(run.lock_path), _exclusive(run.lock_path) as file:
        holder = _parse(os.pread(file, 65536, 0))
        if holder is not None and _is_alive(holder, run):
            raise _held_by(holder, run)
        _replace(file, json.dumps(asdict(me)).encode())
    try:
        yield me
    finally:
        release_lock(run, me)


def release_lock(run: RunDir, holder: LockHolder) -> None:
    """Give the lock back, unless another engine has taken it over meanwhile."""
    if not run.lock_path.exists():
        return
    with _exclusive(run.lock_path) as file:
        if _parse(os.pread(file, 65536, 0)) == holder:
            _replace(file, b"")


def living_holder(run: RunDir) -> LockHolder | None:
    """The engine that works in this run now; None when nobody does."""
    holder = read_holder(run.lock_path)
    return holder if holder is not None and _is_alive(holder, run) else None


def read_holder(path: Path) -> LockHolder | None:
    """What a lock file says, whether its holder lives or not."""
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return None


def is_local(holder: LockHolder) -> bool:
    """Whether the number of the holder means a process that can be looked up from here."""
    return holder.boot_id == _boot_id() and holder.namespace == _pid_namespace()


def _this_process(attempt: int) -> LockHolder:
    pid = os.getpid()
    started = start_time(pid)
    assert started is not None, "this process is alive"
    return LockHolder(pid, started, _boot_id(), _pid_namespace(), os.uname().nodename, attempt)


def _is_alive(holder: LockHolder, run: RunDir) -> bool:
    if is_local(holder):
        return start_time(holder.pid) == holder.started
    if holder.host == os.uname().nodename and holder.boot_id != _boot_id():
        return False  # this machine was restarted since
    return _silent_seconds(run) < SILENCE_SECONDS


def _held_by(holder: LockHolder, run: RunDir) -> RunDirError:
    if is_local(holder):
        where, hint = (
            "",
            "Wait for it, pause it with Ctrl-C where it was started, or end that process.",
        )
    else:
        where = f" on {holder.host}, which cannot be looked up from here"
        hint = (
            f"If it is gone, wait until the run has been silent for {SILENCE_SECONDS:.0f} seconds, "
            f"or delete {run.lock_path}."
        )
    return RunDirError(
        f"{run.path} is in use by process {holder.pid}{where} (attempt {holder.attempt}).",
        hint=hint,
        code="run_in_use",
        pid=holder.pid,
        attempt=holder.attempt,
    )


def start_time(pid: int) -> float | None:
    """When a process started; None when it is dead, a zombie included."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _start_time_portable(pid)
    # The second field is the command in brackets and may hold spaces and brackets itself.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else float(fields[19])


def _start_time_portable(pid: int) -> float | None:
    import psutil  # only where there is no /proc: a command should start fast

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        import psutil

        return str(int(psutil.boot_time()))


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _silent_seconds(run: RunDir) -> float:
    times = [path.stat().st_mtime for path in (run.events_path, run.lock_path) if path.exists()]
    return time.time() - max(times, default=0.0)


@contextmanager
def _exclusive(path: Path) -> Generator[int]:
    """Guard reading and replacing the holder against another process that does the same."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _replace(file: int, content: bytes) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, content, 0)
    os.fsync(file)


def _parse(content: bytes) -> LockHolder | None:
    """An empty or torn lock names nobody: its writer died while it wrote."""
    try:
        return LockHolder(**json.loads(content))
    except (ValueError, TypeError):
        return None
