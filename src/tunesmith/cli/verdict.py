"""After a training with test rows: base and result are compared, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from shutil import get_terminal_size
from typing import Any

from tunesmith.cli.terminal import command_line, fold, say, short_path, warn
from tunesmith.recipe import load_recipe
from tunesmith.runs import RunDir

FOLDER = "verdict"


def has_test_rows(run: RunDir) -> bool:
    """Whether the run set rows apart, or was given some, to judge its result with."""
    return (run.data_dir / "test_rows.json").is_file()


def compare_run(run: RunDir, *, silent: bool) -> dict[str, Any] | None:
    """The verdict on a finished run; None where the comparison failed, which is told.

    A training that has ended well is not undone by a comparison that did not: the run stays
    finished, and the command to try again is named.
    """
    words = compare_words(run)
    if not silent:
        say("\nBase and result are compared on the test rows ...")
    command = [sys.executable, "-m", "tunesmith", *words, "--json"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except KeyboardInterrupt:
        done = subprocess.CompletedProcess(command, 130, "")
    if done.returncode != 0:
        warn(
            "The result was not compared with its base; the training itself is finished.",
            f"Try again with {command_line(*words)}",
        )
        return None
    return json.loads(done.stdout)


def compare_words(run: RunDir) -> list[str]:
    """The command that compares a run with its base, by the gate of its recipe."""
    recipe = load_recipe(run.resolved_path)
    here = str(short_path(run.path))
    gate = str(short_path(run.resolved_path))
    out = str(short_path(run.path / FOLDER))
    return ["compare", recipe.model.base, here, "--data", here, "--gate", gate, "--out", out]


def verdict_lines(run: RunDir, document: dict[str, Any]) -> str:
    """The verdict with the reason that decided, and where the report lies."""
    report = run.path / FOLDER / "report.html"
    width = max(40, get_terminal_size().columns - 2)
    first, *rest = fold(f"Verdict: {document['verdict']}. {document['because']}", width, lines=9)
    return "\n".join([f"\n{first}", *rest, f"  report  {short_path(report)}"])


def told_verdict(run: RunDir, document: dict[str, Any] | None) -> dict[str, Any]:
    """The verdict as the JSON documents of `train` have it."""
    if document is None:
        return {"verdict": None}
    report = str(run.path / FOLDER / "report.html")
    because, result = document["because"], document["verdict"]
    return {"verdict": {"result": result, "because": because, "report": report}}
