"""Rows of an evaluation: both answers side by side, the largest differences first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tunesmith.errors import InputError
from tunesmith.server.services.evaluation_rows import rows_of


def answers(folder: Path, values: dict[str, float | None]) -> None:
    """What one model said to each row, and its score, as an evaluation leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = [
        {"id": name, "row": "digest", "prediction": f"{folder.name} to {name}", "seconds": 0.5,
         "finish": "stop", "error": "", "reference": f"right {name}",
         "messages": [{"role": "user", "content": f"question {name}"}]}
        for name in values
    ]  # fmt: skip
    (folder / "predictions.jsonl").write_bytes(
        b"".join(orjson.dumps(line) + b"\n" for line in reversed(lines)) + b'{"torn'
    )
    by_row = [{"id": name, "contains": value} for name, value in values.items()]
    (folder / "scores.json").write_bytes(orjson.dumps({"by_row": by_row}))


@pytest.fixture
def compared(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    answers(tmp_path / "base", {"1": 0.0, "2": 1.0, "3": 1.0, "4": 0.5})
    answers(tmp_path / "tuned", {"1": 1.0, "2": 0.0, "3": 1.0, "4": 0.75})
    contest = {"wins": ["1", "4"], "losses": ["2"], "ties": 1}
    return tmp_path, {"primary": "contains", "tuned": "t", "scores": {"contains": contest}}


def test_both_answers_stand_side_by_side_and_the_largest_difference_is_first(
    compared: tuple[Path, dict[str, Any]],
) -> None:
    won = rows_of(*compared, outcome="won")
    assert [row.id for row in won.items] == ["1", "4"]
    first = won.items[0]
    assert first.base is not None
    assert (first.base.text, first.tuned.text) == ("base to 1", "tuned to 1")
    assert (first.reference, first.outcome) == ("right 1", "won")
    assert won.counts == {"won": 2, "lost": 1, "same": 1}


def test_rows_come_in_parts(compared: tuple[Path, dict[str, Any]]) -> None:
    parts = [rows_of(*compared, skip=skip, limit=3) for skip in (0, 3)]
    ids = [row.id for part in parts for row in part.items]
    assert sorted(ids) == ["1", "2", "3", "4"]
    assert parts[0].total == 4


def test_of_one_model_the_lowest_values_come_first(tmp_path: Path) -> None:
    answers(tmp_path, {"1": 0.9, "2": None, "3": 0.1})
    found = rows_of(tmp_path, {"primary": "contains", "scores": {"contains": {}}})
    assert [row.id for row in found.items] == ["3", "1", "2"]
    assert all(row.base is None and row.outcome is None for row in found.items)


def test_an_unknown_score_names_those_that_there_are(
    compared: tuple[Path, dict[str, Any]],
) -> None:
    with pytest.raises(InputError) as found:
        rows_of(*compared, score="bleu")
    assert found.value.code == "unknown_score"
    assert "contains" in str(found.value.hint)
