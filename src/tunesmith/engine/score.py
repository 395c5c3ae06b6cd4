"""`python -m tunesmith.engine score`: how well a model expects each row. Read `measure` first.

    score BASE --data PART.parquet... --out losses.parquet [--max-length N]

For each row the mean loss over its label tokens - those that training would learn - as the model
computes it in its own chat template. Rows are packed as in training; what a row gets does not
depend on the others. Progress goes to standard output, one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from tunesmith.data.renderer import Renderer
from tunesmith.data.table import TableWriter, TokenTable
from tunesmith.data.tokenise import Fit, Source, Tokeniser
from tunesmith.engine.batch import FlatBatch
from tunesmith.engine.generate import load_for_inference
from tunesmith.engine.head import language_loss
from tunesmith.engine.models import context_length, exact_context
from tunesmith.engine.scorer import OnProgress, Reader, Scorer, sums_by_document
from tunesmith.errors import DataError
from tunesmith.recipe import Dataset
from tunesmith.runs.files import storage_errors

INTERRUPTED = 130
DEFAULT_LENGTH = 4096  # tokens of a row, where the model's context is not shorter


@dataclass(frozen=True)
class Measured:
    """The loss of each row; rows without label tokens are absent."""

    rows: np.ndarray  # ids of stored rows
    losses: np.ndarray  # mean over the label tokens
    tokens: np.ndarray  # label tokens
    truncated: int
    dropped: dict[str, int]

    def write(self, path: Path) -> None:
        """A table that appears when it is complete."""
        write_table({"row": self.rows, "loss": self.losses, "tokens": self.tokens}, path)

    def told(self) -> dict[str, Any]:
        """What is said of it when it is done."""
        return {"rows": len(self.rows), "truncated": self.truncated, "dropped": self.dropped}


def main(arguments: list[str]) -> int:
    """Measure the rows of some files."""
    return run_command("score", arguments, score_files)


class Found(Protocol):
    """What a command of this sort finds of the rows."""

    def write(self, path: Path) -> None: ...

    def told(self) -> dict[str, Any]:
        """What is said of it when it is done."""
        ...


def run_command(command: str, arguments: list[str], measure: Callable[..., Found]) -> int:
    """Read the options of a command that measures rows with a model, and do what they say."""
    options = _options(command, arguments)
    try:
        found = measure(
            options.target,
            options.data,
            adapter=options.adapter,
            device=options.device,
            max_length=options.max_length,
            on_progress=_tell,
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    found.write(options.out)
    _write({"kind": "done", **found.told()})
    return 0


def _options(command: str, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"tunesmith.engine {command}")
    parser.add_argument("target", help="a run, a model folder, `starter` or a hub id")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files of rows")
    parser.add_argument("--out", type=Path, required=True, help="Parquet")
    parser.add_argument("--adapter", help="an adapter to put on the model")
    parser.add_argument("--max-length", type=int, help="most tokens of a row; the rest is cut")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    return parser.parse_args(arguments)


def score_files(
    target: str,
    files: list[Path],
    *,
    adapter: str | None = None,
    device: str = "auto",
    max_length: int | None = None,
    on_progress: OnProgress,
) -> Measured:
    """Load a model and measure all rows with it."""
    report = downloading(on_progress)
    answerer = load_for_inference(target, adapter=adapter, device=device, on_progress=report)
    limit = limit_of(answerer.model.config, max_length)
    with tempfile.TemporaryDirectory(prefix="tunesmith-score-") as folder:
        table = tokenise(
            files, answerer.renderer, Fit(limit, "truncate"), Path(folder), on_progress
        )
        return measure(answerer.model, table, answerer.device, on_progress)


def downloading(on_progress: OnProgress) -> Callable[[int, int, str], None]:
    """What a download of a model tells, as progress of this command."""

    def tell(done: int, total: int, unit: str) -> None:
        on_progress("download" if unit == "bytes" else "Downloading files", done, total)

    return tell


def write_table(columns: dict[str, np.ndarray], path: Path) -> None:
    """A Parquet file that appears when it is complete."""
    with storage_errors(path):
        temporary = path.with_suffix(".tmp")
        pq.write_table(pa.table(columns), temporary)
        temporary.replace(path)


def limit_of(config: Any, max_length: int | None) -> int:
    """Most tokens of a row: what is wanted, as far as the model has positions for them."""
    limits = (max_length or DEFAULT_LENGTH, context_length(config), exact_context(config))
    return min(length for length in limits if length is not None)


def tokenise(
    files: list[Path], renderer: Renderer, fit: Fit, folder: Path, on_progress: OnProgress
) -> TokenTable:
    """The rows as the renderer of training sees them, on disk."""
    sources = [Source(file, file.name, 0, Dataset(dataset=file.name), None) for file in files]
    with TableWriter(folder) as writer:
        Tokeniser(renderer, fit, writer, on_progress).run(sources)
    return TokenTable.open(folder)


def measure(
    model: Any, table: TokenTable, device: torch.device, on_progress: OnProgress
) -> Measured:
    """The mean loss of every row over its label tokens; parts of one row count together."""
    dropped = dropped_of(table)
    if not len(table):
        raise nothing_to_score(
            dropped,
            "Rows with one answer, or plain texts, can be scored; `tunesmith data check` with "
            "--model says more.",
        )
    sums = Scorer(device, _losses_by(Reader.of(model)), 1).run(table, on_progress)[:, 0]
    numbers, first = np.unique(table.lines, return_inverse=True)
    tokens = np.bincount(first, table.label_counts)
    return Measured(
        rows=numbers,
        losses=np.bincount(first, sums) / np.maximum(tokens, 1),
        tokens=tokens.astype(np.int64),
        truncated=int((table.full_lengths > table.lengths).sum()),
        dropped=dropped,
    )


def dropped_of(table: TokenTable) -> dict[str, int]:
    """Rows that could not be used, by reason."""
    dropped: Counter[str] = Counter()
    for tally in table.about["tallies"]:
        dropped.update({reason: lines["count"] for reason, lines in tally["dropped"].items()})
    return dict(dropped)


def nothing_to_score(dropped: dict[str, int], hint: str) -> DataError:
    told = ", ".join(f"{reason} {count:,}" for reason, count in dropped.items())
    return DataError(
        f"None of the rows has a token to score: {told or 'there are none'}.",
        hint=hint,
        code="no_trainable_rows",
    )


def _losses_by(reader: Reader) -> Callable[[FlatBatch], Tensor]:
    """Sums of the losses of the label tokens of each row."""

    def losses(batch: FlatBatch) -> Tensor:
        sources_ND = reader.hidden(batch)[batch.sources_N]
        _, scores = language_loss(sources_ND, batch.labels_N, reader.head, num_targets=1)
        return sums_by_document(scores.loss_N, batch)[:, None]

    return losses


def _tell(kind: str, done: int, total: int) -> None:
    _write({"kind": kind, "done": done, "total": total})


def _write(fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()
