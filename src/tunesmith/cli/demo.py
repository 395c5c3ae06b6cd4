"""`tunesmith demo`: a small model learns the answers of a shop before your eyes."""

from __future__ import annotations

import json as json_format
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any, TextIO

import typer

from tunesmith.cli import asking
from tunesmith.cli.display import choose_display
from tunesmith.cli.engine import require_torch
from tunesmith.cli.follow import Outcome, earlier_outcome, train_run
from tunesmith.cli.progress import duration
from tunesmith.cli.submit import create_run, read_submission, reopen_run
from tunesmith.cli.terminal import command_line, fold, say, say_json, short_path, table
from tunesmith.cli.train import as_document, report, warn_of_environment
from tunesmith.cli.verdict import FOLDER, told_verdict, verdict_lines
from tunesmith.cli.work import progress
from tunesmith.errors import InputError, RunDirError
from tunesmith.evaluation.compare import (
    Comparison,
    Exam,
    compare,
    comparison_document,
    finish,
    set_exam,
)
from tunesmith.evaluation.endpoint import Sampling
from tunesmith.evaluation.evaluate import Evaluation, Settings
from tunesmith.evaluation.intent import Score, score_answers
from tunesmith.evaluation.report.comparison import comparison_page
from tunesmith.evaluation.rows import read_test_set
from tunesmith.evaluation.served import Place, places_of
from tunesmith.recipe import load_recipe
from tunesmith.runs import RunDir, read_events, write_atomically

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_EXAMPLES = """Examples:

tunesmith demo

tunesmith demo --run runs/my-demo
"""
_SHOWN = 6
_MAX_TOKENS = 160


@dataclass(frozen=True)
class Question:
    """A held-out question with the answer that the shop would give."""

    text: str
    reference: str
    language: str


@app.command(epilog=_EXAMPLES)
def demo(
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Directory of the run.  [runs/demo-TIME]"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the demo that lies in --run.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="End with one JSON document on standard output.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show only warnings, errors and the result.")
    ] = False,
) -> None:
    """Watch a small model learn, without a network: answers before, training, after, verdict.

    The starter model (it ships with tunesmith) learns to answer customers of a small shop in
    English and Chinese. What it is asked before and after are wordings that it never trained on.
    """
    warn_of_environment()
    require_torch()
    out = sys.stderr if json else sys.stdout
    folder = examples()
    questions = read_questions(folder / "heldout.jsonl")
    if resume:
        directory = _reopen(run)
    else:
        directory = create_run(run, read_submission(folder / "recipe.yaml", ["name=demo"]))
    (directory.path / "demo").mkdir(exist_ok=True)  # says that this run is a demo
    _introduce(directory, questions, out)
    exam = _exam(directory)
    before = _ask_base(exam, directory, out, quiet=quiet)
    outcome = earlier_outcome(directory)
    if outcome is None:
        display = choose_display(out, quiet=quiet)
        outcome = train_run(directory, resume=resume, display=display)
    if outcome.status != "finished":
        report(directory, outcome, command="demo")
        raise typer.Exit(outcome.exit_code)
    compared = _compare(exam, directory, out, quiet=quiet)
    after = answers_of(compared.tuned)
    references = [question.reference for question in questions]
    scores = (score_answers(before, references), score_answers(after, references))
    document = _document(directory, outcome, questions, scores)
    document |= told_verdict(directory, comparison_document(compared))
    write_atomically(directory.path / "demo" / "report.json", json_format.dumps(document, indent=2))
    say(comparison(questions, before, after, scores, get_terminal_size().columns), to=out)
    say(_summary(directory, outcome, document), to=out)
    say(verdict_lines(directory, comparison_document(compared)), to=out)
    if json:
        say_json(document)


def _reopen(run: Path | None) -> RunDir:
    if run is None:
        raise InputError("--resume needs the run to go on with.", hint="Add --run DIR.")
    directory = reopen_run(run, None)
    if not (directory.path / "demo").is_dir():
        raise RunDirError(
            f"{directory.path} is no demo.",
            hint=f"Go on with it by {command_line('train', '--run', run, '--resume')}",
        )
    return directory


def examples() -> Path:
    """The folder of the customer-service example, in a checkout and in an installed package."""
    return Path(str(files("tunesmith.examples"))) / "customer-service"


def read_questions(path: Path) -> list[Question]:
    """The held-out rows: question, reference answer, language."""
    questions: list[Question] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json_format.loads(line)
        user, assistant = row["messages"][-2:]
        questions.append(Question(user["content"], assistant["content"], row["language"]))
    return questions


def comparison(
    questions: list[Question],
    before: list[str],
    after: list[str],
    scores: tuple[Score, Score],
    width: int = 100,
) -> str:
    """A few questions with the answers before and after, as many in English as in Chinese."""
    lines: list[str] = ["\nQuestions that it never trained on:"]
    for number in _pick(questions):
        right = [score.verdicts[number].right for score in scores]
        lines += ["", *_entry("question", questions[number].text, width)]
        lines += _entry(_mark("before", right[0]), before[number] or "(nothing)", width)
        lines += _entry(_mark("after", right[1]), after[number] or "(nothing)", width)
    return "\n".join(lines)


def _mark(name: str, right: bool) -> str:
    return f"{name}, right" if right else f"{name}, wrong"


def _entry(name: str, text: str, width: int) -> list[str]:
    first, *rest = fold(text, max(20, width - 20), lines=2)
    return [f"  {name:<15} {first}", *(f"  {'':<15} {line}" for line in rest)]


def validation_losses(run: RunDir) -> tuple[float | None, float | None]:
    """The validation loss of the first evaluation, before any training, and of the best one."""
    evaluations = [event for event in read_events(run)[0] if event["type"] == "evaluation"]
    losses = [event["loss"] for event in evaluations if event.get("loss") is not None]
    first = evaluations[0]["loss"] if evaluations and evaluations[0].get("step") == 0 else None
    return first, min(losses, default=None)


def _pick(questions: list[Question]) -> list[int]:
    """Rows from all over the file, the languages in turn."""
    chosen: list[int] = []
    languages = sorted({question.language for question in questions})
    share = _SHOWN // max(1, len(languages))
    for language in languages:
        rows = [n for n, question in enumerate(questions) if question.language == language]
        chosen += rows[:: max(1, len(rows) // share)][:share]
    return chosen


def _introduce(run: RunDir, questions: list[Question], out: TextIO) -> None:
    say(
        "A small language model is about to learn the answers of an online shop's customer\n"
        f"service. First it is asked {len(questions)} questions as it is, then it trains, then it "
        f"is asked again.\nEverything is kept in {short_path(run.path)}.\n",
        to=out,
    )


def _exam(run: RunDir) -> Exam:
    """What both models are asked: the held-out questions, and general ones."""
    test = read_test_set(str(examples() / "heldout.jsonl"))
    settings = Settings(sampling=Sampling(max_tokens=_MAX_TOKENS))
    return set_exam(test, run.path / FOLDER, settings, load_recipe(run.recipe_path).gate)


def _ask_base(exam: Exam, run: RunDir, out: TextIO, *, quiet: bool) -> list[str]:
    """The answers of the starter model; the comparison goes on from there after the training."""
    say(f"Asking {len(exam.test.rows)} questions before training ...", to=out)
    with progress(quiet=quiet, stopped=_stopped(run)) as on_progress, Place("starter") as place:
        evaluation, _ = exam.answer(place, "base", on_progress)
    return answers_of(evaluation)


def _compare(exam: Exam, run: RunDir, out: TextIO, *, quiet: bool) -> Comparison:
    """The trained model takes the same exam; report and documents are written."""
    say(f"Asking {len(exam.test.rows)} questions after training ...", to=out)
    places = places_of("starter", str(run.path))
    with progress(quiet=quiet, stopped=_stopped(run)) as on_progress:
        found = compare(*places, exam, on_progress=on_progress)
    finish(found, exam.folder, comparison_page(found, asking.language(None)))
    return found


def _stopped(run: RunDir) -> str:
    command = command_line("demo", "--run", short_path(run.path), "--resume")
    return f"Stopped; the answers until now are kept. Go on with\n  {command}"


def answers_of(evaluation: Evaluation) -> list[str]:
    """The answers in the order of the questions."""
    return [evaluation.predictions[row.id].prediction for row in evaluation.test.rows]


def _document(
    run: RunDir, outcome: Outcome, questions: list[Question], scores: tuple[Score, Score]
) -> dict[str, Any]:
    first, best = validation_losses(run)
    languages = sorted({question.language for question in questions})
    return {
        **as_document(run, outcome),
        "questions": scores[0].total,
        "right_before": scores[0].right,
        "right_after": scores[1].right,
        "accuracy_before": scores[0].accuracy,
        "accuracy_after": scores[1].accuracy,
        "accuracy_by_language": {
            language: [_accuracy_in(language, questions, score) for score in scores]
            for language in languages
        },
        "validation_loss_before": first,
        "validation_loss_after": best,
    }


def _accuracy_in(language: str, questions: list[Question], score: Score) -> float:
    rows = zip(questions, score.verdicts, strict=True)
    right = [verdict.right for question, verdict in rows if question.language == language]
    return sum(right) / len(right)


def _results(document: dict[str, Any]) -> str:
    """The table of numbers before and after."""
    counts = f"{document['right_before']} and {document['right_after']} of {document['questions']}"
    before, after = document["accuracy_before"], document["accuracy_after"]
    lines = [
        _row("", "before", "after"),
        _row("right answers", f"{before:.1%}", f"{after:.1%}", counts),
    ]
    for language, (before, after) in document["accuracy_by_language"].items():
        name = f"  {_LANGUAGES.get(language, language)}"
        lines.append(_row(name, f"{before:.1%}", f"{after:.1%}"))
    losses = [document[f"validation_loss_{when}"] for when in ("before", "after")]
    return "\n".join([*lines, _row("validation loss", *map(_loss, losses))])


def _row(name: str, before: str, after: str, remark: str = "") -> str:
    return f"  {name:<17}{before:>9}{after:>11}   {remark}".rstrip()


_LANGUAGES = {"en": "in English", "zh": "in Chinese"}


def _summary(run: RunDir, outcome: Outcome, document: dict[str, Any]) -> str:
    here = short_path(run.path)
    took = outcome.state.end.get("seconds")
    places = [
        ("everything", str(here)),
        *((kind, str(short_path(run.path / path))) for kind, path in outcome.state.artifacts),
        ("all answers", f"{here}/{FOLDER}/base and tuned, predictions.jsonl in each"),
        ("training data", str(short_path(examples() / "train.jsonl"))),
    ]
    return "\n".join(
        [
            f"\nTrained in {duration(float(took))}:" if took is not None else "\nTrained:",
            _results(document),
            "\nWhere it lies:",
            table(places),
            "\nWhat to type next:",
            f"  {command_line('chat', here, '--compare')}",
            f"  {command_line('plan', short_path(examples() / 'recipe.yaml'))}",
            f"  {command_line('train', 'YOUR-RECIPE.yaml', '--run', 'runs/mine')}",
        ]
    )


def _loss(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
