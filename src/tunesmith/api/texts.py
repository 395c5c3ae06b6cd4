"""The language of an answer: English as it was raised, or Chinese from `texts_zh.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from string import Formatter
from typing import Any, cast

from tunesmith.api.engine_zh import ENGINE
from tunesmith.api.mends import hint_of
from tunesmith.api.texts_zh import TEXTS
from tunesmith.api.wrapped_zh import WRAPPED
from tunesmith.errors import TunesmithError
from tunesmith.recipe.problems import Problem, read_problems, told
from tunesmith.recipe.words import filled


def preferred(accept_language: str | None) -> str:
    """`zh` or `en`: what a browser or program asks for with Accept-Language."""
    best, weight = "en", 0.0
    for part in (accept_language or "").split(","):
        tag, _, rest = part.strip().lower().partition(";")
        language = tag.partition("-")[0]
        quality = _quality(rest)
        if language in ("zh", "en") and quality > weight:
            best, weight = language, quality
    return best


def translated(error: TunesmithError, language: str) -> tuple[str, str]:
    """Message and hint; in English where the Chinese text needs what the error does not carry."""
    known = {**error.details, "message": error.message, "hint": error.hint}
    if language == "zh":
        return _chinese(error.code, known) or (error.message, hint_of(error))
    return error.message, hint_of(error)


def translated_problem(problem: Problem, language: str) -> Problem:
    """A problem of a recipe; one that was an error of its own has the text of that error."""
    if language == "zh" and (problem.code in TEXTS or problem.code in WRAPPED):
        known = {**problem.values, "message": problem.message, "hint": problem.hint}
        if found := _chinese(problem.code, known):
            return replace(problem, message=found[0], hint=found[1])
    return problem.in_language(language)


def problems_on_wire(problems: Sequence[Problem], language: str) -> list[dict[str, Any]]:
    """Problems of a recipe as an answer has them: `field` is where, `code` is for programs."""
    spoken = (translated_problem(each, language) for each in problems)
    return [
        {
            "field": each.path,
            "code": each.code,
            "message": each.message,
            "hint": each.hint,
            "line": each.line,
        }
        for each in spoken
    ]


def _chinese(code: str, known: Mapping[str, Any]) -> tuple[str, str] | None:
    """The text of a code with what is known; None where there is none, or it needs more."""
    if code in RECIPE_CODES and (problems := recipe_problems(known)):
        return _of_recipe(problems, str(known.get("kept", "")))
    for message, hint in _candidates(code, known.get("form")):
        if _fields(message + hint) <= known.keys():
            return filled(message, known, "zh"), filled(hint, known, "zh")
    return None


def _candidates(code: str, form: Any) -> Iterator[tuple[str, str]]:
    """Texts of a code, the closest first: of its form, its own, one that wraps the English."""
    for name in (f"{code}.{form}", code):
        for texts in (TEXTS, ENGINE):
            if name in texts:
                yield texts[name]
    if code in WRAPPED:
        message, hint, _ = WRAPPED[code]
        yield message, hint


RECIPE_CODES = ("invalid_recipe", "unknown_name")
_KEPT = {
    "Nothing was submitted.": "未提交任何内容。",
    "Nothing was changed.": "未做任何更改。",
}


def recipe_problems(details: Mapping[str, Any]) -> list[Problem]:
    """The problems of a recipe that an error lists; none where they are of another kind."""
    listed = details.get("problems")
    if not isinstance(listed, list):
        return []
    rows = [row for row in cast("list[Any]", listed) if isinstance(row, Mapping)]
    return read_problems(cast("list[Mapping[str, Any]]", rows))


def _of_recipe(problems: Sequence[Problem], kept: str) -> tuple[str, str]:
    """Every problem of a recipe in one text."""
    message, hint = told("配方", [translated_problem(each, "zh") for each in problems], "zh")
    return message, f"{hint}{_KEPT.get(kept, '')}"


def stored(error: dict[str, Any] | None, language: str) -> dict[str, Any] | None:
    """The error of a job or a task, kept in English, in the language of who reads it now.

    The `reason` of a job names its text: its `code` is that of the OpenAI API.
    """
    if error is None:
        return None
    spoken = dict(error)
    if problems := recipe_problems(error):
        spoken["problems"] = problems_on_wire(problems, language)
    if language == "zh":
        for code in (error.get("reason"), error.get("code")):
            if found := _chinese(str(code), {"hint": "", **error}):
                spoken["message"], spoken["hint"] = found
                break
    return spoken


def _quality(text: str) -> float:
    name, _, value = text.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}
