"""Shares, roles and held-out rows in a recipe: names, defaults and contradictions."""

from __future__ import annotations

import pytest

from tunesmith.errors import RecipeError
from tunesmith.recipe import Recipe, loads, parse_recipe

MODEL = "model: starter\n"
TWO = MODEL + "data: {train: [{dataset: a, %s}, {dataset: b, %s}]}\n"


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        loads(text, overrides, source="r.yaml")
    return [problem["message"] for problem in caught.value.details["problems"]]


def recipe(train: str = "[a]", *overrides: str) -> Recipe:
    return loads(f"{MODEL}data: {{train: {train}}}\n", overrides).recipe


def test_shares_sum_to_100() -> None:
    """C8: mixing ratios must add up to 100 %."""
    assert problems(TWO % ("share: 30", "share: 60")) == [
        "The shares of the datasets sum to 90 %, not 100 % (30 + 60)."
    ]
    mixed = loads(TWO % ("share: 33.3", "share: 66.7")).recipe
    assert [source.share for source in mixed.data.train] == [33.3, 66.7]


def test_thirds_written_in_decimals_sum_to_100() -> None:
    """C8"""
    thirds = {"a": 33.3, "b": 33.3, "c": 33.4}
    datasets = ", ".join(f"{{dataset: {n}, share: {s}}}" for n, s in thirds.items())
    assert recipe(f"[{datasets}]").data.train[2].share == 33.4


def test_all_datasets_have_a_share_or_none() -> None:
    """C8"""
    (message,) = problems(TWO % ("share: 50", "format: auto"))
    assert message == "1 of 2 datasets have a share; missing: data.train.1.share."


def test_a_share_and_a_sampling_rate_exclude_each_other() -> None:
    """C8, C9: and all contradictions are told at once."""
    found = problems(TWO % ("share: 50, sampling_rate: 2", "share: 49"))
    assert len(found) == 2
    assert "sum to 99 %" in found[0]
    assert "data.train.0.share (50) and data.train.0.sampling_rate (2)" in found[1]


@pytest.mark.parametrize("share", ["0", "-1", "100.5", "x"])
def test_a_share_is_a_percentage(share: str) -> None:
    """C8"""
    assert len(problems(f"{MODEL}data: {{train: [{{dataset: a, share: {share}}}]}}")) == 1


def test_general_to_user_is_one_to_five_by_default() -> None:
    """C10"""
    mixed = recipe("[a, {dataset: 'builtin:general', role: general}]")
    assert mixed.data.general_ratio == 0.2
    assert [source.role for source in mixed.data.train] == ["user", "general"]


def test_a_general_corpus_needs_user_rows_and_no_rate() -> None:
    """C10"""
    only = "data: {train: [{dataset: g, role: general, sampling_rate: 3}]}"
    first, second = problems(MODEL + only)
    assert "Every dataset has role: general" in first
    assert "sampling_rate is 3, but its role is general" in second


def test_there_is_no_test_set_unless_one_is_asked_for() -> None:
    """C13"""
    assert recipe().data.test.kind == "none"
    assert recipe("[a]", "data.test=split").data.test.model_dump() == {
        "kind": "split",
        "fraction": 0.1,
        "max_rows": 1000,
        "stratify_by": None,
        "group_by": None,
    }
    assert recipe("[a]", "data.test.fraction=0.2").data.test.kind == "split"
    named = recipe("[a]", "data.test.dataset=t.jsonl").data.test
    assert (named.kind, named.max_rows) == ("dataset", 1000)  # type: ignore[union-attr]


def test_max_eval_samples_limits_validation_and_test_rows() -> None:
    """C13"""
    data = recipe("[a]", "data.test=split", "max_eval_samples=50").data
    assert data.validation.max_rows == data.test.max_rows == 50  # type: ignore[union-attr]
    own = recipe("[a]", "data.test.max_eval_samples=7", "data.test.kind=split").data
    assert (own.validation.max_rows, own.test.max_rows) == (100, 7)  # type: ignore[union-attr]


def test_a_limit_of_held_out_rows_without_any_is_told() -> None:
    """C13"""
    text = f"{MODEL}data: {{train: [a], validation: none}}\nmax_eval_samples: 5\n"
    codes = {notice.path: notice.code for notice in loads(text).notices}
    assert "value_not_used" in codes.values()


def test_a_column_for_all_splits_is_written_once() -> None:
    data = recipe("[a]", "data.test=split", "group_by=customer").data
    assert data.validation.group_by == data.test.group_by == "customer"  # type: ignore[union-attr]


def test_test_rows_are_neither_trained_nor_validated_on() -> None:
    """C13"""
    text = (
        f"{MODEL}data: {{train: [a], validation: {{kind: dataset, dataset: v}}, "
        "test: {kind: dataset, dataset: v}}\n"
    )
    assert problems(text) == [
        "data.test.dataset and data.validation.dataset are both v: nothing would be left to test "
        "on."
    ]
    assert "data.train.0.dataset" in problems(text, "data.test.dataset=a")[0]


def test_splits_leave_something_to_train_on() -> None:
    """C11, C13"""
    (message,) = problems(
        f"{MODEL}data: {{train: [a]}}", "data.test.fraction=0.5", "data.validation.fraction=0.5"
    )
    assert "leave nothing to train on" in message


def test_one_column_cannot_be_kept_whole_and_divided() -> None:
    base = {"model": "starter", "data": {"train": ["a"]}}
    with pytest.raises(RecipeError, match="cannot stay whole and be divided"):
        parse_recipe(base, ["data.validation.group_by=x", "data.validation.stratify_by=x"])
