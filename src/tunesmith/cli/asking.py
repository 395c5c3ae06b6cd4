"""What `evaluate` and `compare` have in common: options, and what is made of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.language import language as language_of_terminal
from tunesmith.cli.terminal import say
from tunesmith.errors import InputError

if TYPE_CHECKING:
    from tunesmith.evaluation.endpoint import Endpoint
    from tunesmith.evaluation.evaluate import Settings
    from tunesmith.evaluation.rows import TestSet
    from tunesmith.evaluation.scoring import Selection

STOPPED = "Stopped; the answers until now are kept, and the same command goes on with them."


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Which rows are asked, and where the result goes."""

    data: Annotated[
        str | None,
        typer.Option(
            metavar="X",
            help="Needed: a file, a dataset (name, name@3), or a run for its test rows.",
        ),
    ] = None
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the result.")]
    split: Annotated[
        str, typer.Option(help="Rows to take where the data has splits; all for every row.")
    ] = "test"
    max_rows: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="At most this many rows.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Requests:
    """How a model is asked on this machine, or at an address."""

    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Longest answer.  [as long as the longest reference may be, 64 to 512]",
        ),
    ] = None
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=128, help="Requests at once.")
    ] = 8
    key_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="Variable that holds the key of --endpoint.")
    ] = None
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Pause when nobody answers for so long.")
    ] = 60.0


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What answers are scored by, beside `--scores`."""

    judge: Annotated[
        str | None, typer.Option(metavar="URL", help="OpenAI-compatible address of a judge model.")
    ] = None
    judge_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The judge's name there.")
    ] = None
    judge_key_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="Variable that holds the judge's key.")
    ] = None
    scorer: Annotated[
        Path | None,
        typer.Option(metavar="FILE.py", help="A score of your own: score(row) -> number."),
    ] = None
    schema: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="JSON schema of all answers.")
    ] = None
    sql_fixtures: Annotated[
        Path | None, typer.Option(metavar="PATH", help="SQLite databases that queries run on.")
    ] = None
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run what the model writes, in a sandbox.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the user sees."""

    lang: Annotated[str | None, typer.Option(metavar="en|zh", help="Language of the report.")] = (
        None
    )
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show only warnings, errors and the result.")
    ] = False


ScoresOption = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Scores, the primary one first; those that suit by default."),
]
RemoteOption = Annotated[
    bool, typer.Option("--remote", help="On the server of `tunesmith login`, rows included.")
]


def language(lang: str | None) -> str:
    """Of the report: as asked, or as TUNESMITH_LANG says."""
    if lang is not None and lang not in ("en", "zh"):
        raise InputError(f"There is no report in {lang!r}.", hint="--lang en or --lang zh.")
    return lang or language_of_terminal()


def names(scores: str | None) -> list[str]:
    """`a, b` as a list."""
    return [name.strip() for name in (scores or "").split(",") if name.strip()]


def endpoint(
    url: str | None, model: str | None, key_env: str | None, patience: float
) -> Endpoint | None:
    """The address that options name; None where they name none."""
    from tunesmith.evaluation.endpoint import Endpoint

    if url is None:
        return None
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url!r} is no address.", hint="It looks like http://host:8000/v1.")
    return Endpoint(url, model or "", _key(key_env), patience=patience)


def _key(variable: str | None) -> str:
    if variable is None:
        return ""
    value = os.environ.get(variable, "")
    if not value:
        raise InputError(
            f"The variable {variable} that shall hold the key is not set.",
            hint=f"export {variable}=... first. The key itself is no option, so nobody sees it.",
            code="key_missing",
        )
    return value


def settings(
    test: TestSet, requests: Requests, scoring: Scoring, *, only_answers: bool
) -> Settings:
    """How the model is asked and scored; an address gives answers and nothing else."""
    from tunesmith.evaluation.endpoint import Sampling
    from tunesmith.evaluation.evaluate import Settings
    from tunesmith.evaluation.scoring import Options

    if (scoring.judge is None) != (scoring.judge_model is None):
        raise InputError("A judge needs both --judge URL and --judge-model NAME.")
    for path in (scoring.scorer, scoring.sql_fixtures):
        if path is not None and not path.exists():
            raise InputError(f"There is no {path}.", code="file_missing")
    options = Options(
        scoring.sql_fixtures,
        scoring.allow_code,
        _schema(scoring.schema),
        scoring.scorer,
        only_answers,
    )
    judge = endpoint(scoring.judge, scoring.judge_model, scoring.judge_key_env, requests.patience)
    return Settings(
        sampling=Sampling(max_tokens=_longest_answer(test, requests.max_tokens)),
        parallel=requests.parallel,
        options=options,
        judge=judge,
    )


def _schema(path: Path | None) -> Any:
    import json

    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The schema {path} cannot be read: {error}.") from error


def test_set(rows: Rows) -> TestSet:
    """The rows to ask."""
    from tunesmith.evaluation.rows import read_test_set

    return read_test_set(named_rows(rows), split=rows.split, max_rows=rows.max_rows)


def named_rows(rows: Rows) -> str:
    """What --data says; InputError where it says nothing."""
    if rows.data is None:
        raise InputError(
            "There are no rows to ask.", hint="Name them with --data.", code="data_missing"
        )
    return rows.data


def _longest_answer(test: TestSet, max_tokens: int | None) -> int:
    """Tokens that an answer may have: more than any reference needs, as a token is a byte or more.

    A model that goes on beyond that is longer than every reference, whatever it says.
    """
    if max_tokens is not None:
        return max_tokens
    longest = max(len(row.reference.encode()) for row in test.rows)
    return min(512, max(64, longest))


def introduce(test: TestSet, selection: Selection) -> None:
    """What is asked, and what it is scored by."""
    left = sum(test.skipped.values())
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in test.skipped.items())
    aside = f", {left:,} left aside ({reasons})" if left else ""
    say(f"{len(test.rows):,} rows of {test.name} ({test.split}){aside}.", to=sys.stderr)
    if selection.choice is not None:
        say(f"{selection.choice.why()} Others: --scores.", to=sys.stderr)


def unscored(counts: Iterable[tuple[str, int, int]]) -> list[str]:
    """Which scores some rows lack, those with one reason together.

    Args:
        counts: The name of each score, how many rows have none, and how many rows there are.
    """
    from tunesmith.evaluation.report.texts import unscored_text

    names: dict[str, list[str]] = {}
    for name, missing, total in counts:
        if text := unscored_text(name, missing, total, "en"):
            names.setdefault(text, []).append(name)
    return [f"{', '.join(found)}: {text}." for text, found in names.items()]


def number(value: float, unit: str) -> str:
    """A score as people read it."""
    if value != value:
        return "no row has it"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "characters":
        return f"{value:,.0f} characters"
    if unit == "number" and 0 < abs(value) < 1:
        return f"{value:.3g}"
    suffix = " s" if unit == "seconds" else ""
    return f"{value:,.2f}{suffix}" if abs(value) < 100 else f"{value:,.0f}{suffix}"
