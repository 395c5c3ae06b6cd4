"""The table of faults names tests that exist, the same ones in both languages."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("docs/faults.md", "docs/faults.zh.md")
ROW = re.compile(r"^\| (\d+) \| (.*) \| (.*) \| (.*) \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(name: str) -> dict[int, tuple[str, ...]]:
    """Number -> fault, what is done, what is seen, tests."""
    found = ROW.findall((ROOT / name).read_text(encoding="utf-8"))
    return {int(number): tuple(cells) for number, *cells in found}


@cache
def defined_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_row_has_a_test_and_every_named_test_exists(name: str) -> None:
    table = rows(name)
    assert list(table) == list(range(1, len(table) + 1))
    assert len(table) >= 35
    for number, cells in table.items():
        named = TEST.findall(cells[-1])
        assert named, f"row {number} names no test"
        for file, test in named:
            assert (ROOT / file).is_file(), f"row {number}: {file}"
            assert test in defined_in(file), f"row {number}: {file} has no {test}"


def test_both_languages_name_the_same_tests() -> None:
    english, chinese = (rows(name) for name in DOCUMENTS)
    assert {n: cells[-1] for n, cells in english.items()} == {
        n: cells[-1] for n, cells in chinese.items()
    }


def test_the_chinese_rows_are_chinese() -> None:
    for number, cells in rows(DOCUMENTS[1]).items():
        assert re.search("[\u4e00-\u9fff]", cells[0] + cells[1]), number
