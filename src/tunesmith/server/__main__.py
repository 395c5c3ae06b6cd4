"""`python -m tunesmith.server COMMAND`: programs of the platform beside its API.

The command line starts these by name; the words after the command are those of `tunesmith COMMAND`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from tunesmith.errors import TunesmithError


def _worker(arguments: list[str]) -> int:
    from tunesmith.server.worker.main import main

    return main(arguments)


def _backup(arguments: list[str]) -> int:
    from tunesmith.server.keeping.main import backup

    return backup(arguments)


def _restore(arguments: list[str]) -> int:
    from tunesmith.server.keeping.main import restore

    return restore(arguments)


def _clean(arguments: list[str]) -> int:
    from tunesmith.server.keeping.main import clean

    return clean(arguments)


def _doctor(arguments: list[str]) -> int:
    from tunesmith.server.doctor import main

    return main(arguments)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "worker": _worker,
    "backup": _backup,
    "restore": _restore,
    "clean": _clean,
    "doctor": _doctor,
}


def run(arguments: list[str]) -> int:
    """One command; returns its exit code. Errors are one screen on standard error."""
    if not arguments or arguments[0] not in COMMANDS:
        sys.stderr.write(f"usage: python -m tunesmith.server {{{'|'.join(COMMANDS)}}} ...\n")
        return 2
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except TunesmithError as error:
        if os.environ.get("TUNESMITH_DEBUG"):
            traceback.print_exc()
        sys.stderr.write(f"Error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"{error.hint}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
