"""Pages of rows: none comes twice, none is skipped, whatever is searched, filtered or sorted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.datasets import code, imported, rows

from tunesmith.server.services.datasets import looking

ROWS = 120


def content() -> bytes:
    told = [
        {
            "prompt": f"Question {n} about {'Tea' if n % 3 else '绿茶'}?",
            "completion": "a" * (n * 7 % 50 + 1),
            "score": None if n % 10 == 0 else n % 7,
            "city": ["Ulm", "Bonn"][n % 2],
        }
        for n in range(1, ROWS + 1)
    ]
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in told)


def all_rows(server: Server, dataset: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        part = rows(server, dataset, after=after, limit=7, **query)
        found += part["data"]
        if not part["has_more"]:
            return found
        assert part["next_after"] > after
        after = part["next_after"]


def test_pages_together_are_the_rows(server: Server) -> None:
    dataset = imported(server, "tea", content())
    assert [row["id"] for row in all_rows(server, dataset)] == list(range(1, ROWS + 1))
    with_tea = [n for n in range(1, ROWS + 1) if n % 3]
    assert [row["id"] for row in all_rows(server, dataset, search="tEA")] == with_tea
    chinese = [n for n in range(1, ROWS + 1) if n % 3 == 0]
    assert [row["id"] for row in all_rows(server, dataset, search="绿茶")] == chinese
    assert all_rows(server, dataset, search="messages") == []  # names of keys are no text
    where = 'city == "Ulm" and score != None and score >= 5'
    wanted = [n for n in range(1, ROWS + 1) if n % 2 == 0 and n % 10 and n % 7 >= 5]
    assert [row["id"] for row in all_rows(server, dataset, where=where)] == wanted
    both = [n for n in wanted if n % 3]
    assert [row["id"] for row in all_rows(server, dataset, where=where, search="tea")] == both


def test_sorted_pages_are_the_rows_in_order(server: Server) -> None:
    dataset = imported(server, "tea", content())
    for column in ("answer_length", "score", "city", "id"):
        for descending in (False, True):
            order: dict[str, Any] = {"sort": column, "descending": descending}
            whole = rows(server, dataset, limit=500, **order)["data"]
            parts: list[dict[str, Any]] = []
            for offset in range(0, ROWS, 50):
                part = rows(server, dataset, limit=50, offset=offset, **order)
                parts += part["data"]
                assert part["has_more"] is (offset + 50 < ROWS)
            assert parts == whole
            assert sorted(row["id"] for row in whole) == list(range(1, ROWS + 1))
            if column == "answer_length":
                lengths = [len(row["record"]["messages"][1]["content"]) for row in whole]
                assert lengths == sorted(lengths, reverse=descending)
            if column == "score":  # what is missing is last, or first
                assert (whole[0]["extra"]["score"] is None) is descending


def test_odd_questions_are_refused(server: Server) -> None:
    dataset = imported(server, "tea", content())
    path = f"/api/v1/datasets/{dataset}/versions/1/rows"
    asked: list[tuple[dict[str, Any], str]] = [
        ({"where": "nothing > 1"}, "bad_condition"),
        ({"where": "1 +"}, "bad_condition"),
        ({"where": 'matches(question, "(a+)+$")'}, "pattern_not_allowed"),
        ({"sort": "nothing"}, "unknown_column"),
        ({"limit": 501}, "invalid_body"),
        ({"after": -1}, "invalid_body"),
    ]
    for query, expected in asked:
        answer = server.viewer.get(path, params=query)
        assert (answer.status_code in (400, 422), code(answer)) == (True, expected), query


def test_a_search_that_finds_nothing_for_a_while_says_how_far_it_came(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = imported(server, "tea", content())
    monkeypatch.setattr(looking, "_SECONDS", -1.0)  # no time at all
    part = rows(server, dataset, search="Question 100 ")
    assert part["data"] == []
    assert part["has_more"]
    monkeypatch.setattr(looking, "_SECONDS", 60.0)
    rest = rows(server, dataset, search="Question 100 ", after=part["next_after"])
    assert [row["id"] for row in rest["data"]] == [100]


def test_too_many_rows_are_not_sorted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = imported(server, "tea", content())
    monkeypatch.setattr(looking, "MOST_SORTED", 100)
    path = f"/api/v1/datasets/{dataset}/versions/1/rows"
    assert code(server.viewer.get(path, params={"sort": "id"})) == "too_many_to_sort"
