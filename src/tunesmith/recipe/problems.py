"""What is wrong with a recipe (problems), and what its author should know (notices)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tunesmith.errors import RecipeError

SHOWN_PROBLEMS = 10  # more do not fit on one screen; all of them are in the details


@dataclass(frozen=True)
class Problem:
    """One reason to refuse a recipe: where, what, and what to change."""

    path: str
    message: str
    hint: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Notice:
    """One thing to know about a recipe that is accepted: a conversion, a risk, an advice."""

    code: str
    message: str
    hint: str = ""
    path: str = ""


def refuse(source: str, problems: Sequence[Problem]) -> RecipeError:
    """The error that lists all problems of a recipe, in the order of its lines."""
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)
    details = [asdict(problem) for problem in ordered]
    if len(ordered) == 1:
        only = ordered[0]
        where = f"{source}, line {only.line}" if only.line else source
        return RecipeError(
            f"{where}: {_sentence(only)}", hint=only.hint, problems=details, source=source
        )
    lines = [f"{source} has {len(ordered)} problems:"]
    for problem in ordered[:SHOWN_PROBLEMS]:
        place = f"line {problem.line}: " if problem.line else ""
        lines.append(f"  - {place}{_sentence(problem)}")
        if problem.hint:
            lines.append(f"      {problem.hint}")
    hidden = len(ordered) - SHOWN_PROBLEMS
    if hidden > 0:
        lines.append(f"  ... and {hidden} more.")
    return RecipeError(
        "\n".join(lines),
        hint="Nothing was started. Correct these and run the command again.",
        problems=details,
        source=source,
    )


def _sentence(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}" if problem.path else problem.message
