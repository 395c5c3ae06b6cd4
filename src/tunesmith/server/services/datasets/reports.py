"""What was found out about a version: checks and statistics, kept beside the versions.

datasets/FOLDER/reports/0003-check.json        {"en": report, "zh": report}
datasets/FOLDER/reports/0003-stats-HASH.json   statistics with the tokenizer of one model
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from tunesmith.data.check.check import Report
from tunesmith.data.check.check import check as run_check
from tunesmith.data.check.inspect import Wanted
from tunesmith.data.check.tokens import check_tokens
from tunesmith.data.lengths import measure
from tunesmith.data.near import near_pairs
from tunesmith.data.pool import num_processes
from tunesmith.data.renderer import Renderer
from tunesmith.data.splits import preview_splits
from tunesmith.data.stats import Plan, statistics
from tunesmith.data.store import Version
from tunesmith.recipe import Split, TestSplit
from tunesmith.runs.files import write_atomically
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import NotFound
from tunesmith.server.incoming import storing
from tunesmith.server.services.datasets.asked import Check, Stats
from tunesmith.server.services.datasets.publishing import Bench
from tunesmith.server.tables import Dataset

CHECK: Final = "check"
NEAR: Final = "near"


def kind_of_check(check: Check) -> str:
    return CHECK + ("-openai" if check.openai else "")


def kind_of_stats(stats: Stats) -> str:
    named = orjson.dumps([stats.model, stats.max_length, stats.epochs, stats.batch_size])
    return f"stats-{hashlib.sha256(named).hexdigest()[:16]}"


def check(
    bench: Bench,
    dataset: Dataset,
    version: Version,
    wanted: Check,
    renderer: Renderer | None,
    against: Version | None,
) -> Report:
    """Everything that can be found; the report is kept for the next who asks."""
    report = run_check(
        version,
        Wanted(near=wanted.near, openai="any" if wanted.openai else None),
        processes=num_processes(),
        on_progress=bench.progress,
        against=against,
    )
    if renderer is not None:
        check_tokens(
            version,
            renderer,
            wanted.max_length,
            report,
            cache_dir=bench.place.cache / "tokens",
            on_progress=bench.progress,
        )
    number = version.manifest.version
    report.subject = f"{dataset.name}@{number}"
    keep_report(bench.place, dataset, number, kind_of_check(wanted), report)
    return report


def stats(
    bench: Bench, dataset: Dataset, version: Version, wanted: Stats, renderer: Renderer
) -> dict[str, Any]:
    """Lengths in tokens, the recommended max_length, what an epoch costs."""
    lengths = measure(
        version,
        renderer,
        cache_dir=bench.place.cache / "tokens",
        on_progress=bench.progress,
        max_length=wanted.max_length,
    )
    number = version.manifest.version
    facts = {"subject": f"{dataset.name}@{number}", "model": wanted.model}
    facts |= statistics(lengths, Plan(wanted.epochs, wanted.batch_size), wanted.max_length)
    _keep(bench.place, dataset, number, kind_of_stats(wanted), facts)
    return facts


def near(bench: Bench, dataset: Dataset, version: Version) -> dict[str, Any]:
    """Pairs of rows that say nearly the same."""
    number = version.manifest.version
    found = near_pairs(version, on_progress=bench.progress).to_json()
    facts = {"subject": f"{dataset.name}@{number}"} | found
    _keep(bench.place, dataset, number, NEAR, facts)
    return facts


def splits(version: Version, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What validation and test splits would hold out of a version."""
    validation, test = wanted.get("validation"), wanted.get("test")
    return preview_splits(
        version,
        Split.model_validate(validation) if validation else None,
        TestSplit.model_validate(test) if test else None,
        wanted["seed"],
    )


def keep_report(place: DataDir, dataset: Dataset, number: int, kind: str, report: Report) -> None:
    told = {language: report.to_json(language) for language in ("en", "zh")}
    _keep(place, dataset, number, kind, told)


def read_report(place: DataDir, dataset: Dataset, number: int, kind: str) -> dict[str, Any]:
    """What was found before; NotFound where nobody has looked yet."""
    try:
        return orjson.loads(_path(place, dataset, number, kind).read_bytes())
    except FileNotFoundError:
        raise NotFound(
            f"Version {number} of dataset {dataset.name} has no such report yet.",
            hint="Start a check, or ask for statistics, first.",
            code="report_not_found",
            name=dataset.name,
            version=number,
            id=dataset.id,
        ) from None


def _keep(place: DataDir, dataset: Dataset, number: int, kind: str, facts: Any) -> None:
    path = _path(place, dataset, number, kind)
    with storing(place.datasets):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, orjson.dumps(facts, option=orjson.OPT_SERIALIZE_NUMPY))


def _path(place: DataDir, dataset: Dataset, number: int, kind: str) -> Path:
    return place.datasets / dataset.folder / "reports" / f"{number:04d}-{kind}.json"
