"""`python -m tunesmith.server worker`: one worker, until a signal ends it."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import os
import shlex
import signal
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from tunesmith.errors import InputError
from tunesmith.runs.logs import PART_BYTES_VARIABLE, PARTS_VARIABLE
from tunesmith.server.backends.devices import warn_of_misnamed_variable
from tunesmith.server.backends.local import LocalBackend
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir, held, holder_of
from tunesmith.server.errors import DatabaseRefused, DatabaseUnavailable
from tunesmith.server.installation import refuse_strangers
from tunesmith.server.keeping.copies import file_to_be
from tunesmith.server.migrations.revisions import refuse_other_revision, revision_of
from tunesmith.server.quotas import Limits
from tunesmith.server.settings import Settings
from tunesmith.server.worker.storage import Storage, await_storage
from tunesmith.server.worker.worker import Worker
from tunesmith.server.workers import LEASE_SECONDS, living_on

log = logging.getLogger(__name__)
WAIT_SECONDS: Final = 2.0
FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"


def main(arguments: Sequence[str]) -> int:
    """Work until SIGTERM or SIGINT; a second one leaves the engines to themselves."""
    parser = argparse.ArgumentParser(prog="tunesmith worker")
    parser.add_argument("--data-dir", help="where datasets, runs and models lie")
    parser.add_argument("--database", help="URL; a SQLite file in the data directory otherwise")
    parser.add_argument("--name", help="of this worker; the name of the machine otherwise")
    parser.add_argument("--parent", type=int, help="leave when this process is gone")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    for chatty in ("alembic", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    settings = Settings.load(
        data_dir=options.data_dir, database_url=options.database, worker_name=options.name
    )
    stop, leave = threading.Event(), threading.Event()

    def on_signal(number: int, _: object) -> None:
        log.info("%s", signal.Signals(number).name)
        (leave if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    if options.parent is not None:
        watcher = (options.parent, stop, leave)
        threading.Thread(target=_leave_with, args=watcher, name="parent", daemon=True).start()
    # Another server may have been killed a moment ago, and its worker is just leaving.
    run_worker(settings, stop, leave, wait_seconds=0.0 if options.parent is None else 15.0)
    return 0


def _leave_with(parent: int, stop: threading.Event, leave: threading.Event) -> None:
    """A server that was killed takes its worker with it; engines go on and are adopted."""
    while os.getppid() == parent:
        if stop.wait(0.5):
            return
    log.warning("the server is gone; this worker leaves, its engines go on")
    leave.set()
    stop.set()


def run_worker(
    settings: Settings,
    stop: threading.Event,
    leave: threading.Event | None = None,
    *,
    wait_seconds: float = 0.0,
) -> None:
    """Run a worker in this thread until `stop` is set; InputError when its name is in use.

    `wait_seconds`: how long to wait for another one of that name to leave.
    """
    if not settings.data_dir.expanduser().exists():
        _refuse_missing_database(settings)  # a folder that was misspelt is not made
    place = await_storage(settings.data_dir, stop)
    if place is None:
        return
    _refuse_missing_database(settings)
    name = settings.worker_name or os.uname().nodename
    _await_name(place.worker_lock(name), wait_seconds, stop)
    with (
        held(place.worker_lock(name)) as other,
        closing(Database(settings.database, timeout=settings.database_timeout)) as database,
    ):
        if other is not None:
            raise _name_in_use(name, f"process {other.pid} on {other.host}, since {other.since}")
        _log_to_file(place, name, settings)
        if not _await_database(database, stop):
            return
        refuse_other_revision(database)
        refuse_strangers(database, place)
        if not _await_namesake(database, name, stop):
            return
        with (
            closing(local_backend(settings)) as backend,
            _hosting(database, place, name, settings, leave),
        ):
            Worker(
                database,
                backend,
                place,
                name=name,
                host=os.uname().nodename,
                limits=Limits.of(settings),
                stop_seconds=settings.worker_stop_seconds,
                silence_seconds=settings.silence_seconds,
                storage=Storage(place.root, settings.least_free_bytes),
                flavours=settings.flavours,
            ).run(stop, leave)


@contextmanager
def _hosting(
    database: Database,
    place: DataDir,
    name: str,
    settings: Settings,
    leave: threading.Event | None,
) -> Generator[None]:
    """Models answer beside the jobs, and end with this worker unless it has to `leave` at once."""
    ended = threading.Event()

    def work() -> None:
        from tunesmith.server.deployments.hosting import Hosting, HostingSettings  # loads httpx

        use = HostingSettings(
            settings.deployment_host,
            round(settings.deployment_memory_gib * 2**30),
            settings.deployment_devices,
            dict(os.environ) | {"TUNESMITH_DATA_DIR": str(settings.data_dir)},
        )
        hosting = Hosting(database, place, name, use)
        hosting.run(ended)
        if leave is None or not leave.is_set():
            hosting.end()

    thread = threading.Thread(target=work, name="hosting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=30)


def _name_in_use(name: str, who: str) -> InputError:
    return InputError(
        f"A worker named {name} runs already ({who}). It was not disturbed; this one did not "
        "start.",
        hint="Give this one another name: --name, or TUNESMITH_WORKER_NAME.",
        code="worker_name_in_use",
        name=name,
    )


def _refuse_missing_database(settings: Settings) -> None:
    """Opening a SQLite file that is not there would make an empty one."""
    file = file_to_be(settings.database)
    if file is None or file.is_file():
        return
    is_named = bool(settings.database_url.get_secret_value())
    why = "" if is_named else ", and TUNESMITH_DATABASE_URL names no other"
    raise DatabaseRefused(
        f"There is no database {file}{why}.",
        hint="Name the database that `tunesmith serve` uses, or start `tunesmith serve` once: it "
        "makes one.",
        code="no_database",
    )


def _await_database(database: Database, stop: threading.Event) -> bool:
    """Whether it answers; one that is away is waited for, since ending would change nothing."""
    is_told = False
    while True:
        try:
            revision_of(database)
            return True
        except DatabaseUnavailable:
            if not is_told:
                shown = database.url.render_as_string(hide_password=True)
                log.warning("The database %s does not answer; the worker waits for it.", shown)
                is_told = True
        if stop.wait(WAIT_SECONDS):
            return False


def _await_namesake(database: Database, name: str, stop: threading.Event) -> bool:
    """Whether the name is ours; one of that name on another host is given time to be gone.

    The lock in the data directory keeps two apart that share it; a copy of the directory does not.
    """
    deadline = time.monotonic() + LEASE_SECONDS + 2 * WAIT_SECONDS
    while (host := living_on(database, name)) not in (None, os.uname().nodename):
        if time.monotonic() > deadline:
            raise _name_in_use(name, f"on {host}")
        log.warning("A worker named %s is alive on %s; waits for it to be gone", name, host)
        if stop.wait(WAIT_SECONDS):
            return False
    return True


class _FileLog(logging.handlers.RotatingFileHandler):
    """The same lines beside standard error, in bounded room; a bad disk is told there alone."""

    def handleError(self, record: logging.LogRecord) -> None:
        del record


def _log_to_file(place: DataDir, name: str, settings: Settings) -> None:
    file = place.logs / f"{place.worker_lock(name).stem}.log"
    handler = _FileLog(
        file,
        maxBytes=settings.log_part_bytes,
        backupCount=settings.log_parts - 1,
        encoding="utf-8",
        delay=True,
    )
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.getLogger().addHandler(handler)


def _await_name(lock: Path, seconds: float, stop: threading.Event) -> None:
    deadline = time.monotonic() + seconds
    while holder_of(lock) is not None and time.monotonic() < deadline and not stop.wait(0.2):
        pass


def local_backend(settings: Settings) -> LocalBackend:
    """The devices of this machine as they are configured."""
    warn_of_misnamed_variable(os.environ)
    environment = dict(os.environ) | {
        "TUNESMITH_DATA_DIR": str(settings.data_dir),
        PART_BYTES_VARIABLE: str(settings.log_part_bytes),
        PARTS_VARIABLE: str(settings.log_parts),
    }
    return LocalBackend(
        environment=environment,
        command=shlex.split(settings.engine_command),
        devices=settings.devices if settings.devices is not None else _visible(environment),
        num_cpu_devices=settings.cpu_devices,
        warm=settings.warm_engine,
    )


def _visible(environment: dict[str, str]) -> list[int] | None:
    """What CUDA_VISIBLE_DEVICES leaves to this process, where it names GPUs by index."""
    named = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [int(index) for index in named] if all(i.strip().isdigit() for i in named) else None
