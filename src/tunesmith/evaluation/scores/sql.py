"""Queries by what they return: the model's and the reference's run on the same SQLite database.

A row names its database (`database`, `db_id` or `db` in its columns) below the folder of fixtures:
NAME.sqlite, NAME.db, NAME.sql, or NAME/NAME.sqlite. A row may hold the script that makes it
(`fixture` or `create_table`), and one fixture may serve all rows.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tunesmith.errors import InputError
from tunesmith.evaluation.scores.score import Score, mean_score
from tunesmith.evaluation.workers import sql as program
from tunesmith.evaluation.workers.process import Limits, Worker, WorkerFailed

SECONDS = 5.0
_NAMES = ("database", "db_id", "db")
_SCRIPTS = ("fixture", "create_table", "ddl")
_FENCE = re.compile(r"```(?:sql|sqlite)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_ORDERED = re.compile(r"\border\s+by\b(?![^()]*\))", re.IGNORECASE)


class FixtureMissing(InputError):
    """A query has no database to run on."""

    code = "fixture_missing"


def is_query(text: str) -> bool:
    """Whether a text begins as a query does."""
    return re.match(r"\s*(select|with)\b", text, re.IGNORECASE) is not None


def query_in(text: str) -> str:
    """The query of an answer: in a code fence, or the text itself."""
    found = _FENCE.search(text)
    return (found[1] if found else text).strip().rstrip(";").strip()


class Fixtures:
    """Finds or makes the database of a row."""

    def __init__(self, place: Path | None, folder: Path) -> None:
        self._place = place
        self._folder = folder

    def of(self, extra: Mapping[str, Any]) -> Path | None:
        """The SQLite file of a row; None where it has none."""
        script = next((extra[name] for name in _SCRIPTS if isinstance(extra.get(name), str)), None)
        if script is not None:
            return self._made(script)
        if self._place is None:
            return None
        if self._place.is_file():
            return self._opened(self._place)
        name = next((str(extra[name]) for name in _NAMES if extra.get(name)), None)
        return None if name is None else self._named(name, self._place)

    def _named(self, name: str, place: Path) -> Path:
        if not re.fullmatch(r"[\w .-]+", name) or name.startswith("."):
            raise FixtureMissing(f"{name!r} cannot be the name of a database.")
        tried = [f"{name}.sqlite", f"{name}.db", f"{name}.sql", f"{name}/{name}.sqlite"]
        found = next((place / each for each in tried if (place / each).is_file()), None)
        if found is None:
            raise FixtureMissing(
                f"There is no database {name} in {place}.", hint=f"Looked for {', '.join(tried)}."
            )
        return self._opened(found)

    def _opened(self, path: Path) -> Path:
        return self._made(path.read_text(encoding="utf-8")) if path.suffix == ".sql" else path

    def _made(self, script: str) -> Path:
        """The database that a script makes, once."""
        path = self._folder / f"{sha256(script.encode()).hexdigest()[:24]}.sqlite"
        if path.exists():
            return path
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        connection = sqlite3.connect(draft)
        try:
            connection.set_authorizer(_no_other_files)
            connection.executescript(script)
        except sqlite3.Error as error:
            raise FixtureMissing(
                f"The script of a database does not run: {error}.",
                hint=f"It begins with {script[:80]!r}.",
            ) from error
        finally:
            connection.close()
        draft.rename(path)
        return path


def _no_other_files(action: int, *_: object) -> int:
    forbidden = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_PRAGMA)
    return sqlite3.SQLITE_DENY if action in forbidden else sqlite3.SQLITE_OK


def sql_score(
    predictions: Sequence[str],
    references: Sequence[str],
    extras: Sequence[Mapping[str, Any]],
    place: Path | None,
) -> Score:
    """Share of queries with the reference's result; rows without a database have no value."""
    limits = Limits(seconds=4 * SECONDS)
    failed: dict[str, int] = {}
    with (
        tempfile.TemporaryDirectory(prefix="tunesmith-sql-") as folder,
        Worker(Path(str(program.__file__)), limits=limits) as worker,
    ):
        fixtures = Fixtures(place, Path(folder))
        rows: list[float | None] = []
        for prediction, reference, extra in zip(predictions, references, extras, strict=True):
            database = fixtures.of(extra)
            if database is None:
                rows.append(None)
                continue
            value, why = same_result(worker, database, query_in(prediction), query_in(reference))
            rows.append(value)
            if why:
                failed[why] = failed.get(why, 0) + 1
    if all(value is None for value in rows):
        raise FixtureMissing(
            "No row names the database that its query runs on.",
            hint="Add --sql-fixtures FOLDER and a column database, or a column fixture with SQL.",
        )
    return mean_score("sql_equal", rows, is_verdict=True, about={"not_run": failed})


def same_result(
    worker: Worker, database: Path, given: str, wanted: str
) -> tuple[float | None, str]:
    """1 or 0, and why the model's query did not run; None where the reference's does not."""
    job = {"database": str(database.resolve()), "seconds": SECONDS}
    try:
        reference = worker.ask({**job, "queries": [wanted]})["results"][0]
    except WorkerFailed as failure:
        reference = {"error": failure.reason}
    if "error" in reference:
        return None, f"reference: {reference['error']}"
    try:
        answer = worker.ask({**job, "queries": [given]})["results"][0]
    except WorkerFailed as failure:
        return 0.0, failure.reason
    if "error" in answer:
        return 0.0, _sort_of(answer["error"])
    return float(same_rows(answer, reference, ordered=bool(_ORDERED.search(wanted)))), ""


def _sort_of(error: str) -> str:
    """An error without the names in it, so that errors of one sort count together."""
    return "took too long" if error == "interrupted" else error.split(":")[0]


def same_rows(given: Mapping[str, Any], wanted: Mapping[str, Any], *, ordered: bool) -> bool:
    """Whether two results are equal; the order counts where the reference asks for one."""
    if given["columns"] != wanted["columns"]:
        return False
    sides = [[repr([_number(v) for v in row]) for row in side["rows"]] for side in (given, wanted)]
    return sides[0] == sides[1] if ordered else sorted(sides[0]) == sorted(sides[1])


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and abs(value) < 2**53 else value
