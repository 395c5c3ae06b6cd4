"""What is wrong with a recipe (problems), and what its author should know (notices)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

from tunesmith.errors import RecipeError
from tunesmith.recipe.notice_texts import TEXTS as NOTICE_TEXTS
from tunesmith.recipe.problem_texts import TEXTS
from tunesmith.recipe.words import filled

SHOWN_PROBLEMS = 10  # more do not fit on one screen; all of them are in the details
NOTHING_STARTED = "Nothing was started. Correct these and run the command again."


@dataclass(frozen=True)
class Problem:
    """One reason to refuse a recipe: where, what, and what to change.

    Message and hint are English; `in_language` tells them anew from the code and its values.
    """

    path: str
    message: str
    hint: str = ""
    line: int | None = None
    code: str = ""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)

    def in_language(self, language: str) -> Problem:
        """The same problem in a language; as it is where its code has no text there."""
        if self.code not in TEXTS:
            return self
        return _told(self.code, self.path, self.line, self.values, language)


@dataclass(frozen=True)
class Notice:
    """One thing to know about a recipe that is accepted: a conversion, a risk, an advice.

    Message and hint are English; `in_language` tells them anew from the code and its values.
    """

    code: str
    message: str
    hint: str = ""
    path: str = ""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)

    def in_language(self, language: str) -> Notice:
        """The same notice in a language; as it is where its code has no text there."""
        if self.code not in NOTICE_TEXTS or "field" not in self.values:
            return self
        texts = NOTICE_TEXTS[self.code].of(language)
        message, hint = (filled(text, self.values, language) for text in texts)
        return replace(self, message=message, hint=hint)


def notice(code: str, path: str = "", **values: Any) -> Notice:
    """A notice with the text of its code; `values` are what the text names, beside `field`."""
    return Notice(code, "", "", path, {"field": path, **values}).in_language("en")


def problem(code: str, path: str = "", line: int | None = None, **values: Any) -> Problem:
    """A problem with the text of its code; `values` are what the text names."""
    return _told(code, path, line, values, "en")


def _told(
    code: str, path: str, line: int | None, values: Mapping[str, Any], language: str
) -> Problem:
    message, hint = (filled(text, values, language) for text in TEXTS[code].of(language))
    return Problem(path, message, hint, line, code, values)


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Each problem once, in the order of the lines."""
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)


def refuse(source: str, problems: Sequence[Problem]) -> RecipeError:
    """The error that lists all problems of a recipe, in the order of its lines."""
    ordered = in_order(problems)
    details = [asdict(problem) for problem in ordered]
    message, hint = told(source, ordered, "en")
    if len(ordered) > 1:
        hint = NOTHING_STARTED
    return RecipeError(message, hint=hint, problems=details, source=source)


def read_problems(listed: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Problems as an error carries them; on the wire `field` is where."""
    return [
        Problem(
            str(each.get("path") or each.get("field") or ""),
            str(each.get("message", "")),
            str(each.get("hint", "")),
            each.get("line"),
            str(each.get("code", "")),
            cast("Mapping[str, Any]", each.get("values") or {}),
        )
        for each in listed
    ]


def told(source: str, problems: Sequence[Problem], language: str) -> tuple[str, str]:
    """Message and hint for all problems, already in the language, as one text."""
    words = _FRAMES[language]
    if language == "zh" and source.isascii():
        source += " "  # between a path and Chinese
    if len(problems) == 1:
        only = problems[0]
        at = words["at"].format(only.line) if only.line else ""
        return words["one"].format(source, at, _sentence(only, words)), only.hint
    lines = [words["several"].format(source, len(problems))]
    for each in problems[:SHOWN_PROBLEMS]:
        place = words["line"].format(each.line) if each.line else ""
        lines.append(f"  - {place}{_sentence(each, words)}")
        if each.hint:
            lines.append(f"      {each.hint}")
    hidden = len(problems) - SHOWN_PROBLEMS
    if hidden > 0:
        lines.append(words["more"].format(hidden))
    return "\n".join(lines), words["correct"]


_FRAMES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "one": "{}{}: {}",
        "at": ", line {}",
        "colon": ": ",
        "several": "{} has {} problems:",
        "line": "line {}: ",
        "more": "  ... and {} more.",
        "correct": "Correct the named fields.",
    },
    "zh": {
        "one": "{}{}有误：{}",
        "at": "第 {} 行",
        "colon": "：",
        "several": "{}有 {} 处问题：",
        "line": "第 {} 行：",
        "more": "  ……还有 {} 处。",
        "correct": "请修正列出的字段。",
    },
}


def _sentence(problem: Problem, words: Mapping[str, str]) -> str:
    return f"{problem.path}{words['colon']}{problem.message}" if problem.path else problem.message
