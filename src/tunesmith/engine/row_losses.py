"""The mean loss of every row in every epoch, as the model met it: bad rows show here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.data.prepare import TokenTable


class RowLosses:
    """A table [epochs, rows] of float32, NaN where a row was not met."""

    def __init__(self, table: TokenTable, num_epochs: int) -> None:
        self._table = table
        self._losses = np.full((num_epochs, len(table.lengths)), np.nan, dtype=np.float32)

    def record(self, epoch: int, rows: np.ndarray, losses: np.ndarray) -> None:
        """Mean losses of some rows of one step."""
        self._losses[epoch, rows] = losses

    def write(self, path: Path) -> None:
        """One line a met row and epoch (from 1): row, source, line, labels, loss."""
        epochs, rows = np.nonzero(~np.isnan(self._losses))
        names = np.array(self._table.source_names, dtype=object)
        columns = {
            "epoch": (epochs + 1).astype(np.int32),
            "row": rows.astype(np.int64),
            "source": pa.array(names[self._table.sources[rows]], pa.string()),
            "line": self._table.lines[rows],
            "labels": self._table.label_counts[rows],
            "loss": self._losses[epochs, rows],
        }
        temporary = path.with_suffix(".tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), temporary)
        temporary.replace(path)

    def read(self, path: Path) -> None:
        """Take up what an earlier attempt has written."""
        if not path.is_file():
            return
        table = pq.read_table(path, columns=["epoch", "row", "loss"])
        epochs, rows = table["epoch"].to_numpy() - 1, table["row"].to_numpy()
        self._losses[epochs, rows] = table["loss"].to_numpy()
