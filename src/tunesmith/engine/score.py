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
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tunesmith.data.batches import micro_batches
from tunesmith.data.renderer import Renderer
from tunesmith.data.table import TableWriter, TokenTable
from tunesmith.data.tokenise import Fit, Source, Tokeniser
from tunesmith.engine.attention import register_flat_attention
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.batch import flat_batch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.generate import load_for_inference
from tunesmith.engine.head import Head, language_loss
from tunesmith.engine.loop import SMALLEST_MICRO_BATCH, is_out_of_memory
from tunesmith.engine.memory import CPU_MICRO_BATCH, CUDA_MICRO_BATCH
from tunesmith.engine.models import context_length, exact_context
from tunesmith.errors import DataError, RunFailed
from tunesmith.recipe import Dataset
from tunesmith.runs.files import storage_errors

INTERRUPTED = 130
ROWS_AT_ONCE = 1024  # that are packed together; long ones then lie with short ones
DEFAULT_LENGTH = 4096  # tokens of a row, where the model's context is not shorter
OnProgress = Callable[[str, int, int], None]


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
        columns = {"row": self.rows, "loss": self.losses, "tokens": self.tokens}
        with storage_errors(path):
            temporary = path.with_suffix(".tmp")
            pq.write_table(pa.table(columns), temporary)
            temporary.replace(path)


def main(arguments: list[str]) -> int:
    """Measure the rows of some files."""
    options = _parse(arguments)
    try:
        measured = score_files(
            options.target,
            options.data,
            adapter=options.adapter,
            device=options.device,
            max_length=options.max_length,
            on_progress=_tell,
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    measured.write(options.out)
    facts = {"truncated": measured.truncated, "dropped": measured.dropped}
    _write({"kind": "done", "rows": len(measured.rows), **facts})
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tunesmith.engine score")
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

    def on_download(done: int, total: int, unit: str) -> None:
        on_progress("download" if unit == "bytes" else "Downloading files", done, total)

    answerer = load_for_inference(target, adapter=adapter, device=device, on_progress=on_download)
    config = answerer.model.config
    limits = (max_length or DEFAULT_LENGTH, context_length(config), exact_context(config))
    limit = min(length for length in limits if length is not None)
    with tempfile.TemporaryDirectory(prefix="tunesmith-score-") as folder:
        table = tokenise(files, answerer.renderer, limit, Path(folder), on_progress)
        return measure(answerer.model, table, answerer.device, on_progress)


def tokenise(
    files: list[Path], renderer: Renderer, limit: int, folder: Path, on_progress: OnProgress
) -> TokenTable:
    """The rows as the renderer of training sees them, on disk."""
    sources = [Source(file, file.name, 0, Dataset(dataset=file.name), None) for file in files]
    with TableWriter(folder) as writer:
        Tokeniser(renderer, Fit(limit, "truncate"), writer, on_progress).run(sources)
    return TokenTable.open(folder)


@torch.no_grad()
def measure(
    model: Any, table: TokenTable, device: torch.device, on_progress: OnProgress
) -> Measured:
    """The mean loss of every row over its label tokens; parts of one row count together."""
    dropped: Counter[str] = Counter()
    for tally in table.about["tallies"]:
        dropped.update({reason: lines["count"] for reason, lines in tally["dropped"].items()})
    if not len(table):
        told = ", ".join(f"{reason} {count:,}" for reason, count in dropped.items())
        raise DataError(
            f"None of the rows has a token to score: {told or 'there are none'}.",
            hint="Rows with one answer, or plain texts, can be scored; `tunesmith data check` with "
            "--model says more.",
            code="no_trainable_rows",
        )
    scorer = _Scorer(model, device)
    sums = np.zeros(len(table), np.float64)
    for start in range(0, len(table), ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, len(table)))
        scorer.add(table, rows, sums)
        on_progress("Scoring", int(rows[-1]) + 1, len(table))
    numbers, first = np.unique(table.lines, return_inverse=True)
    tokens = np.bincount(first, table.label_counts)
    return Measured(
        rows=numbers,
        losses=np.bincount(first, sums) / np.maximum(tokens, 1),
        tokens=tokens.astype(np.int64),
        truncated=int((table.full_lengths > table.lengths).sum()),
        dropped=dict(dropped),
    )


class _Scorer:
    """A model without gradients, on the flat layout of training."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._device = device
        self._budget = CUDA_MICRO_BATCH if device.type == "cuda" else CPU_MICRO_BATCH
        attention = "eager" if _needs_eager(model) else "flat"
        model.set_attn_implementation(
            register_flat_attention() if attention == "flat" else attention
        )
        model.requires_grad_(False)
        self._backbone: Backbone = build_backbone(model, attention=attention)
        self._backbone.refresh()
        self._head = Head.of(model)

    def add(self, table: TokenTable, rows: np.ndarray, sums: np.ndarray) -> None:
        """Add the losses of some rows to their sums; half the micro-batch if memory is short."""
        for group in micro_batches(rows, table.lengths, self._budget):
            try:
                sums[group] = self._losses(table, group)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(table, group, error)
                self.add(table, group, sums)

    def _losses(self, table: TokenTable, rows: np.ndarray) -> np.ndarray:
        batch = flat_batch(table, rows.tolist(), self._device)
        hidden_TD = self._backbone(batch.ids_T, batch.positions_T, batch.documents)
        sources_ND = hidden_TD[batch.sources_N]
        _, scores = language_loss(sources_ND, batch.labels_N, self._head, num_targets=1)
        found = np.zeros(len(rows), np.float64)
        np.add.at(found, batch.row_of_N.cpu().numpy(), scores.loss_N.double().cpu().numpy())
        return found

    def _shrink(self, table: TokenTable, rows: np.ndarray, error: RuntimeError) -> None:
        if len(rows) == 1 or self._budget <= SMALLEST_MICRO_BATCH:
            raise RunFailed(
                f"Out of memory on a row of {int(table.lengths[rows].max())} tokens.",
                hint="Lower --max-length, or take a smaller model.",
                code="out_of_memory",
            ) from error
        self._budget = max(SMALLEST_MICRO_BATCH, int(table.lengths[rows].sum()) // 2)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _needs_eager(model: Any) -> bool:
    """Families with capped scores or attention sinks, which flat attention does not compute."""
    config = model.config.get_text_config()
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    return capped or config.model_type == "gpt_oss"


def _tell(kind: str, done: int, total: int) -> None:
    _write({"kind": kind, "done": done, "total": total})


def _write(fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()
