"""The record of every row's loss in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tunesmith.engine.row_losses import RowLosses

Build = Callable[..., Any]


def test_every_met_row_is_a_line_with_its_place(table_of: Build, tmp_path: Path) -> None:
    table = table_of([5, 9, 3, 4])
    losses = RowLosses(table, 2)
    losses.record(0, np.array([2, 0]), np.array([0.5, 1.5], dtype=np.float32))
    losses.record(1, np.array([1]), np.array([2.5], dtype=np.float32))
    losses.write(tmp_path / "data" / "row_losses.parquet")
    assert pq.read_table(tmp_path / "data" / "row_losses.parquet").to_pylist() == [
        {"epoch": 1, "row": 0, "source": "rows.jsonl", "line": 1, "labels": 3, "loss": 1.5},
        {"epoch": 1, "row": 2, "source": "rows.jsonl", "line": 3, "labels": 2, "loss": 0.5},
        {"epoch": 2, "row": 1, "source": "rows.jsonl", "line": 2, "labels": 5, "loss": 2.5},
    ]
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["row_losses.parquet"]


def test_a_later_attempt_goes_on_with_the_record(table_of: Build, tmp_path: Path) -> None:
    table, file = table_of([5, 9]), tmp_path / "row_losses.parquet"
    first = RowLosses(table, 1)
    first.record(0, np.array([0, 1]), np.array([1.0, 2.0], dtype=np.float32))
    first.write(file)
    second = RowLosses(table, 1)
    second.read(file)
    second.record(0, np.array([1]), np.array([3.0], dtype=np.float32))
    second.write(file)
    assert pq.read_table(file)["loss"].to_pylist() == [1.0, 3.0]
    third = RowLosses(table, 1)
    third.read(tmp_path / "absent.parquet")
    third.write(file)
    assert pq.read_table(file).num_rows == 0


def test_the_record_costs_next_to_nothing(table_of: Build) -> None:
    losses = RowLosses(table_of([2] * 50), 3)
    assert losses._losses.nbytes == pytest.approx(3 * 50 * 4)
