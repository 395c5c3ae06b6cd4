"""YAML in and out."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import RecipeError
from tunesmith.recipe.catalog import show
from tunesmith.recipe.document import dump_yaml, parse_yaml, read_text, write_float


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.e-4", "+1e-4", "0.0001", "10e-5", ".1e-3"])
def test_numbers_are_read_however_people_write_them(text: str) -> None:
    """D23."""
    assert parse_yaml(f"rate: {text}", "r").value == {"rate": 1e-4}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_written_number_reads_back_exactly_in_every_yaml_reader(number: float) -> None:
    text = write_float(number)
    assert float(text) == number
    for read in (yaml.safe_load, lambda text: parse_yaml(text, "r").value):
        value = read(f"x: {text}")["x"]
        assert isinstance(value, float)
        assert math.copysign(1, value) == math.copysign(1, number)
        assert value == number


def test_small_numbers_are_shown_in_e_notation() -> None:
    """D23."""
    assert [show(value) for value in (5e-5, 1e-4, 0.00075, 0.067, 3.0)] == [
        "5e-5",
        "1e-4",
        "7.5e-4",
        "0.067",
        "3",
    ]


def test_text_that_looks_like_a_number_stays_text() -> None:
    values = {"name": "1e-4", "date": "2024-01-01", "no": "no", "zh": "学习率", "empty": ""}
    assert parse_yaml(dump_yaml(values), "r").value == values


def test_every_value_knows_its_line() -> None:
    document = parse_yaml("a: 1\nb:\n  c: 2\n  d:\n    - x\n    - y\n", "r")
    assert document.lines[("b", "c")] == 3
    assert document.lines[("b", "d", 1)] == 6


def test_a_key_that_is_written_twice_is_a_problem_that_names_both_lines() -> None:
    (problem,) = parse_yaml("a: 1\nb: 2\na: 3\n", "r").problems
    assert (problem.path, problem.line) == ("a", 3)
    assert "line 1" in problem.message


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: 1\nb: [1, 2\n", 3), ("a: 1\n\tb: 2\n", 2), ("a: 'x\n", 2), ("a: b: c\n", 1)],
)
def test_broken_syntax_is_an_error_with_its_line(text: str, line: int) -> None:
    with pytest.raises(RecipeError, match="no valid YAML") as caught:
        parse_yaml(text, "r.yaml")
    assert caught.value.details["problems"][0]["line"] == line


@pytest.mark.parametrize(
    "text",
    ["a: \x00", "[" * 5000, "- " * 5000, "#" * 2_000_000, "!!python/object/apply:os.system [x]"],
)
def test_hostile_texts_are_errors_not_crashes(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_yaml(text, "r.yaml")


def test_anchors_that_multiply_themselves_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(RecipeError, match="more than"):
        parse_yaml("\n".join(lines), "r.yaml")


def test_an_anchor_is_filled_in_and_may_be_changed() -> None:
    text = "base: &b {rank: 8, alpha: 16}\nadapter: {<<: *b, alpha: 32}\n"
    assert parse_yaml(text, "r").value["adapter"] == {"rank": 8, "alpha": 32}


def test_files_that_cannot_be_read_say_why(tmp_path) -> None:
    with pytest.raises(RecipeError, match="no file"):
        read_text(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="directory"):
        read_text(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: Käse".encode("latin-1"))
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_text(tmp_path / "latin.yaml")
