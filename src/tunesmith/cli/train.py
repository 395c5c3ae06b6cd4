"""`tunesmith train`: a recipe becomes a run, the engine trains it, the terminal shows it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.display import choose_display
from tunesmith.cli.follow import Outcome, earlier_outcome, train_run
from tunesmith.cli.progress import Notice as ScreenNotice
from tunesmith.cli.progress import Progress, duration
from tunesmith.cli.terminal import command_line, complain, say, say_json, short_path, table, warn
from tunesmith.cli.verdict import compare_run, has_test_rows, told_verdict, verdict_lines
from tunesmith.errors import InputError
from tunesmith.recipe import Notice
from tunesmith.runs import RunDir, checkpoints
from tunesmith.runs.launch import Standby, launch_engine

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_HELP = (
    "Train a model as a recipe says, or go on with a paused run.\n\n"
    "The run lives in a directory of its own: recipe, events, logs, checkpoints, result. Ctrl-C "
    "pauses it with a checkpoint; --resume goes on to the same result. Exit codes: 0 finished, 75 "
    "paused, 1 failed, 2 wrong input.\n"
)

_EXAMPLES = """Examples:

tunesmith train recipe.yaml --run runs/first

tunesmith train recipe.yaml training.epochs=2 model.base=Qwen/Qwen3-0.6B --run runs/second

tunesmith train --run runs/first --resume

tunesmith train recipe.yaml --remote
"""


@app.command(help=_HELP, epilog=_EXAMPLES)
def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE.yaml", help="The recipe; not needed with --resume."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Values that win over the recipe."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Directory of the run.  [runs/NAME-TIME]"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that lies in --run.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="End with one JSON document on standard output.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show only warnings, errors and the result.")
    ] = False,
    no_compare: Annotated[
        bool,
        typer.Option("--no-compare", help="Give no verdict on the test rows when it is finished."),
    ] = False,
    remote: Annotated[
        bool, typer.Option("--remote", help="On the server of `tunesmith login`, data included.")
    ] = False,
) -> None:
    recipe, overrides = _sort_out(recipe, overrides or [])
    if remote:
        raise typer.Exit(_remote(recipe, overrides, run, resume=resume, quiet=quiet, json=json))
    warn_of_environment()
    directory, notices = _prepare(recipe, overrides, run, resume=resume)
    stream = sys.stderr if json else sys.stdout
    if not json and not quiet:
        say(f"Run {short_path(directory.path)}")
    launch = context.obj.launch if isinstance(context.obj, Standby) else launch_engine
    outcome = earlier_outcome(directory)
    if outcome is None:
        display = choose_display(stream, quiet=quiet)
        for notice in notices:
            display.note(ScreenNotice("note", notice.message, notice.hint))
        outcome = train_run(directory, resume=resume, display=display, launch=launch)
    report(directory, outcome, silent=json)
    verdict = None
    if outcome.status == "finished" and not no_compare and has_test_rows(directory):
        verdict = compare_run(directory, silent=json or quiet)
        if verdict is not None and not json:
            say(verdict_lines(directory, verdict))
    if json:
        say_json(as_document(directory, outcome) | told_verdict(directory, verdict))
    raise typer.Exit(outcome.exit_code)


def warn_of_environment() -> None:
    """Point at the variable that looks as if it chose a GPU and does not."""
    if "CUDA_VISIBLE_DEVICE" in os.environ and "CUDA_VISIBLE_DEVICES" not in os.environ:
        value = os.environ["CUDA_VISIBLE_DEVICE"]
        warn(
            f"CUDA_VISIBLE_DEVICE={value} has no effect: the name lacks an S at its end.",
            f"Set CUDA_VISIBLE_DEVICES={value} instead.",
        )


def report(run: RunDir, outcome: Outcome, *, silent: bool = False, command: str = "train") -> None:
    """How it ended, where everything lies, and what to type next."""
    if outcome.status in ("failed", "died"):
        complain(outcome.message, "\n".join(filter(None, [outcome.hint, _go_on(run, command)])))
    elif not silent:
        say(
            _finished(run, outcome)
            if outcome.status == "finished"
            else _paused(run, outcome, command)
        )


def as_document(run: RunDir, outcome: Outcome) -> dict[str, Any]:
    """The result for scripts."""
    state, end = outcome.state, outcome.state.end
    error = {"code": end.get("code", "engine_died"), "message": outcome.message}
    return {
        "run": str(run.path),
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "reason": end.get("reason"),
        "step": end.get("step", state.step),
        "total_steps": state.total_steps,
        "loss": state.loss,
        "validation_loss": state.validation[1] if state.validation else None,
        "best_step": end.get("best_step", state.best[0] if state.best else None),
        "best_loss": end.get("best_loss", state.best[1] if state.best else None),
        "result_step": end.get("result_step"),
        "result_loss": end.get("result_loss"),
        "seconds": end.get("seconds"),
        "artifacts": [{"kind": kind, "path": path} for kind, path in state.artifacts],
        "warnings": [{"code": code, "message": message} for code, message in state.warnings],
        "error": {**error, "hint": outcome.hint} if outcome.message else None,
    }


def _sort_out(recipe: str | None, overrides: list[str]) -> tuple[str | None, list[str]]:
    """With --resume the recipe may be missing: then the first word can be an override."""
    if recipe is not None and "=" in recipe and not Path(recipe).exists():
        recipe, overrides = None, [recipe, *overrides]
    wrong = [word for word in overrides if "=" not in word]
    if wrong:
        raise InputError(
            f"{wrong[0]!r} is no override: one looks like training.epochs=2.",
            hint="Write the recipe first, then key=value pairs, then options.",
        )
    return recipe, overrides


def _remote(
    recipe: str | None,
    overrides: list[str],
    run: Path | None,
    *,
    resume: bool,
    quiet: bool,
    json: bool,
) -> int:
    """Submit to a server and watch; the exit code."""
    if run is not None or resume:
        raise InputError(
            "A job of a server has no run directory here, so --run and --resume mean nothing.",
            hint="`tunesmith jobs resume JOB` goes on with a paused job.",
        )
    if recipe is None:
        raise InputError(
            "There is no recipe to train.", hint="Example: tunesmith train recipe.yaml --remote"
        )
    from tunesmith.cli.remote.submitting import train_remotely

    return train_remotely(Path(recipe), overrides, quiet=quiet, json=json)


def _prepare(
    recipe: str | None, overrides: list[str], run: Path | None, *, resume: bool
) -> tuple[RunDir, tuple[Notice, ...]]:
    from tunesmith.cli.submit import create_run, read_submission, reopen_run

    if resume and run is None:
        raise InputError("--resume needs the run to go on with.", hint="Add --run DIR.")
    if resume and recipe is None and overrides:
        raise InputError(
            f"A run ends with the recipe it began with; {overrides[0]} cannot be changed now.",
            hint="Leave it out, or start a new run from the recipe.",
        )
    if not resume and recipe is None:
        raise InputError(
            "There is no recipe to train.",
            hint="Example: tunesmith train recipe.yaml --run runs/first",
        )
    if not resume and run is not None:
        _refuse_existing(run)
    submission = read_submission(Path(recipe), overrides) if recipe is not None else None
    notices = submission.notices if submission else ()
    if resume:
        assert run is not None, "checked above"
        return reopen_run(run, submission), notices
    assert submission is not None, "checked above"
    return create_run(run, submission), notices


def _refuse_existing(directory: Path) -> None:
    """Say at once that a run is there already, before a mistake in the recipe hides it."""
    RunDir(directory.expanduser().absolute()).refuse_existing()


def _go_on(run: RunDir, command: str) -> str:
    here = ("--run", short_path(run.path), "--resume")
    if checkpoints(run):
        return f"Go on from the last checkpoint with\n  {command_line(command, *here)}"
    from tunesmith.cli.submit import submitted_as

    # The run holds a copy of its recipe; what is mended in the recipe itself has to be read again.
    asked = submitted_as(run) if command == "train" else []
    again = command_line(command, *asked, *here)
    return f"Nothing was saved yet: when that is mended, start it again with\n  {again}"


def _finished(run: RunDir, outcome: Outcome) -> str:
    state, end = outcome.state, outcome.state.end
    took = f" in {duration(float(end['seconds']))}" if end.get("seconds") is not None else ""
    reason = _REASONS.get(str(end.get("reason")), "")
    if end.get("reason") == "target_loss":
        reason = f"; the {'validation' if state.validation else 'training'} loss reached its target"
    here = short_path(run.path)
    rows = [("run", str(here)), *((kind, _below(run, path)) for kind, path in state.artifacts)]
    if (run.path / "loss.png").exists():
        rows.append(("curves", _below(run, "loss.png")))
    lines = [
        f"\nFinished{took}: {_losses(state)}{reason}.",
        table(rows),
        *_what_next(state, here),
    ]
    return "\n".join(lines)


def _what_next(state: Progress, here: Path) -> list[str]:
    """What people do with a result; a reward model scores answers and writes none."""
    if state.stage == "rm":
        return [
            "\nIt scores answers: name it in a recipe with stage.kind: grpo, under stage.rewards:",
            f"  - {{kind: model, model: {here}}}",
            "\nSee how often it is right on pairs that it has not seen:",
            f"  {command_line('evaluate', here, '--data', 'PAIRS', '--out', 'DIR')}",
        ]
    return [
        "\nTalk to it, beside the model it came from:",
        f"  {command_line('chat', here, '--compare')}",
    ]


def _losses(state: Progress) -> str:
    step = state.end.get("step", state.step)
    parts = [f"{step} steps"]
    if state.smoothed is not None:
        parts.append(f"smoothed training loss {state.smoothed:.4f}")
    loss, result_step = state.end.get("result_loss"), state.end.get("result_step", step)
    if loss is not None:
        parts.append(f"validation loss {loss:.4f}")
    if result_step != step:
        parts.append(f"the result is step {result_step}, the best one")
    return ", ".join(parts)


_REASONS = {
    "patience": "; it had stopped getting better",
    "stopped": "; it was stopped on request",
}


def _below(run: RunDir, path: str) -> str:
    """A path of an artifact, which may be given relative to the run."""
    return str(short_path(run.path / path))


def _paused(run: RunDir, outcome: Outcome, name: str) -> str:
    step = outcome.state.end.get("step", outcome.state.step)
    command = command_line(name, "--run", short_path(run.path), "--resume")
    saved = "checkpoint saved" if step else "nothing was trained yet"
    return f"\nPaused at step {step}, {saved}. Go on with\n  {command}"
