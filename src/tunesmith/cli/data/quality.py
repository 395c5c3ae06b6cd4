"""`tunesmith data score | diversity | augment`: which rows are good, how different, and more."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from tunesmith.cli.data.commands import app
from tunesmith.cli.data.reading import (
    JsonOption,
    NameArgument,
    SubjectArgument,
    open_catalog,
    open_subject,
    wanted_rows,
)
from tunesmith.cli.engine import require_torch
from tunesmith.cli.language import chinese
from tunesmith.cli.terminal import say, say_json
from tunesmith.cli.work import progress
from tunesmith.errors import InputError

if TYPE_CHECKING:
    from tunesmith.data.quality.classifier import Classifier
    from tunesmith.data.quality.score import Scores
    from tunesmith.data.store import Version
    from tunesmith.data.tokenise import Progress

ImportName = Annotated[
    str | None, typer.Option("--name", help="For a file: import it under this name first.")
]


@app.command(epilog="Example: tunesmith data score support --by perplexity --model Qwen/Qwen3-0.6B")
def score(
    subject: SubjectArgument,
    by: Annotated[
        str, typer.Option(help="heuristics, classifier or perplexity; see docs/data-quality.md.")
    ] = "heuristics",
    model: Annotated[
        str | None,
        typer.Option(help="For perplexity: starter, a folder, a run or a hub id."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="For classifier: train it on this column, true for good rows."
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=2, help="For perplexity: tokens after which a row is cut.")
    ] = None,
    name: ImportName = None,
    json: JsonOption = False,
) -> None:
    """A new version in which every row has its quality or its perplexity, and what they show.

    Nothing is removed. Look at the worst rows first: every filter errs.
    """
    from tunesmith.data.quality.report import report
    from tunesmith.data.quality.score import METHODS, write

    _check_wishes(by, METHODS, model=model, labels=labels, max_length=max_length)
    catalog = open_catalog()
    with progress() as on_progress:
        version = _as_version(subject, name, on_progress)
        scores = _scores(version, by, model, labels, max_length, on_progress)
        written = write(catalog, version, scores, on_progress=on_progress)
    facts = report(version, scores, written or version)
    facts["new_version"] = asdict(written.manifest) if written else None
    if json:
        say_json(facts)
        return
    from tunesmith.cli.data.told_quality import score_lines

    say("\n".join(score_lines(facts, chinese=chinese())))


@app.command(epilog="Example: tunesmith data diversity support --write")
def diversity(
    subject: SubjectArgument,
    clusters: Annotated[
        int | None, typer.Option(min=1, max=1000, help="How many groups; found by itself if empty.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed finds the same groups.")] = 0,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="A new version with columns: cluster, near_same_as (a row's id or null).",
        ),
    ] = False,
    name: ImportName = None,
    json: JsonOption = False,
) -> None:
    """How different the instructions are: groups, near repetitions, languages, and advice."""
    from tunesmith.data.quality.diversity import explore, write_columns

    with progress() as on_progress:
        version = _as_version(subject, name, on_progress)
        found = explore(version, num_clusters=clusters, seed=seed, on_progress=on_progress)
        written = None
        if write:
            written = write_columns(open_catalog(), version, found, on_progress=on_progress)
    facts = {**found.facts, "new_version": asdict(written.manifest) if written else None}
    if json:
        say_json(facts)
        return
    from tunesmith.cli.data.told_quality import diversity_lines

    say("\n".join(diversity_lines(facts)))
    if write:
        say()
        say(
            f"{written.label} published with the columns cluster and near_same_as."
            if written
            else "Every row has these columns already; there is no new version."
        )


@app.command(epilog="Example: tunesmith data augment support --templates wordings.yaml --rate 2")
def augment(
    name: NameArgument,
    templates: Annotated[
        Path | None,
        typer.Option(help="YAML of wordings with the same meaning; a small one ships if empty."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed chooses the same wordings.")] = 0,
    rate: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="Further rows for each row that matches.")
    ] = 1.0,
    json: JsonOption = False,
) -> None:
    """A new version with further rows that ask the same in other words; the others stay."""
    from tunesmith.cli.data.told_quality import augment_lines
    from tunesmith.data.quality.augment import augment as add_wordings
    from tunesmith.data.quality.templates import builtin_templates, load_templates

    sets = load_templates(templates) if templates else builtin_templates()
    catalog = open_catalog()
    version = catalog.open(name)
    with progress() as on_progress:
        done = add_wordings(catalog, version, sets, seed=seed, rate=rate, on_progress=on_progress)
    if json:
        say_json(done.to_json())
        return
    say("\n".join(augment_lines(done.to_json())))


# ---------------------------------------------------------------- helpers


def _check_wishes(
    by: str,
    methods: tuple[str, ...],
    *,
    model: str | None,
    labels: str | None,
    max_length: int | None,
) -> None:
    """Options that do not go together, told before any work."""
    if by in ("reward", "reward-model", "reward_model"):
        raise InputError(
            "There is no reward model to score with: tunesmith has no stage that trains one yet.",
            hint=f"--by is one of {', '.join(methods)}.",
            code="no_reward_model",
        )
    if by not in methods:
        raise InputError(f"There is no score '{by}'.", hint=f"--by is one of {', '.join(methods)}.")
    if by == "perplexity" and model is None:
        raise InputError(
            "Perplexity is what a model makes of the rows: name one with --model.",
            hint="Such as --model starter, a folder, a run, or a hub id.",
        )
    for option, value, method in (
        ("--model", model, "perplexity"),
        ("--max-length", max_length, "perplexity"),
        ("--labels", labels, "classifier"),
    ):
        if value is not None and by != method:
            raise InputError(f"{option} belongs to --by {method}; this is --by {by}.")


def _as_version(subject: str, name: str | None, on_progress: Progress) -> Version:
    """A published version; a file is imported first where a name is given for it."""
    from tunesmith.data.check.inspect import Wanted
    from tunesmith.data.importing import import_files
    from tunesmith.data.pool import num_processes
    from tunesmith.data.store import Version

    found = open_subject(subject, wanted_rows(subject), None)
    if isinstance(found, Version):
        return found
    if name is None:
        raise InputError(
            f"{subject} is a file; this works on a dataset, whose rows have ids.",
            hint="Import it under a name: --name NAME. The file stays as it is.",
        )
    return import_files(
        open_catalog(),
        name,
        found,
        wanted=Wanted(near=False),
        processes=num_processes(),
        on_progress=on_progress,
    ).version


def _scores(
    version: Version,
    by: str,
    model: str | None,
    labels: str | None,
    max_length: int | None,
    on_progress: Progress,
) -> Scores:
    from tunesmith.data.pool import num_processes
    from tunesmith.data.quality import score as scoring

    if by == "heuristics":
        return scoring.by_heuristics(version, processes=num_processes(), on_progress=on_progress)
    if by == "classifier":
        return scoring.by_classifier(
            version,
            _classifier(version, labels, on_progress),
            processes=num_processes(),
            on_progress=on_progress,
        )
    assert model is not None
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        losses = Path(folder) / "losses.parquet"
        told = _run_scoring(version, model, max_length, losses, on_progress)
        return scoring.by_losses(version, losses, {"model": model, **told})


def _classifier(version: Version, labels: str | None, on_progress: Progress) -> Classifier:
    from tunesmith.data.quality.classifier import own_classifier
    from tunesmith.data.quality.score import classifier_of_labels
    from tunesmith.runs.files import data_directory

    if labels is not None:
        return classifier_of_labels(version, labels)
    on_progress("Training the classifier", 0, 0)
    return own_classifier(data_directory() / "cache" / "quality")


def _run_scoring(
    version: Version, model: str, max_length: int | None, out: Path, on_progress: Progress
) -> dict[str, Any]:
    """Let the engine measure the rows; its progress is shown here. Returns what it says at last."""
    from tunesmith.runs.launch import engine_command, engine_environment

    require_torch()
    limit = [] if max_length is None else ["--max-length", str(max_length)]
    parts = [str(part) for part in version.parts]
    command = engine_command("score", model, "--out", str(out), *limit, "--data", *parts)
    told: dict[str, Any] = {}
    with _process(command, engine_environment()) as engine:
        for line in _lines(engine):
            told = orjson.loads(line)
            if told["kind"] != "done":
                on_progress(told["kind"], told["done"], told["total"])
    if engine.returncode:
        raise typer.Exit(engine.returncode)  # the engine has said why
    return {"truncated": told["truncated"], "dropped": told["dropped"]}


def _lines(engine: subprocess.Popen[str]) -> Iterator[str]:
    assert engine.stdout is not None
    return (line for line in engine.stdout if line.startswith("{"))


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Generator[subprocess.Popen[str]]:
    """A process that never outlives the block, whose standard output is read here."""
    engine = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        yield engine
        engine.wait()
    finally:
        if engine.poll() is None:
            engine.terminate()
            engine.wait()
        assert engine.stdout is not None
        engine.stdout.close()
