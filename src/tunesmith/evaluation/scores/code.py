"""Programs by their unit tests, in a sandbox.

A row holds its tests in a column `test` or `tests`: Python that raises where the program is wrong.
With `entry_point` beside it, `check(entry_point)` is called, as in HumanEval.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunesmith.errors import InputError
from tunesmith.evaluation.sandbox import Sandbox
from tunesmith.evaluation.scores.score import Score, mean_score

_FENCE = re.compile(r"```(?:python|py)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
TEST_COLUMNS = ("test", "tests", "test_list")


def unit_tests(extra: Mapping[str, Any]) -> str | None:
    """The tests of a row as one program; None where it has none."""
    for name in TEST_COLUMNS:
        value = extra.get(name)
        if isinstance(value, list) and value:
            return "\n".join(map(str, value))
        if isinstance(value, str) and value.strip():
            entry = extra.get("entry_point")
            calls = f"\ncheck({entry})" if entry and "def check(" in value else ""
            return value + calls
    return None


def code_in(text: str) -> str:
    """The program of an answer: its code fences one after the other, or the text itself."""
    return "\n\n".join(_FENCE.findall(text)) or text


def program(prediction: str, tests: str, mark: str) -> str:
    """What is run; the mark is said last, so that leaving early passes nothing."""
    return f"{code_in(prediction)}\n\n{tests}\n\nprint({mark!r})\n"


def code_score(
    predictions: Sequence[str],
    extras: Sequence[Mapping[str, Any]],
    sandbox: Sandbox,
    *,
    seconds: float = 10.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Share of programs that pass their tests."""
    tests = [unit_tests(extra) for extra in extras]
    if not any(tests):
        raise InputError(
            "No row has unit tests, so code cannot be scored.",
            hint=f"Add a column {' or '.join(TEST_COLUMNS[:2])} with Python that raises where the "
            "program is wrong.",
            code="tests_missing",
        )
    rows: list[float | None] = []
    for number, (prediction, test) in enumerate(zip(predictions, tests, strict=True), start=1):
        rows.append(None if test is None else _passes(prediction, test, sandbox, seconds))
        if on_progress is not None:
            on_progress(number, len(tests))
    return mean_score("code", rows, is_verdict=True, about={"sandbox": sandbox.name})


def _passes(prediction: str, tests: str, sandbox: Sandbox, seconds: float) -> float:
    mark = f"passed {secrets.token_hex(16)}"
    ran = sandbox.run(program(prediction, tests, mark), seconds)
    return float(ran.passed and ran.told.rstrip().endswith(mark))
