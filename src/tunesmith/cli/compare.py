"""`tunesmith compare`: base and tuned model answer the same rows; promote, hold or reject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli import asking
from tunesmith.cli.spread import spread
from tunesmith.cli.terminal import fold, say, say_json, short_path, table
from tunesmith.cli.work import progress
from tunesmith.errors import InputError

if TYPE_CHECKING:
    from tunesmith.evaluation.compare import Comparison
    from tunesmith.evaluation.served import Place
    from tunesmith.recipe.gate import Gate

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_HELP = (
    "Let two models answer the same test rows, and say which one is better: promote, hold or "
    "reject.\n\n"
    "One score decides, named before anybody looks, by its 95% interval; general questions show "
    "what was forgotten. The same command goes on after Ctrl-C, a crash or a lost connection. Exit "
    "codes: 0 done, whatever the verdict, 75 paused, as nobody answers, 1 failed, 2 wrong "
    "input.\n"
)
_EXAMPLES = """Examples:

tunesmith compare starter runs/first --data runs/first --out verdicts/first

tunesmith compare BASE TUNED --data test.jsonl --gate min_gain=0.02 --out verdicts/strict

tunesmith compare old new --data test.jsonl --endpoint http://host/v1 --out verdicts/api

tunesmith compare starter ft:starter:default:shop:7q8wz2c7 --data test.jsonl --out v --remote
"""


@app.command(help=_HELP, epilog=_EXAMPLES)
@spread
def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The model before.")],
    tuned: Annotated[str, typer.Argument(metavar="TUNED", help="The model after.")],
    rows: asking.Rows,
    requests: asking.Requests,
    scoring: asking.Scoring,
    shown: asking.Shown,
    scores: asking.ScoresOption = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|KEY=VALUE", help="Rules: a recipe or YAML file, or one value."),
    ] = None,
    general: Annotated[
        str | None,
        typer.Option(metavar="X|none", help="General questions.  [builtin:probe]"),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask this OpenAI-compatible address for both models."),
    ] = None,
    base_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the base answers, if elsewhere.")
    ] = None,
    remote: asking.RemoteOption = False,
) -> None:
    from tunesmith.evaluation.compare import compare as run
    from tunesmith.evaluation.compare import comparison_document, finish, set_exam
    from tunesmith.evaluation.evaluate import REPORT
    from tunesmith.evaluation.report.comparison import comparison_page

    rules, names = gate_of(gate or [], general), asking.names(scores)
    if remote:
        from tunesmith.cli.remote import evaluating

        evaluating.refuse_local(requests, scoring, endpoint or base_endpoint)
        order = {"base": base, "scores": names, "gate": rules.model_dump(exclude_unset=True)}
        return evaluating.evaluate(tuned, rows, shown, **order)
    test = asking.test_set(rows)
    places = _places(base, tuned, base_endpoint or endpoint, endpoint, requests)
    told_by_address = any(place.endpoint is not None for place in places)
    settings = asking.settings(test, requests, scoring, only_answers=told_by_address)
    asks = told_by_address or all(place.weights().is_asked for place in places)
    exam = set_exam(test, rows.out, settings, rules, names, asks=asks)
    if not shown.quiet:
        asking.introduce(test, exam.selection)
    with progress(quiet=shown.quiet, stopped=asking.STOPPED) as on_progress:
        found = run(*places, exam, on_progress=on_progress)
    finish(found, rows.out, comparison_page(found, asking.language(shown.lang)))
    if shown.json:
        return say_json(comparison_document(found))
    return say(told(found, rows.out / REPORT))


def _places(
    base: str, tuned: str, of_base: str | None, of_tuned: str | None, requests: asking.Requests
) -> tuple[Place, Place]:
    """Where both answer: at addresses, or in processes of this machine."""
    from tunesmith.evaluation.served import Place, places_of

    if of_base is None and of_tuned is None:
        return places_of(base, tuned)
    key, patience = requests.key_env, requests.patience
    before = asking.endpoint(of_base, base, key, patience)
    return Place(base, before), Place(tuned, asking.endpoint(of_tuned, tuned, key, patience))


def gate_of(words: Sequence[str], general: str | None = None) -> Gate:
    """The rules that files and key=value words come to; later ones win."""
    from tunesmith.recipe import parse_recipe

    values: dict[str, Any] = {}
    overrides: list[str] = []
    for word in words:
        if "=" in word and not Path(word).is_file():
            key = word.strip()
            overrides.append(key if key.startswith("gate.") else f"gate.{key}")
        else:
            values |= _gate_in(Path(word))
    if general is not None:
        values["general"] = general
    frame = {"model": {"base": "any"}, "data": {"train": ["any"]}, "gate": values}
    return parse_recipe(frame, overrides).gate


def _gate_in(path: Path) -> dict[str, Any]:
    """The rules in a file: those of a recipe, which may have none, or the file itself."""
    from tunesmith.recipe.document import parse_yaml, read_text

    content = parse_yaml(read_text(path), str(path)).value
    found = None
    if isinstance(content, dict):
        is_recipe = {"model", "data"} & content.keys()
        found = content.get("gate", {} if is_recipe else content)
    if not isinstance(found, dict):
        raise InputError(
            f"{path} holds no rules of a gate.", hint="Write gate: {min_gain: 0.02}, say."
        )
    return found


def told(found: Comparison, page: Path, width: int = 96) -> str:
    """The verdict, the reasons, the scores, and where the report lies."""
    from tunesmith.evaluation.report.texts import number, reason_text, signed

    reasons = [reason_text(reason, "en") for reason in found.verdict.reasons]
    lines = [f"\nVerdict: {found.verdict.result}"]
    for text in reasons:
        first, *rest = fold(text, width - 4, lines=9)
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    lines += ["", f"  {'':<18}{'base':>12}{'tuned':>12}{'difference':>13}   interval"]
    for each in found.contests:
        unit, compared = each.base.unit, each.compared
        values = [number(compared.base.value, unit), number(compared.tuned.value, unit)]
        gained = compared.difference
        span = f"{signed(gained.low, unit)} to {signed(gained.high, unit)}"
        lines.append(
            f"  {each.name:<18}{values[0]:>12}{values[1]:>12}"
            f"{signed(gained.value, unit):>13}   {span}"
        )
    lines += [
        f"  {score.name:<18}{'-':>12}{number(score.value, score.unit):>12}" for score in found.alone
    ]
    total = len(found.test.rows)
    counts = [(each.name, total - each.num_rows, total) for each in found.contests]
    lines += [f"  {line}" for line in asking.unscored(counts)]
    lines += ["", table([("report", str(short_path(page)))])]
    return "\n".join(lines)
