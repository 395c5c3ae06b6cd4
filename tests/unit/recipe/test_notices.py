"""Advice about a valid recipe."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.recipe import data_notices, parse, parse_recipe, recipe_notices

BASE: dict[str, Any] = {"model": "starter", "data": {"train": ["a.jsonl"]}}


def codes(**fields: Any) -> list[str]:
    return [notice.code for notice in parse({**BASE, **fields}).notices]


def test_a_plain_recipe_has_no_notices() -> None:
    assert codes() == []


def test_more_than_ten_epochs_are_warned_about() -> None:
    """D24, H5."""
    assert codes(epochs=10) == []
    assert codes(epochs=10.5) == ["many_epochs"]
    assert codes(epochs=50, profile="pangu-full") == ["many_epochs"]
    assert codes(epochs=50, max_steps=3) == []


def test_training_without_validation_is_warned_about() -> None:
    """C15."""
    assert codes(val_size=0) == ["validation_off"]
    assert codes(val_size=0, evaluate_every_steps=5) == ["validation_off", "value_not_used"]


def test_a_high_rate_on_few_rows_is_warned_about() -> None:
    """D23, H4."""
    recipe = parse_recipe(BASE)
    (notice,) = data_notices(recipe, rows=999)
    assert notice.code == "high_rate_small_data"
    assert "5e-5" in notice.hint
    assert data_notices(recipe, rows=1000) == []
    assert data_notices(parse_recipe({**BASE, "learning_rate": 5e-5}), rows=10) == []
    small = {"train": ["a.jsonl"], "allow_small": True}
    assert [n.code for n in parse({**BASE, "data": small}).notices] == ["high_rate_small_data"]
    # Vectors that are learned need rates far above those of weights.
    vectors = {**BASE, "data": small, "adapter": {"kind": "prompt"}}
    assert "high_rate_small_data" not in [n.code for n in parse(vectors).notices]


def test_a_length_below_every_row_is_warned_about() -> None:
    """D29."""
    recipe = parse_recipe({**BASE, "max_length": 64, "learning_rate": 1e-5})
    (notice,) = data_notices(recipe, rows=10**6, shortest_row_tokens=65)
    assert notice.code == "length_below_every_row"
    assert data_notices(recipe, rows=10**6, shortest_row_tokens=64) == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"trust_remote_code": True}, "remote_code"),
        ({"learning_rate": 0}, "zero_rate"),
        ({"merge": True, "adapter": "full"}, "value_not_used"),
        ({"batch_tokens": 4096, "batch_size": 8}, "value_not_used"),
        ({"general_ratio": 0.5}, "value_not_used"),
        ({"sampling_rate": 6}, "many_repeats"),
    ],
)
def test_risks_and_unused_values_are_said(fields: dict[str, Any], code: str) -> None:
    assert codes(**fields) == [code]


def test_notices_name_their_field_and_what_to_do() -> None:
    for notice in recipe_notices(parse_recipe({**BASE, "val_size": 0, "epochs": 20})):
        assert notice.path
        assert notice.hint
