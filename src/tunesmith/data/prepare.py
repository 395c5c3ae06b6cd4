"""From the recipe's datasets to rows of tokens, ready to train on.

    files -> rows -> records -> text and spans -> tokens and targets -> table in the cache
                                                                          |
               test and validation split, duplicates, mixing  ------------+--> Prepared

Tables are cached by the content of the files and everything that decides their tokens; splits and
mixture are drawn from the seed each time, which takes no time. So a second run starts at once.

Truncation keeps the beginning of a row: its prompt stays whole, and an answer that is cut off lacks
its end-of-turn token, so the model never learns to stop there. A row without any answer left is
dropped and counted.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers

from tunesmith.data import cache
from tunesmith.data.columns import require_columns
from tunesmith.data.draws import Ints, draw_records
from tunesmith.data.held_out import HeldOut, Opened, dataset_of_records, hold_out
from tunesmith.data.mixing import DatasetCount, MixingPlan, mixing_plan
from tunesmith.data.readers import dataset_files
from tunesmith.data.renderer import Renderer
from tunesmith.data.report import Warnings, data_report, hint_of, report_warnings, warning
from tunesmith.data.resolve import resolve_dataset
from tunesmith.data.sides import VIEWS
from tunesmith.data.store.version import MANIFEST
from tunesmith.data.table import TableBroken, TableWriter, TokenTable
from tunesmith.data.tally import total
from tunesmith.data.tokenise import Fit, Progress, Source, Tokeniser
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tunesmith.recipe import Data, Dataset, Stage

MIN_ROWS = 100
_CHECK_ROWS = "Check the columns, roles and weights of the data, and data.max_length."
# Fields of a dataset that decide which rows are drawn, not what its rows are.
_NOT_IN_TABLES = {"sampling_rate", "share", "role", "max_rows"}


@dataclass(frozen=True)
class Prepared:
    """Everything that training needs to know about its data."""

    train: TokenTable
    train_rows: Ints  # rows of the table in file order, repeated as sampling says
    validation: TokenTable | None
    report: dict[str, Any]
    fingerprint: str
    warnings: Warnings
    test_rows: dict[str, Any] | None = None  # files and lines, for data/test_rows.json


def prepare(
    data: Data,
    stage: Stage,
    tokenizer: TextTokenizer,
    *,
    seed: int,
    cache_dir: Path,
    base_dir: Path,
    max_context: int | None,
    on_progress: Progress,
) -> Prepared:
    """Tokenise what is not cached yet, draw validation and training rows, report on all rows."""
    warnings: Warnings = []
    renderer = build_renderer(data, stage, tokenizer, base_dir=base_dir)
    fit = _fit(data, stage, max_context, warnings)
    tables = _Tables(renderer, fit, cache_dir, on_progress)
    training = tables.of(_sources(data.train, base_dir), _columns(data))
    _check_size(training, data)
    parts = hold_out(
        data,
        training,
        seed,
        lambda wanted: tables.of(_sources([wanted], base_dir, wanted.max_rows)),
    )
    validation, test = parts.validation, parts.test
    rows, mixture = _mixed_rows(data, training.table, parts.training_records, seed)
    if fit.view == "judged":
        _require_both_classes(training.table, rows)
    report = data_report(training.table, rows, mixture, validation, test)
    report |= {"max_length": fit.limit, "context": fit.context, "stage": stage.kind}
    report |= {"template": renderer.template_source}
    warnings += [*report_warnings(report)]
    return Prepared(
        training.table,
        rows,
        _small_table(validation),
        report,
        _fingerprint(training.table, rows, validation),
        warnings,
        _test_rows(test, cache_dir),
    )


def _fingerprint(table: TokenTable, rows: Ints, validation: HeldOut) -> str:
    """What is learned and validated on, token by token: equal for equal rows, made by any version.

    So a run that was begun before an upgrade goes on after it.
    """
    held = validation.of and [validation.of.table.content, _digest(validation.rows)]
    return cache.fingerprint({"train": [table.content, _digest(rows)], "validation": held})


def _digest(rows: Ints) -> str:
    return hashlib.sha256(rows.tobytes()).hexdigest()


def build_renderer(
    data: Data, stage: Stage, tokenizer: TextTokenizer, *, base_dir: Path
) -> Renderer:
    """The renderer that a recipe describes."""
    return Renderer(
        tokenizer,
        loss_on=stage.loss_on if stage.kind == "sft" else "all_turns",
        chat_template=data.chat_template,
        prefix=data.prefix,
        instruction_template=data.instruction_template,
        response_template=data.response_template,
        base_dir=base_dir,
    )


def _fit(data: Data, stage: Stage, max_context: int | None, warnings: Warnings) -> Fit:
    limit = min(data.max_length, max_context or data.max_length)
    if stage.kind == "grpo":  # a question that is cut asks something else
        room = limit - stage.max_answer_tokens
        overlong = "error" if data.overlong == "error" else "drop"
        return Fit(room, overlong, max_context, VIEWS[stage.kind])
    if limit < data.max_length:
        warnings.append(
            warning(
                "context_shorter",
                f"max_length is {data.max_length}, but the model's context is {limit} tokens: "
                "longer rows count as overlong.",
                f"Set data.max_length to {limit} or less, or choose another model.",
            )
        )
    view = VIEWS[stage.kind]
    return Fit(limit, "windows" if view == "documents" else data.overlong, max_context, view)


def _sources(
    datasets: Sequence[Dataset], base_dir: Path, max_rows: int | None = None
) -> list[Source]:
    """The files of the datasets; limits count over a dataset's files one after the other."""
    sources: list[Source] = []
    for number, wanted in enumerate(datasets):
        path = resolve_dataset(wanted.dataset, base_dir)
        limits = [limit for limit in (wanted.max_samples, max_rows) if limit is not None]
        for file in dataset_files(path):
            is_whole = file == path or (path / MANIFEST).is_file()
            name = wanted.dataset if is_whole else file.name
            sources.append(Source(file, name, number, wanted, min(limits, default=None)))
    return sources


def _columns(data: Data) -> dict[str, str]:
    """The columns that splits look at, each with the field that names it."""
    found: dict[str, str] = {}
    for name, section in (("validation", data.validation), ("test", data.test)):
        if section.kind == "split":
            for field in ("stratify_by", "group_by"):
                column = getattr(section, field)
                if column is not None:
                    found.setdefault(column, f"data.{name}.{field}")
    return dict(sorted(found.items()))


class _Tables:
    """Token tables by fingerprint: opened when cached, written when not."""

    def __init__(
        self, renderer: Renderer, fit: Fit, cache_dir: Path, on_progress: Progress
    ) -> None:
        self._renderer = renderer
        self._fit = fit
        self._cache_dir = cache_dir
        self._on_progress = on_progress

    def of(self, sources: list[Source], columns: Mapping[str, str] | None = None) -> Opened:
        """The table of some files, with marks for some columns."""
        columns = columns or {}
        key = self._key(sources, columns)
        try:
            return Opened(TokenTable.open(self._directory(key, sources, columns)), sources)
        except TableBroken:  # damaged from outside: write it again
            shutil.rmtree(self._cache_dir / key)
            return Opened(TokenTable.open(self._directory(key, sources, columns)), sources)

    def _directory(self, key: str, sources: list[Source], columns: Mapping[str, str]) -> Path:
        def build(draft: Path) -> None:
            require_columns([source.file for source in sources], columns)
            with TableWriter(draft, [*columns]) as writer:
                Tokeniser(self._renderer, self._fit, writer, self._on_progress).run(sources)

        return cache.build_once(self._cache_dir, key, build)

    def _key(self, sources: Sequence[Source], columns: Mapping[str, str]) -> str:
        facts = {
            "code": cache.code_fingerprint(),
            "tokenizers": tokenizers.__version__,
            "renderer": self._renderer.facts(),
            "fit": [self._fit.limit, self._fit.overlong, self._fit.view],
            "columns": [*columns],
            "sources": [
                [
                    cache.file_digest(source.file, self._cache_dir),
                    source.name,
                    source.dataset,
                    source.max_rows,
                    source.wanted.model_dump(mode="json", exclude=_NOT_IN_TABLES),
                ]
                for source in sources
            ],
        }
        return cache.fingerprint(facts)


def _check_size(training: Opened, data: Data) -> None:
    table = training.table
    tallies = table.about["tallies"]
    counts = total(tallies)
    if not len(table):
        raise DataError(
            f"None of the {counts['rows_read']} training rows has a token to train on: "
            f"{_reasons(tallies)}.",
            hint=hint_of(counts["dropped"], _CHECK_ROWS),
            code="no_trainable_rows",
            rows=counts["rows_read"],
        )
    pairs = zip(training.sources, tallies, strict=True)
    general = sum(t["rows_read"] for s, t in pairs if data.train[s.dataset].role == "general")
    num_rows = counts["rows_read"] - general
    if num_rows < MIN_ROWS and not data.allow_small:
        besides = " besides the general corpus" if general else ""
        raise DataError(
            f"The training data has {num_rows} rows{besides}; at least {MIN_ROWS} are needed.",
            hint="Add rows, or set data.allow_small: true to train on fewer.",
            code="too_few_rows",
            rows=num_rows,
            least=MIN_ROWS,
        )


def _require_both_classes(table: TokenTable, rows: Ints) -> None:
    """Without bad answers all would become likelier, without good ones all less likely."""
    good = int(table.desirable[rows].sum())
    if 0 < good < len(rows):
        return
    has, lacks = ("good", "bad") if good else ("bad", "good")
    raise DataError(
        f"All {len(rows)} answers to train on are marked as {has}; stage kto learns from the "
        "difference between good and bad ones.",
        hint=f"Add answers that were found {lacks}, or train another stage"
        + (": sft learns from good answers alone." if good else "."),
        code="one_class_only",
        rows=len(rows),
    )


def _reasons(tallies: Sequence[dict[str, Any]]) -> str:
    """Such as `empty_answer 12 (lines 1, 2, 3)`."""
    told: list[str] = []
    for tally in tallies:
        for reason, lines in tally["dropped"].items():
            shown = ", ".join(map(str, lines["lines"][:5]))
            example = f": {lines['example']}" if "example" in lines else ""
            told.append(f"{reason} {lines['count']} (lines {shown}{example})")
    return "; ".join(told) or "there are none"


def _small_table(held: HeldOut) -> TokenTable | None:
    return held.of.table.take(held.rows) if held.of and len(held.records) else None


def _test_rows(test: HeldOut, cache_dir: Path) -> dict[str, Any] | None:
    """Where the test rows stand, so that an evaluation can read them from their files."""
    if test.of is None:
        return None
    table, sources = test.of.table, test.of.sources
    first = table.first_rows[test.records]
    numbers, lines = table.sources[first].tolist(), table.lines[first].tolist()
    used = sorted(set(numbers))
    return {
        "files": [
            {
                "file": str(sources[number].file.absolute()),
                "sha256": cache.file_digest(sources[number].file, cache_dir),
                "dataset": sources[number].wanted.model_dump(mode="json", exclude=_NOT_IN_TABLES),
            }
            for number in used
        ],
        "rows": [
            {"file": str(sources[number].file.absolute()), "line": line}
            for number, line in zip(numbers, lines, strict=True)
        ],
    }


def _mixed_rows(data: Data, table: TokenTable, records: Ints, seed: int) -> tuple[Ints, MixingPlan]:
    """The rows of one epoch in file order, repeated as the mixture says."""
    dataset_of = dataset_of_records(table)[records]
    tokens = np.bincount(table.records, table.lengths)  # exact up to 2 ** 53
    available = [records[dataset_of == number] for number in range(len(data.train))]
    counts = [
        DatasetCount(
            name=wanted.dataset,
            rows=len(own),
            sampling_rate=wanted.sampling_rate,
            share=wanted.share,
            role=wanted.role,
            tokens=int(tokens[own].sum()),
        )
        for wanted, own in zip(data.train, available, strict=True)
    ]
    mixture = mixing_plan(counts, general_ratio=data.general_ratio)
    drawn = [
        draw_records(own, portion.rows_drawn, seed, number)
        for number, (own, portion) in enumerate(zip(available, mixture.datasets, strict=True))
    ]
    return table.rows_of(np.concatenate(drawn)), mixture
