"""Rows laid behind each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tunesmith.engine.batch import flat_batch

Build = Callable[..., Any]
CPU = torch.device("cpu")


def test_the_documented_example(table_of: Build) -> None:
    """[a b c] and [d e], supervised: B, C, E."""
    table = table_of([3, 2])
    table = replace(
        table,
        ids=np.array([10, 11, 12, 20, 21], dtype=np.uint32),
        targets=np.array([0, 1, 1, 0, 1], dtype=np.uint8),
    )
    batch = flat_batch(table, [0, 1], CPU)
    assert batch.ids_T.tolist() == [10, 11, 12, 20, 21]
    assert batch.positions_T.tolist() == [0, 1, 2, 0, 1]
    assert batch.documents.borders == (0, 3, 5)
    assert batch.sources_N.tolist() == [0, 1, 3]
    assert batch.labels_N.tolist() == [11, 12, 21]
    assert batch.row_of_N.tolist() == [0, 0, 1]
    assert (batch.num_tokens, batch.num_targets) == (5, 3)


def test_rows_come_in_the_order_asked_for_and_may_come_twice(table_of: Build) -> None:
    table = table_of([3, 2])
    batch = flat_batch(table, [1, 0, 1], CPU)
    assert batch.documents.borders == (0, 2, 5, 7)
    assert batch.rows == (1, 0, 1)
    assert batch.ids_T[:2].tolist() == batch.ids_T[5:].tolist() == table.row(1)[0].tolist()


def test_the_first_token_of_a_row_is_never_a_label(table_of: Build) -> None:
    """Otherwise the last token of the row before would be asked to predict it."""
    table = table_of([2, 2])
    table = replace(table, targets=np.ones(4, dtype=np.uint8))
    assert flat_batch(table, [0, 1], CPU).sources_N.tolist() == [0, 2]
