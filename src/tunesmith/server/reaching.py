"""Why a database cannot be used, told once, at the start of a program: what, which one, what to do.

What goes wrong later, while everything runs, is told in `database.py`: it mends itself.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import URL, exc

from tunesmith.errors import TunesmithError
from tunesmith.server.database import Database, explain
from tunesmith.server.errors import DatabaseRefused, DatabaseUnavailable

_HERE: Final = "TUNESMITH_DATABASE_URL, or --database"
_LONGEST: Final = 300

# What the driver says, which code that is, and the mend.
_REFUSED: Final = (
    (
        r"password authentication failed|no password supplied|authentication failed",
        "database_login_refused",
        f"Correct the user and the password in {_HERE}; `%40` stands for an @ in a password.",
    ),
    (
        r"role .* does not exist",
        "database_login_refused",
        f"Make that user (createuser NAME), or name another one in {_HERE}.",
    ),
    (
        r"database .* does not exist",
        "database_missing",
        f"Make it (createdb NAME), or name another one in {_HERE}.",
    ),
    (
        r"permission denied|no pg_hba\.conf entry",
        "database_login_refused",
        "Let this user in from this machine: GRANT, or pg_hba.conf of the server.",
    ),
    (
        r"not a database|file is encrypted",
        "database_damaged",
        "Name another file, or bring the database back: `tunesmith restore`.",
    ),
    (
        r"unable to open database file",
        "database_missing",
        "Check that the folder is there and that this user may write into it.",
    ),
)
_UNREACHABLE: Final = (
    r"resolve host|translate host|Name or service not known|nodename nor servname",
    f"Correct the name of the host in {_HERE}.",
)


@contextmanager
def reaching(database: Database) -> Generator[None]:
    """Around the first question to a database: errors name it, without its password."""
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError) as error:
        raise why_not(database.url, error) from error


def why_not(url: URL, error: Exception) -> TunesmithError:
    """What an error of the driver says about the database."""
    told = _reason(error)
    for pattern, code, hint in _REFUSED:
        if re.search(pattern, told):
            return DatabaseRefused(
                f"The database {masked(url)} cannot be used: {told}.",
                hint=f"{hint} Nothing was started.",
                code=code,
            )
    later = explain(error)
    if later is not None and url.get_backend_name() == "sqlite":
        return later  # locked, full, read-only
    pattern, mend = _UNREACHABLE
    hint = mend if re.search(pattern, told) else "Start it, or check host, port and network."
    return DatabaseUnavailable(
        f"The database {masked(url)} is not reachable: {told}.",
        hint=f"{hint} Nothing was started; `tunesmith doctor` looks again.",
        code="database_unreachable",
    )


def masked(url: URL) -> str:
    """An address without what is secret in it, and without the name of our driver."""
    plain = url.set(drivername=url.get_backend_name())
    if any("pass" in name.lower() for name in plain.query):
        shown = {name: "***" if "pass" in name.lower() else v for name, v in plain.query.items()}
        plain = plain.set(query=shown)
    return plain.render_as_string(hide_password=True)


def _reason(error: Exception) -> str:
    """The last words of the driver, which name the cause; those before repeat the address."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    first = lines[0] if lines else type(error).__name__
    cause = re.sub(r"^.*?(FATAL|failed|ERROR):\s+", "", first)
    cause = re.sub(r"^.*(FATAL|ERROR):\s+", "", cause)
    return cause.strip().rstrip(".")[:_LONGEST]
