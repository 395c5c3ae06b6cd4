"""Scores of one model's answers, by name. Read `SCORERS` first."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.errors import InputError
from tunesmith.evaluation.files import BESIDE_BASE, PREFERENCES
from tunesmith.evaluation.intent import score_answers
from tunesmith.evaluation.predictions import OnProgress, Prediction
from tunesmith.evaluation.preferences import Preferences
from tunesmith.evaluation.rows import TestRow
from tunesmith.evaluation.sandbox import find_sandbox
from tunesmith.evaluation.scores.bleu import bleu_score
from tunesmith.evaluation.scores.choose import (
    ALWAYS,
    Choice,
    choose,
    choose_for_pairs,
    choose_unasked,
)
from tunesmith.evaluation.scores.classes import class_scores
from tunesmith.evaluation.scores.code import code_score, unit_tests
from tunesmith.evaluation.scores.custom import custom_scores
from tunesmith.evaluation.scores.judge import judged_score
from tunesmith.evaluation.scores.libraries import is_there
from tunesmith.evaluation.scores.likelihood import perplexity_score
from tunesmith.evaluation.scores.preferences import preference_scores
from tunesmith.evaluation.scores.rouge import rouge_scores
from tunesmith.evaluation.scores.score import Score, mean_score
from tunesmith.evaluation.scores.sql import sql_score
from tunesmith.evaluation.scores.structured import json_scores, schema_of
from tunesmith.evaluation.scores.texts import (
    contains_any,
    exact_match,
    normalised_match,
    token_f1,
)

ACCEPT = "accept"
Losses = Sequence[tuple[float, int] | None]


@dataclass(frozen=True)
class Options:
    """What scores need beside the answers."""

    sql_fixtures: Path | None = None
    allow_code: bool = False
    schema: Any = None
    scorer: Path | None = None
    only_answers: bool = False  # the model is an address, which tells nothing else


@dataclass(frozen=True)
class Answers:
    """The rows, the answers to them, and what else was measured."""

    rows: list[TestRow]
    predictions: dict[str, Prediction]
    options: Options
    on_progress: OnProgress
    losses: tuple[Losses, str] | None = None  # by row, and who measured
    judged: Sequence[float | None] | None = None
    preferences: Preferences | None = None

    @property
    def texts(self) -> list[str]:
        """Answers in the order of the rows; a refused request answered nothing."""
        return [self.predictions[row.id].prediction for row in self.rows]

    @property
    def references(self) -> list[str]:
        return [row.reference for row in self.rows]

    @property
    def extras(self) -> list[dict[str, Any]]:
        return [row.extra for row in self.rows]


Scorer = Callable[[Answers], Sequence[Score]]


def _by_pair(
    name: str, function: Callable[[str, str], float], *, is_verdict: bool = False
) -> Scorer:
    def scores(a: Answers) -> list[Score]:
        rows = [function(*pair) for pair in zip(a.texts, a.references, strict=True)]
        return [mean_score(name, rows, is_verdict=is_verdict)]

    return scores


def _contains(a: Answers) -> list[Score]:
    accepted = [accepted_of(row.extra) for row in a.rows]
    pairs = zip(a.texts, accepted, strict=True)
    rows = [contains_any(text, known) if known else None for text, known in pairs]
    return [mean_score("contains", rows, is_verdict=True)]


def accepted_of(extra: Mapping[str, Any]) -> list[str]:
    """The answers that a row accepts, each enough by itself."""
    value = extra.get(ACCEPT)
    return [str(each) for each in value] if isinstance(value, list) else []


def _nearest(a: Answers) -> list[Score]:
    judged = score_answers(a.texts, a.references)
    rows = [float(verdict.right) for verdict in judged.verdicts]
    return [mean_score("nearest_reference", rows, is_verdict=True)]


def _json(a: Answers) -> list[Score]:
    schemas = [schema_of(extra, a.options.schema) for extra in a.extras]
    return json_scores(a.texts, a.references, schemas)


def _sql(a: Answers) -> list[Score]:
    return [sql_score(a.texts, a.references, a.extras, a.options.sql_fixtures)]


def _code(a: Answers) -> list[Score]:
    if not a.options.allow_code:
        raise InputError(
            "Running what a model wrote is not allowed, so the score `code` is off.",
            hint="Add --allow-code: programs then run in a sandbox without network.",
            code="code_not_allowed",
        )

    def on_progress(done: int, total: int) -> None:
        a.on_progress("Running programs", done, total)

    return [code_score(a.texts, a.extras, find_sandbox(), on_progress=on_progress)]


def _perplexity(a: Answers) -> list[Score]:
    assert a.losses is not None, "measured before scores are made"
    return [perplexity_score(a.losses[0], by=a.losses[1])]


def _preferences(a: Answers) -> list[Score]:
    assert a.preferences is not None, "measured before scores are made"
    found = a.preferences
    return preference_scores(found.rows, measured=found.measured, base=found.base)


def _judge(a: Answers) -> list[Score]:
    assert a.judged is not None, "asked before scores are made"
    return [judged_score(a.judged)]


def _length(a: Answers) -> list[Score]:
    rows = [_unless_refused(a.predictions[row.id], len(text)) for row, text in _pairs(a)]
    wanted = sum(map(len, a.references)) / max(1, len(a.rows))
    return [
        mean_score("length", rows, better="neither", unit="characters", about={"reference": wanted})
    ]


def _latency(a: Answers) -> list[Score]:
    answered = [a.predictions[row.id] for row in a.rows]
    rows = [_unless_refused(each, each.seconds) for each in answered]
    return [mean_score("latency", rows, better="lower", unit="seconds")]


def _pairs(a: Answers) -> list[tuple[TestRow, str]]:
    return list(zip(a.rows, a.texts, strict=True))


def _unless_refused(prediction: Prediction, value: float) -> float | None:
    return None if prediction.error else float(value)


_ROUGE = tuple(f"rouge_{kind}{way}" for way in ("", "_words") for kind in ("1", "2", "l"))
SCORERS: Mapping[tuple[str, ...], Scorer] = {
    ("exact_match",): _by_pair("exact_match", exact_match, is_verdict=True),
    ("normalised_match",): _by_pair("normalised_match", normalised_match, is_verdict=True),
    ("token_f1",): _by_pair("token_f1", token_f1),
    ("contains",): _contains,
    ("nearest_reference",): _nearest,
    ("accuracy", "macro_f1"): lambda a: class_scores(a.texts, a.references),
    ("bleu",): lambda a: [bleu_score(a.texts, a.references)],
    _ROUGE: lambda a: rouge_scores(a.texts, a.references),
    ("json_valid", "json_schema", "json_equal"): _json,
    ("sql_equal",): _sql,
    ("code",): _code,
    ("perplexity",): _perplexity,
    PREFERENCES: _preferences,
    ("judge",): _judge,
    ("length",): _length,
    ("latency",): _latency,
}
"""What makes scores, by the names of the scores that it makes together."""

NAMES = tuple(name for names in SCORERS for name in names)
_LIBRARIES = {
    "bleu": "sacrebleu",
    **{f"rouge_{kind}": "rouge_score" for kind in ("1", "2", "l")},
}
WITHOUT_ANSWERS = frozenset({"perplexity", *PREFERENCES})
# What stands beside a score without being asked for, where it was measured.
_BESIDE = {
    **{f"rouge_{kind}_words": f"rouge_{kind}" for kind in ("1", "2", "l")},
    **dict.fromkeys(BESIDE_BASE, PREFERENCES[0]),
}


@dataclass(frozen=True)
class Selection:
    """The scores to make, the primary one first, and why."""

    names: tuple[str, ...]
    choice: Choice | None = None  # None where the user named the scores

    @property
    def primary(self) -> str:
        return self.names[0]


def select(
    rows: Sequence[TestRow], wanted: Sequence[str], options: Options, *, asks: bool | None = None
) -> Selection:
    """The scores that the user names, or those that suit the references.

    Args:
        asks: True answers the rows even where no score needs it, for length and latency; False
            asks for nothing, as the model is not served. By default the scores decide.
    """
    if wanted:
        for name in wanted:
            if name not in NAMES:
                raise unknown_score(name)
        always = ALWAYS * (asks is True or bool(set(wanted) - WITHOUT_ANSWERS))
        return Selection(tuple(dict.fromkeys([*wanted, *always])))
    asked = [row for row in rows if row.messages]
    if not options.only_answers and all(row.pair is not None for row in rows):
        choice = choose_for_pairs([row.reference for row in rows], asks=asks is True)
        return Selection(choice.names, choice)
    if asks is False:
        choice = choose_unasked([row.reference for row in rows])
        return Selection(choice.names, choice)
    if asked and all(accepted_of(row.extra) for row in asked):
        return Selection(("contains", *ALWAYS))
    has_tests = options.allow_code and any(unit_tests(row.extra) for row in asked)
    choice = choose(
        [row.reference for row in asked],
        has_fixtures=options.sql_fixtures is not None,
        has_tests=has_tests,
    )
    return _installed(choice)


def _installed(choice: Choice) -> Selection:
    """The scores whose libraries are there; by default none of them is worth an error."""
    missing = {name for name in choice.names if not is_there(_LIBRARIES.get(name, "json"))}
    if not missing:
        return Selection(choice.names, choice)
    kept = tuple(name for name in choice.names if name not in missing)
    if kept[0] in ALWAYS:
        kept = ("token_f1", *kept)
    return Selection(kept, replace(choice, names=kept, missing=tuple(sorted(missing))))


def unknown_score(name: str) -> InputError:
    near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.4)
    return InputError(
        f"There is no score {name!r}.",
        hint=(f"Did you mean {near[0]}? " if near else "") + f"There are {', '.join(NAMES)}.",
        code="unknown_score",
    )


def make_scores(selection: Selection, answers: Answers) -> list[Score]:
    """The selected scores in their order, then those of the user's own scorer."""
    found: dict[str, Score] = {}
    for names, scorer in SCORERS.items():
        if set(names) & set(selection.names):
            found.update({score.name: score for score in scorer(answers)})
    _refuse_unmeasured(selection, found)
    wanted = [found[name] for name in selection.names if name in found]
    beside = [score for name, score in found.items() if _BESIDE.get(name) in selection.names]
    wanted += [score for score in beside if score not in wanted]
    if answers.options.scorer is not None:
        wanted += custom_scores(answers.options.scorer, _for_scorer(answers))
    return wanted


def _refuse_unmeasured(selection: Selection, found: Mapping[str, Score]) -> None:
    """Rewards and KL of a model that is not known to come from another one."""
    for name in selection.names:
        if name in PREFERENCES and name not in found:
            raise InputError(
                f"The score `{name}` needs to know what the model was trained from.",
                hint="Name a run that trained a language model, or leave the score out.",
                code="base_unknown",
            )


def _for_scorer(a: Answers) -> list[tuple[str, dict[str, Any]]]:
    """What a scorer of the user gets to see of each row."""
    return [
        (
            row.id,
            {
                "id": row.id,
                "messages": row.messages,
                "prediction": text,
                "reference": row.reference,
                "columns": row.extra,
            },
        )
        for row, text in _pairs(a)
    ]
