"""Quality and perplexity as columns of a new version, and what the report says about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.data.quality.conftest import Make, silent

from tunesmith.data import editing
from tunesmith.data.expression import Condition
from tunesmith.data.quality import score as scoring
from tunesmith.data.quality.heuristics import PENALTIES, names_of, quality_of, reasons_of_rows
from tunesmith.data.quality.report import report, threshold
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow, stored_rows

GOOD = [
    ("How do plants make food?", "Plants make food from light, water and air in their leaves."),
    ("感冒了怎么办？", "多喝水，多休息，一般一周左右就会好转。如果高烧不退，请及时就医。"),
    ("What is 12 + 30?", "42"),
    ("Which one is a fruit: apple or stone?", "Apple"),
    (
        "List three colours.",
        "1. Red, the colour of fire\n2. Blue, the colour of the sea\n3. Green, as leaves are",
    ),
    ("Write a loop in Python.", "```python\nfor number in range(10):\n    print(number)\n```"),
    ("今天星期几？", "星期三。"),
]
BAD = {
    "meaningless": ("What do you think?", "......!!!???......"),
    "mojibake": ("What do they sell?", "They sell caf\u00c3\u00a9 and th\u00c3\u00a9 in Paris."),
    "placeholder": ("Who are you?", "As an AI language model, I have no name of my own."),
    "answer_repeats_question": ("Tell me about the sea", "Tell me about the sea."),
    "few_letters": ("Draw something for me.", "--- *** === ### --- *** ok"),
    "capitals_only": ("Why is it late?", "THE PARCEL IS LATE BECAUSE OF THE SNOW IN THE NORTH."),
    "repeats_itself": (
        "How are you?",
        "I am very well today. I like to help you. " * 6,
    ),
    "stops_in_mid_sentence": (
        "How does a boat float?",
        "A boat floats because it pushes water away. The water that was pushed away weighs as mu",
    ),
    "shares_no_word_with_question": (
        "Which planets have rings around them?",
        "Boil the potatoes in salted water until they are soft, then mash them with butter.",
    ),
    "short_answer": ("Why is the sky blue in the morning?", "idk"),
}


def _rows(version: Version) -> list[StoredRow]:
    return list(stored_rows(version.batches()))


def _reasons(version: Version) -> list[list[str]]:
    return [names_of(int(bits)) for bits in reasons_of_rows(_rows(version))]


def test_good_rows_of_any_kind_have_hardly_a_reason_against_them(make: Make) -> None:
    for pair, reasons in zip(GOOD, _reasons(make(GOOD)), strict=True):
        assert set(reasons) <= {"short_answer"}, pair


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_row_is_told_by_its_reason(reason: str, make: Make) -> None:
    (reasons,) = _reasons(make([BAD[reason]]))
    assert reason in reasons


def test_quality_is_what_the_reasons_leave(make: Make) -> None:
    bits = reasons_of_rows(_rows(make([GOOD[0], BAD["placeholder"]])))
    assert quality_of(bits).tolist() == pytest.approx([1.0, 1 - PENALTIES["placeholder"]])


def test_a_call_of_a_tool_is_no_empty_answer(make: Make) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "What is the weather like?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "a", **call}]},
    ]
    assert "empty_answer" not in _reasons(make([{"messages": messages}]))[0]


def test_scores_become_columns_that_conditions_can_ask_for(catalog: Catalog, make: Make) -> None:
    version = make([*GOOD, *BAD.values()])
    scores = scoring.by_heuristics(version, processes=1, on_progress=silent)
    written = scoring.write(catalog, version, scores, on_progress=silent)
    assert written is not None
    assert [row.text for row in _rows(written)] == [row.text for row in _rows(version)]
    kept = editing.keep(catalog, written, Condition("quality >= 0.85"), on_progress=silent)
    assert kept is not None
    assert len(_rows(kept)) >= len(GOOD)
    where = Condition('"placeholder" in quality_reasons')
    assert [row.id for row in _rows(written) if where(editing.values_of(row))] == [10]
    assert scoring.write(catalog, written, scores, on_progress=silent) is None


def test_several_processes_give_the_same_scores(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make([*GOOD, *BAD.values()] * 20)
    one = scoring.by_heuristics(version, processes=1, on_progress=silent)
    monkeypatch.setattr("tunesmith.data.quality.score._SMALL", 0)
    two = scoring.by_heuristics(version, processes=2, on_progress=silent)
    assert one.values.tolist() == two.values.tolist()


def test_the_report_shows_worst_and_best_rows_and_commands_that_work(
    catalog: Catalog, make: Make
) -> None:
    version = make([*GOOD * 3, BAD["placeholder"], *GOOD * 3])
    scores = scoring.by_heuristics(version, processes=1, on_progress=silent)
    written = scoring.write(catalog, version, scores, on_progress=silent)
    assert written is not None
    facts = report(version, scores, written)
    assert facts["worst"][0]["id"] == 22
    assert facts["worst"][0]["reasons"] == ["placeholder"]
    assert sum(facts["distribution"]["counts"]) == facts["scored"] == len(scores.values)
    assert "err" in facts["warning"]
    words = facts["commands"]["remove"]
    condition = Condition(words[words.index("--where") + 1])
    kept = editing.keep(catalog, written, condition, on_progress=silent)
    assert kept is not None
    assert 22 not in [row.id for row in _rows(kept)]
    shown = facts["commands"]["review"]
    condition = Condition(shown[shown.index("--where") + 1])
    assert 22 in [row.id for row in _rows(written) if condition(editing.values_of(row))]


def _losses(path: Path, rows: list[int], losses: list[float]) -> Path:
    table: Any = pa.table({"row": rows, "loss": losses, "tokens": [1] * len(rows)})
    pq.write_table(table, path)
    return path


def test_perplexity_is_the_exponential_of_the_loss_and_null_where_nothing_was_measured(
    catalog: Catalog, make: Make, tmp_path: Path
) -> None:
    version = make(GOOD[:4])
    losses = _losses(tmp_path / "losses.parquet", [1, 2, 4], [0.0, 1.0, 900.0])
    facts = {"model": "starter", "truncated": 0, "dropped": {"template_refused": 1}}
    scores = scoring.by_losses(version, losses, facts)
    written = scoring.write(catalog, version, scores, on_progress=silent)
    assert written is not None
    values = [row.extra["perplexity"] for row in _rows(written)]
    assert values == [1.0, 2.718, None, 1e9]
    told = report(version, scores, written)
    assert told["worst"][0]["id"] == 4
    assert told["scored"] == 3
    where = told["commands"]["remove"][-1]
    kept = editing.keep(catalog, written, Condition(where), on_progress=silent)
    assert kept is not None
    assert [row.id for row in _rows(kept)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "low_is_bad"),
    [([1.0, 1.0, 0.4], True), ([0.1 * n for n in range(11)], True), ([3, 4, 900.0], False)],
)
def test_a_proposed_threshold_parts_the_rows(values: list[float], low_is_bad: bool) -> None:
    limit = threshold(np.array(values, np.float32), low_is_bad)
    assert limit is not None
    beyond = [value < limit if low_is_bad else value > limit for value in values]
    assert 0 < sum(beyond) < len(values)


def test_where_all_rows_are_alike_nothing_is_proposed() -> None:
    assert threshold(np.ones(5, np.float32), True) is None
