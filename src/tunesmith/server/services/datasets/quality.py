"""Which rows are good, how different they are, and more of them in other words.

Perplexity is measured by the engine in a process of its own.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from tunesmith.data.pool import num_processes
from tunesmith.data.store import Catalog, Version
from tunesmith.errors import InputError, TunesmithError
from tunesmith.runs.launch import engine_command, engine_environment
from tunesmith.server.services.datasets.publishing import Bench

# Imported by those who need them: a server starts without.
if TYPE_CHECKING:
    from tunesmith.data.quality.score import Scores
    from tunesmith.data.quality.templates import Templates

Operation = Mapping[str, Any]
_MOST_ERROR: Final = 2000


@dataclass
class Facts:
    """What a change tells beside its version."""

    counts: dict[str, Any]
    details: dict[str, Any] | None = None


class ScoringFailed(TunesmithError):
    """The engine could not measure the rows; its message says why."""

    code = "scoring_failed"


def score(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    """A column `quality` or `perplexity`, and what it shows."""
    from tunesmith.data.quality.report import report
    from tunesmith.data.quality.score import write

    scores = _scores(bench, version, operation)
    written = write(catalog, version, scores, on_progress=bench.progress)
    facts.details = told = report(version, scores, written or version)
    commands = told.pop("commands")
    # The conditions of its commands: which rows to read first, and which would stay.
    told["conditions"] = {
        name: commands[command][commands[command].index("--where") + 1]
        for name, command in (("review", "review"), ("keep", "remove"))
        if commands
    }
    return written


def diversity(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    """Columns `cluster` and `near_same_as`, and what the groups are."""
    from tunesmith.data.quality.diversity import explore, write_columns

    found = explore(
        version,
        num_clusters=operation["clusters"],
        seed=operation["seed"],
        on_progress=bench.progress,
    )
    facts.details = found.facts
    return write_columns(catalog, version, found, on_progress=bench.progress)


def augment(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    """Further rows that ask the same in other words."""
    from tunesmith.data.quality.augment import augment as add_wordings

    done = add_wordings(
        catalog,
        version,
        templates_of(operation),
        seed=operation["seed"],
        rate=operation["rate"],
        on_progress=bench.progress,
    )
    facts.counts |= {"matched": done.matched, "added": done.added, "present": done.present}
    facts.details = done.to_json()
    del facts.details["commands"]
    return done.version


def templates_of(operation: Operation) -> Templates:
    """The wordings that the operation brings, or those that ship; InputError names the line."""
    from tunesmith.data.quality.templates import builtin_templates, load_templates

    text = operation.get("templates")
    if not text:
        return builtin_templates()
    with tempfile.TemporaryDirectory(prefix="wordings-") as folder:
        path = Path(folder) / "templates.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            return load_templates(path)
        except InputError as error:
            error.message = error.message.replace(f"{folder}/", "")
            raise


def _scores(bench: Bench, version: Version, operation: Operation) -> Scores:
    from tunesmith.data.quality import score as scoring
    from tunesmith.data.quality.classifier import own_classifier

    by: str = operation["by"]
    options: dict[str, Any] = {"processes": num_processes(), "on_progress": bench.progress}
    if by == "heuristics":
        return scoring.by_heuristics(version, **options)
    if by == "perplexity":
        return _perplexity(bench, version, operation)
    labels = operation["labels"]
    classifier = (
        scoring.classifier_of_labels(version, labels)
        if labels
        else own_classifier(bench.place.cache / "quality")
    )
    return scoring.by_classifier(version, classifier, **options)


def _perplexity(bench: Bench, version: Version, operation: Operation) -> Scores:
    from tunesmith.data.quality.score import by_losses

    length = operation["max_length"]
    limit = [] if length is None else ["--max-length", str(length)]
    with tempfile.TemporaryDirectory(prefix="scoring-", dir=bench.place.cache) as folder:
        losses, log = Path(folder) / "losses.parquet", Path(folder) / "engine.log"
        parts = [str(part) for part in version.parts]
        wanted = [operation["target"], "--out", str(losses), *limit, "--data", *parts]
        told: dict[str, Any] = {}
        with _engine(["score", *wanted], log) as engine:
            assert engine.stdout is not None
            for line in engine.stdout:
                if line.startswith(b"{"):
                    told = orjson.loads(line)
                    if told["kind"] != "done":
                        bench.progress(told["kind"], told["done"], told["total"])
        if engine.returncode:
            raise _failed(log)
        lost = {name: told[name] for name in ("truncated", "dropped")}
        return by_losses(version, losses, {"model": operation["model"], **lost})


@contextmanager
def _engine(arguments: list[str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """A process that never outlives the block, whose standard output is read here."""
    with log.open("wb") as errors:
        engine = subprocess.Popen(
            engine_command(*arguments),
            env=engine_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        yield engine
        engine.wait()
    finally:
        if engine.poll() is None:
            engine.kill()
            engine.wait()
        assert engine.stdout is not None
        engine.stdout.close()


def _failed(log: Path) -> ScoringFailed:
    said = log.read_text(encoding="utf-8", errors="replace").strip().removeprefix("Error: ")
    message, _, hint = said.partition("\n")
    return ScoringFailed(
        f"The rows could not be measured: {message[-_MOST_ERROR:] or 'the engine ended'}",
        hint=hint[-_MOST_ERROR:],
    )
