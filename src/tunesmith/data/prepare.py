"""From the recipe's datasets to rows of tokens, ready to train on.

    files -> rows -> records -> text and spans -> tokens and targets -> table in the cache
                                                                          |
                        validation split, duplicates, sampling  ----------+--> Prepared

Tables are cached by the content of the files and everything that decides their tokens; split and
sampling are drawn from the seed each time, which takes no time. So a second run starts at once.

Truncation keeps the beginning of a row: its prompt stays whole, and an answer that is cut off lacks
its end-of-turn token, so the model never learns to stop there. A row without any answer left is
dropped and counted.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers

from tunesmith.data import cache
from tunesmith.data.draws import Ints, sample_records, split_records
from tunesmith.data.readers import dataset_files
from tunesmith.data.renderer import Renderer
from tunesmith.data.report import Warnings, data_report, report_warnings, warning
from tunesmith.data.table import TableBroken, TableWriter, TokenTable
from tunesmith.data.tally import total
from tunesmith.data.tokenise import Fit, Progress, Source, Tokeniser
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tunesmith.recipe import Data, Dataset, Stage

MIN_ROWS = 100


@dataclass(frozen=True)
class Prepared:
    """Everything that training needs to know about its data."""

    train: TokenTable
    train_rows: Ints  # rows of the table in file order, repeated as sampling says
    validation: TokenTable | None
    report: dict[str, Any]
    fingerprint: str
    warnings: Warnings


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
    table, key = tables.of(_sources(data.train, base_dir))
    _check_size(table, data)
    held_out, validation, val_key, val_report = _validation(data, table, tables, seed, base_dir)
    rows = _training_rows(data, table, held_out, seed)
    facts = {
        "train": key,
        "validation": val_key,
        "seed": seed,
        "data": data.model_dump(mode="json"),
    }
    report = data_report(table, rows, validation, val_report)
    report |= {"max_length": fit.limit, "template": renderer.template_source}
    warnings += [*report_warnings(report)]
    return Prepared(table, rows, validation, report, cache.fingerprint(facts), warnings)


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
    if limit < data.max_length:
        warnings.append(
            warning(
                "context_shorter",
                f"max_length is {data.max_length}, but the model's context is {limit} tokens: "
                "longer rows count as overlong.",
                f"Set data.max_length to {limit} or less, or choose another model.",
            )
        )
    return Fit(limit, "windows" if stage.kind == "pt" else data.overlong)


def _sources(
    datasets: Sequence[Dataset], base_dir: Path, max_rows: int | None = None
) -> list[Source]:
    """The files of the datasets; limits count over a dataset's files one after the other."""
    return [
        Source(
            file,
            wanted.dataset if file.name == Path(wanted.dataset).name else file.name,
            number,
            wanted,
            min((n for n in (wanted.max_samples, max_rows) if n is not None), default=None),
        )
        for number, wanted in enumerate(datasets)
        for file in dataset_files(base_dir / Path(wanted.dataset).expanduser())
    ]


class _Tables:
    """Token tables by fingerprint: opened when cached, written when not."""

    def __init__(
        self, renderer: Renderer, fit: Fit, cache_dir: Path, on_progress: Progress
    ) -> None:
        self._renderer = renderer
        self._fit = fit
        self._cache_dir = cache_dir
        self._on_progress = on_progress

    def of(self, sources: list[Source]) -> tuple[TokenTable, str]:
        """The table of some files, and its key."""
        key = self._key(sources)
        try:
            return TokenTable.open(self._directory(key, sources)), key
        except TableBroken:  # damaged from outside: write it again
            shutil.rmtree(self._cache_dir / key)
            return TokenTable.open(self._directory(key, sources)), key

    def _directory(self, key: str, sources: list[Source]) -> Path:
        def build(draft: Path) -> None:
            with TableWriter(draft) as writer:
                Tokeniser(self._renderer, self._fit, writer, self._on_progress).run(sources)

        return cache.build_once(self._cache_dir, key, build)

    def _key(self, sources: Sequence[Source]) -> str:
        facts = {
            "code": cache.code_fingerprint(),
            "tokenizers": tokenizers.__version__,
            "renderer": self._renderer.facts(),
            "fit": [self._fit.limit, self._fit.overlong],
            "sources": [
                [
                    cache.file_digest(source.file, self._cache_dir),
                    source.name,
                    source.dataset,
                    source.max_rows,
                    source.wanted.model_dump(mode="json", exclude={"sampling_rate", "max_rows"}),
                ]
                for source in sources
            ],
        }
        return cache.fingerprint(facts)


def _check_size(table: TokenTable, data: Data) -> None:
    counts = total(table.about["tallies"])
    if not len(table):
        raise DataError(
            f"None of the {counts['rows_read']} training rows has a token to train on: "
            f"{_reasons(table.about['tallies'])}.",
            hint="Check the columns, roles and weights of the data, and data.max_length.",
            code="no_trainable_rows",
        )
    if counts["rows_read"] < MIN_ROWS and not data.allow_small:
        raise DataError(
            f"The training data has {counts['rows_read']} rows; at least {MIN_ROWS} are needed.",
            hint="Add rows, or set data.allow_small: true to train on fewer.",
            code="too_few_rows",
            rows=counts["rows_read"],
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


def _validation(
    data: Data, table: TokenTable, tables: _Tables, seed: int, base_dir: Path
) -> tuple[Ints, TokenTable | None, str | None, dict[str, Any]]:
    """Records held out of training, validation rows, their table's key, and what was counted."""
    wanted = data.validation
    none_held = np.zeros(0, np.int64)
    if wanted.kind == "none":
        return none_held, None, None, {"kind": "none"}
    report: dict[str, Any] = {"kind": wanted.kind}
    if wanted.kind == "split":
        drawn = split_records(table.num_records, wanted.fraction, wanted.max_rows, seed)
        report["returned_to_training"] = drawn.returned
        held_out, key = drawn.validation, None
        source, candidates = table, drawn.validation
    else:
        source, key = tables.of(_sources([wanted], base_dir, wanted.max_rows))
        report["sources"] = source.about["tallies"]
        held_out, candidates = none_held, np.arange(source.num_records)
    fresh = _without_duplicates(table, held_out, source, candidates)
    report["duplicates_removed"] = len(candidates) - len(fresh)
    return held_out, source.take(source.rows_of(fresh)) if len(fresh) else None, key, report


def _without_duplicates(
    table: TokenTable, held_out: Ints, source: TokenTable, candidates: Ints
) -> Ints:
    """The candidates that no training record equals exactly."""
    in_training = np.ones(table.num_records, bool)
    in_training[held_out] = False
    known = _record_digests(table)[in_training]
    return candidates[~np.isin(_record_digests(source)[candidates], known)]


def _record_digests(table: TokenTable) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return table.digests[np.unique(table.records, return_index=True)[1]]


def _training_rows(data: Data, table: TokenTable, held_out: Ints, seed: int) -> Ints:
    first_rows = np.unique(table.records, return_index=True)[1]
    dataset_of = np.array(table.about["datasets"], np.int64)[table.sources[first_rows]]
    trains = np.ones(table.num_records, bool)
    trains[held_out] = False
    drawn = [
        sample_records(
            np.flatnonzero(trains & (dataset_of == number)), wanted.sampling_rate, seed, number
        )
        for number, wanted in enumerate(data.train)
    ]
    return table.rows_of(np.concatenate(drawn))
