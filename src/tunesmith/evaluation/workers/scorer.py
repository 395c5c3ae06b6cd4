"""The process that runs a scorer of the user: `score(row)` of a Python file, one JSON row a line.

    {"prediction": ..., "reference": ..., "messages": [...], ...}
    {"value": 0.5}   {"values": {"polite": 1, "short": 0}}   {"value": null}   {"error": "..."}

What the file prints goes to standard error, so that it cannot mix with the answers.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any


def main() -> None:
    """Load the file, then answer row after row."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    rows = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    score, problem = _load(sys.argv[1])
    for line in rows:
        answer = {"error": problem} if score is None else _answer(score, json.loads(line))
        channel.write(json.dumps(answer) + "\n")
        channel.flush()


def _load(path: str) -> tuple[Callable[[Any], Any] | None, str]:
    try:
        spec = importlib.util.spec_from_file_location("scorer", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        score = getattr(module, "score", None)
    except BaseException:
        return None, traceback.format_exc(limit=-2)
    if not callable(score):
        return None, "the file has no function `score(row)`"
    return score, ""


def _answer(score: Callable[[Any], Any], row: Any) -> dict[str, Any]:
    try:
        value = score(row)
    except BaseException:
        return {"error": traceback.format_exc(limit=-2)}
    if value is None:
        return {"value": None}
    if isinstance(value, dict):
        numbers = {str(name): _number(each) for name, each in value.items()}
        wrong = [name for name, number in numbers.items() if number is None]
        return {"error": f"{wrong[0]} is no number"} if wrong else {"values": numbers}
    number = _number(value)
    if number is None:
        return {"error": f"score(row) returned {value!r:.100}; a finite number is needed"}
    return {"value": number}


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


if __name__ == "__main__":
    main()
