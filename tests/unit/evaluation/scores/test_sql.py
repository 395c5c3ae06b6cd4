"""Queries by their results, and what a hostile query cannot do."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tunesmith.evaluation.scores import sql
from tunesmith.evaluation.scores.sql import FixtureMissing, query_in, sql_score

SCRIPT = """
CREATE TABLE orders (id INTEGER, town TEXT, price REAL);
INSERT INTO orders VALUES (1, 'Ulm', 10.5), (2, 'Bonn', 3.0), (3, 'Ulm', 4.5), (4, NULL, 1.0);
"""
EXTRA: dict[str, Any] = {"fixture": SCRIPT}


def score_of(prediction: str, reference: str, extra: dict[str, Any] = EXTRA) -> float | None:
    return sql_score([prediction], [reference], [extra], None).rows[0]


@pytest.mark.parametrize(
    ("prediction", "reference", "value"),
    [
        ("select id from orders where town='Ulm'", "SELECT id FROM orders WHERE id IN (3, 1)", 1),
        ("```sql\nSELECT count(*) FROM orders;\n```", "SELECT 4", 1),
        ("SELECT town, id FROM orders", "SELECT id, town FROM orders", 0),
        ("SELECT id FROM orders ORDER BY id DESC", "SELECT id FROM orders", 1),
        ("SELECT id FROM orders ORDER BY id DESC", "SELECT id FROM orders ORDER BY id", 0),
        ("SELECT sum(price) FROM orders", "SELECT 19.0000000001", 1),
        ("SELECT id FROM orders UNION ALL SELECT 1", "SELECT id FROM orders", 0),
        ("SELECT nothing FROM orders", "SELECT 1", 0),
        ("I do not know", "SELECT 1", 0),
        ("", "SELECT 1", 0),
    ],
)
def test_queries_are_equal_when_their_results_are(
    prediction: str, reference: str, value: float
) -> None:
    assert score_of(prediction, reference) == value


@pytest.mark.parametrize(
    "hostile",
    [
        "DELETE FROM orders",
        "DROP TABLE orders",
        "INSERT INTO orders VALUES (9, 'x', 1)",
        "ATTACH DATABASE '{other}' AS other",
        "PRAGMA writable_schema = 1",
        "SELECT load_extension('{other}')",
        "SELECT 1; DROP TABLE orders",
        "VACUUM INTO '{other}'",
    ],
)
def test_a_query_can_read_its_database_and_nothing_else(tmp_path: Path, hostile: str) -> None:
    database, other = tmp_path / "shop.sqlite", tmp_path / "other.sqlite"
    with sqlite3.connect(database) as connection:
        connection.executescript(SCRIPT)
    connection.close()
    before = database.read_bytes()
    query = hostile.format(other=other)
    score = sql_score([query], ["SELECT 1"], [{"db_id": "shop"}], tmp_path)
    assert score.rows == [0.0]
    assert score.about["not_run"]
    assert database.read_bytes() == before
    assert not other.exists()


def test_an_endless_query_ends_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "SECONDS", 2)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    started = time.monotonic()
    score = sql_score([endless, "SELECT 1"], ["SELECT 1"] * 2, [EXTRA] * 2, None)
    assert score.rows == [0.0, 1.0]
    assert score.about["not_run"] == {"took too long": 1}
    assert time.monotonic() - started < 60


def test_a_huge_result_is_no_result() -> None:
    many = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT * FROM n LIMIT 20000"
    )
    assert score_of(many, "SELECT 1") == 0
    assert score_of("SELECT zeroblob(900000000)", "SELECT 1") == 0


def test_a_reference_that_does_not_run_scores_nobody() -> None:
    score = sql_score(["SELECT 1"] * 2, ["SELECT nothing", "SELECT 1"], [EXTRA] * 2, None)
    assert score.rows == [None, 1.0]


def test_rows_need_a_database(tmp_path: Path) -> None:
    with pytest.raises(FixtureMissing, match="No row names"):
        sql_score(["SELECT 1"], ["SELECT 1"], [{}], None)
    with pytest.raises(FixtureMissing, match="no database town"):
        sql_score(["SELECT 1"], ["SELECT 1"], [{"db_id": "town"}], tmp_path)
    with pytest.raises(FixtureMissing, match="cannot be the name"):
        sql_score(["SELECT 1"], ["SELECT 1"], [{"db_id": "../etc"}], tmp_path)
    with pytest.raises(FixtureMissing, match="does not run"):
        score_of("SELECT 1", "SELECT 1", {"fixture": "CREATE NONSENSE"})
    with pytest.raises(FixtureMissing, match="does not run"):
        score_of("SELECT 1", "SELECT 1", {"fixture": f"ATTACH '{tmp_path}/x' AS x"})


def test_the_query_of_an_answer_may_stand_in_a_fence() -> None:
    assert query_in("Here:\n```sql\nSELECT 1;\n```\nDone.") == "SELECT 1"
    assert query_in(" SELECT 1 ; ") == "SELECT 1"
