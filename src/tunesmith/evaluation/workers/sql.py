"""The process that runs queries of models: SQLite, read-only, one JSON job a line.

    {"database": PATH, "queries": [SQL, ...], "seconds": 5}
    {"results": [{"columns": 2, "rows": [[...], ...]}, {"error": "no such table: x"}]}

The file is opened read-only, and an authoriser allows reading and nothing else: no ATTACH, no
PRAGMA, no extension. Time, length and rows of a result are limited.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
import urllib.parse

MOST_ROWS = 10_000
MOST_BYTES = 1_000_000  # of one value
_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_FORBIDDEN_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit"}


def main() -> None:
    """Answer job after job until there is none."""
    for line in sys.stdin:
        job = json.loads(line)
        answers = [run(job["database"], query, job["seconds"]) for query in job["queries"]]
        sys.stdout.write(json.dumps({"results": answers}) + "\n")
        sys.stdout.flush()


def run(database: str, query: str, seconds: float) -> dict[str, object]:
    """The rows of one query, or why there are none."""
    address = f"file:{urllib.parse.quote(database)}?mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(address, uri=True)
    except sqlite3.Error as error:
        return {"error": f"the database cannot be opened: {error}"}
    try:
        _fence(connection, seconds)
        cursor = connection.execute(query)
        rows = cursor.fetchmany(MOST_ROWS + 1)
        if len(rows) > MOST_ROWS:
            return {"error": f"more than {MOST_ROWS} rows"}
        return {
            "columns": len(cursor.description or ()),
            "rows": [list(map(_plain, r)) for r in rows],
        }
    except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as error:
        return {"error": str(error) or type(error).__name__}
    finally:
        connection.close()


def _fence(connection: sqlite3.Connection, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(_authorise)
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 1000)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")


def _authorise(action: int, _first: object, second: object, *_: object) -> int:
    if action not in _ALLOWED:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and str(second).lower() in _FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _plain(value: object) -> object:
    """A value as JSON has it; floats are rounded, so that the order of a sum does not matter."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, float):
        return (
            float(f"{value:.9g}") if value == value and abs(value) != float("inf") else str(value)
        )
    return value


if __name__ == "__main__":
    main()
