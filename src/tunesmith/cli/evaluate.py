"""`tunesmith evaluate`: a model answers test rows, and its answers are scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli import asking
from tunesmith.cli.harness import Harness, refuse_beside, run_harness
from tunesmith.cli.spread import spread
from tunesmith.cli.terminal import command_line, say, say_json, short_path, table
from tunesmith.cli.work import progress
from tunesmith.errors import InputError

if TYPE_CHECKING:
    from tunesmith.evaluation.evaluate import Evaluation
    from tunesmith.evaluation.served import Place

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_HELP = (
    "Let a model answer the rows of a test set, and score the answers.\n\n"
    "The scores are those that suit the reference answers, or those that you name. What is "
    "answered is kept line by line: the same command goes on after Ctrl-C, a crash or a lost "
    "connection. Exit codes: 0 done, 75 paused since nobody answers, 1 failed, 2 wrong input.\n"
)
_EXAMPLES = """Examples:

tunesmith evaluate runs/first --data runs/first --out scores/first

tunesmith evaluate starter --data test.jsonl --scores accuracy,macro_f1 --out scores/starter

tunesmith evaluate any --data test.jsonl --out scores/api --endpoint http://host/v1 --api-model NAME

tunesmith evaluate runs/first --lm-eval gsm8k,hellaswag --max-rows 100 --out scores/harness
"""


@app.command(help=_HELP, epilog=_EXAMPLES)
@spread
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run, a model folder, starter or a hub id.")
    ],
    rows: asking.Rows,
    requests: asking.Requests,
    scoring: asking.Scoring,
    shown: asking.Shown,
    harness: Harness,
    scores: asking.ScoresOption = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask this OpenAI-compatible address (.../v1) instead."),
    ] = None,
    api_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="What the model is called there.  [MODEL]")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Also keep the answers as a version of this dataset."),
    ] = None,
    remote: asking.RemoteOption = False,
) -> None:
    from tunesmith.evaluation.served import Place

    if endpoint is None and api_model is not None:
        raise InputError("--api-model belongs to --endpoint.", hint="Add --endpoint URL.")
    if remote:
        from tunesmith.cli.remote import evaluating

        evaluating.refuse_local(requests, scoring, endpoint, keep, harness.lm_eval)
        order = {"compares": False, "scores": asking.names(scores)}
        return evaluating.evaluate(model, rows, shown, **order)
    address = asking.endpoint(endpoint, api_model or model, requests.key_env, requests.patience)
    if harness.lm_eval is not None:
        refuse_beside(rows, scoring, scores, keep)
        return run_harness(Place(model, address), harness, rows, requests.parallel, shown)
    return _score(Place(model, address), rows, requests, scoring, shown, asking.names(scores), keep)


def _score(
    place: Place,
    rows: asking.Rows,
    requests: asking.Requests,
    scoring: asking.Scoring,
    shown: asking.Shown,
    scores: list[str],
    keep: str | None,
) -> None:
    from tunesmith.evaluation.evaluate import REPORT, evaluate, finish
    from tunesmith.evaluation.keep import check_name, keep_predictions
    from tunesmith.evaluation.report.single import evaluation_page
    from tunesmith.evaluation.scoring import select

    if keep is not None:
        check_name(keep)
    test = asking.test_set(rows)
    is_address = place.endpoint is not None
    settings = asking.settings(test, requests, scoring, only_answers=is_address)
    asks = None if is_address or place.weights().is_asked else False
    selection = select(test.rows, scores, settings.options, asks=asks)
    if not shown.quiet:
        asking.introduce(test, selection)
    with progress(quiet=shown.quiet, stopped=asking.STOPPED) as on_progress, place:
        found = evaluate(place, test, selection, rows.out, settings, on_progress=on_progress)
    document = finish(found, rows.out, evaluation_page(found, asking.language(shown.lang)))
    if keep is not None:
        document["kept"] = keep_predictions(found, keep).label
    if shown.json:
        say_json({key: value for key, value in document.items() if key != "by_row"})
    else:
        say(_told(found, rows.out / REPORT, document))


def _told(found: Evaluation, page: Path, document: dict[str, Any]) -> str:
    rows = [(score.name, asking.number(score.value, score.unit)) for score in found.scores]
    done = "answered by" if found.is_answered else "measured with"
    lines = [f"\n{len(found.test.rows):,} rows {done} {found.model}:", table(rows)]
    if found.refused:
        lines.append(f"\n{found.refused} requests were refused; they count as wrong.")
    counts = [(score.name, score.num_unscored, len(score.rows)) for score in found.scores]
    lines += [f"\n{line}" for line in asking.unscored(counts)]
    if document.get("cut_off"):
        lines.append(
            f"\n{document['cut_off']} answers reached --max-tokens and were cut off there."
        )
    places = [("report", str(short_path(page)))]
    if "kept" in document:
        places.append(("dataset", document["kept"]))
    lines += ["\nWhere it lies:", table(places)]
    beside = ["compare", "BASE", found.model, "--data", found.test.name, "--out", "DIR"]
    beside += ["--endpoint", found.address] if found.address else []
    lines += ["\nBeside another model:", f"  {command_line(*beside)}"]
    return "\n".join(lines)
