"""The last part of a restore: into place, or nothing at all.

What is to be moved is written down first (`moving.json` in the folder that was unpacked). So a try
that fails takes back what it moved, and the next one what a killed try moved.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import orjson
from sqlalchemy import MetaData, inspect, text

from tunesmith.runs.files import fsync_directory, write_atomically
from tunesmith.server.database import METRICS, Database

LIST: Final = "moving.json"


def move_all(folder: Path, moves: Mapping[Path, Path]) -> None:
    """Each to its new place, where nothing is but perhaps an empty folder."""
    listed = folder / LIST
    names = {str(old.relative_to(folder)): str(new) for old, new in moves.items()}
    write_atomically(listed, orjson.dumps(names))
    for old, new in moves.items():
        if new.is_dir():
            new.rmdir()
        shutil.move(old, new)  # a rename, but for a database that lies on another disk
    for parent in {new.parent for new in moves.values()}:
        fsync_directory(parent)
    listed.unlink()  # from here on it is an installation


def take_back(folder: Path) -> None:
    """Remove what was moved out of a folder, if the moves were not all done."""
    try:
        listed = cast("dict[str, str]", orjson.loads((folder / LIST).read_bytes()))
    except FileNotFoundError:
        return
    for old, name in listed.items():
        new = Path(name)
        if new.is_file():  # a file that is still there was being copied to another disk
            new.unlink()
        elif not (folder / old).exists() and new.is_dir():
            shutil.rmtree(new)


def clear(database: Database) -> None:
    """Drop the tables that a restore made in a database of a server; it was empty before."""
    with database.engine.begin() as connection:
        found = MetaData()
        for schema in (None, METRICS):
            if schema is None or schema in inspect(connection).get_schema_names():
                found.reflect(connection, schema=schema)
        cast("Any", found).drop_all(connection)
        connection.execute(text(f"DROP SCHEMA IF EXISTS {METRICS}"))
