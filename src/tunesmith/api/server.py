"""The server of one installation, from its start to its end. Read `main` first.

data directory -> database (migrated) -> first admin -> HTTP -> chores, worker as a child process

What nobody waits for comes after the first answer can be given.
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from typing import Any

import uvicorn

from tunesmith.api.app import create_app
from tunesmith.api.embedded import embedded_worker
from tunesmith.errors import InputError, TunesmithError
from tunesmith.runs.listening import listening
from tunesmith.server.chores import doing_chores
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir, prepare, serving
from tunesmith.server.installation import refuse_strangers
from tunesmith.server.keeping.upgrading import migrate_with_backup
from tunesmith.server.platform import Platform, build_platform
from tunesmith.server.settings import Settings

log = logging.getLogger("tunesmith.api")


def run(arguments: Sequence[str]) -> int:
    """`main`, whose errors are told in words; returns the exit code."""
    try:
        return main(arguments)
    except TunesmithError as error:
        sys.stderr.write(f"Error: {error.message}\n" + (f"{error.hint}\n" if error.hint else ""))
        return error.exit_code


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal; returns the exit code."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("tunesmith.api").setLevel(logging.DEBUG if options.verbose else logging.INFO)
    for chatty in ("alembic", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    settings = _settings(options)
    signal.signal(signal.SIGTERM, _leave)
    with _data_directory(settings), closing(_listening(settings)) as address:
        _migrate(settings)
        with closing(build_platform(settings)) as platform:
            _tell_first_token(platform, settings)
            refuse_strangers(platform.database, platform.place)
            _refuse_open_door(platform, settings)
            if options.no_worker:  # one beside it tells them once its devices are known
                for each in platform.jobs.flavours.oversights():
                    log.warning("%s %s", each.message, each.hint)
            with ExitStack() as beside:

                def begin() -> None:
                    beside.enter_context(doing_chores(platform))
                    beside.enter_context(embedded_worker(wanted=not options.no_worker))

                return _serve(platform, address, begin)


def _leave(number: int, _: object) -> None:
    """End in order: uvicorn raises its signal again, and the default would leave the worker."""
    _ = number
    sys.exit(0)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tunesmith serve")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--data-dir")
    parser.add_argument("--database")
    parser.add_argument("--no-worker", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace) -> Settings:
    """The command line wins over variables, here and in the processes that this one starts."""
    named = {
        "TUNESMITH_HOST": options.host,
        "TUNESMITH_PORT": options.port,
        "TUNESMITH_DATA_DIR": options.data_dir,
        "TUNESMITH_DATABASE_URL": options.database,
    }
    os.environ.update({name: str(value) for name, value in named.items() if value is not None})
    return Settings.load()


@contextmanager
def _data_directory(settings: Settings) -> Generator[None]:
    """The directory laid out, and ours alone where its database is SQLite."""
    place = prepare(settings.data_dir)
    alone = serving(place) if settings.database.startswith("sqlite") else nullcontext()
    with alone:
        yield


def _migrate(settings: Settings) -> None:
    database = Database(settings.database, timeout=settings.database_timeout)
    with closing(database):
        backups = DataDir(settings.data_dir).backups
        made = migrate_with_backup(database, backups, backup=settings.backup_before_upgrade)
    if made is not None:
        _say(f"The database was upgraded; what it held before is in {made}.")


def _tell_first_token(platform: Platform, settings: Settings) -> None:
    given = settings.admin_token.get_secret_value() if settings.admin_token else None
    token = platform.people.first_start(given)
    if token is not None:
        _say(
            "",
            "The first start: this token is the administrator's. It is shown once.",
            f"  {token}",
            "Sign in with it, or send it as Authorization: Bearer TOKEN.",
            "",
        )


def _refuse_open_door(platform: Platform, settings: Settings) -> None:
    """Beyond this machine only once somebody has set a password or chosen the token."""
    if _is_local(settings.host) or settings.admin_token or not platform.people.needs_setup():
        return
    raise InputError(
        f"Nobody has a password yet, so this server does not listen on {settings.host}.",
        hint="Start it on 127.0.0.1 and set the admin's password, or set TUNESMITH_ADMIN_TOKEN.",
        code="no_user_set_up",
        host=settings.host,
    )


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(settings: Settings) -> socket.socket:
    """The address, taken before anything else is done."""
    return listening(
        settings.host,
        settings.port,
        hint="`tunesmith doctor` says who has the port; --port 0 takes a free one.",
    )


def _serve(platform: Platform, address: socket.socket, begin: Callable[[], None]) -> int:
    server = _Server(
        uvicorn.Config(
            create_app(platform),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=30,
        ),
        begin,
    )
    server.run(sockets=[address])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """Says where it listens, once it does, and then begins what goes on beside."""

    def __init__(self, config: uvicorn.Config, begin: Callable[[], None]) -> None:
        super().__init__(config)
        self._begin = begin

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            _say(f"tunesmith listens on http://{shown}:{port}  (Ctrl-C ends it)")
            self._begin()


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
