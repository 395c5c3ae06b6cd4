"""What "auto" comes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.server.services.openai.auto import (
    Numbers,
    Recommended,
    batch_size,
    decide,
    num_epochs,
)

AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}


@pytest.mark.parametrize(
    ("rows", "epochs"),
    [(1, 25), (4, 25), (5, 20), (10, 10), (33, 3), (34, 3), (8333, 3), (8334, 2), (25_001, 1)],
)
def test_epochs_follow_the_rows(rows: int, epochs: int) -> None:
    assert num_epochs(rows) == epochs


@given(st.integers(1, 10**7))
def test_epochs_stay_within_their_limits(rows: int) -> None:
    assert 1 <= num_epochs(rows) <= 25


@pytest.mark.parametrize(("rows", "size"), [(10, 1), (25, 2), (100, 8), (10_000, 8), (1, 1)])
def test_an_epoch_has_ten_updates_at_least(rows: int, size: int) -> None:
    assert batch_size(rows, 8) == size


def test_what_is_said_is_kept() -> None:
    recommended = Recommended(batch_size=8, learning_rate=1e-4)
    assert decide(AUTO, 100, recommended) == Numbers(3, 8, 1.0)
    said = {"n_epochs": 7, "batch_size": 256, "learning_rate_multiplier": 0.5}
    assert decide(said, 100, recommended) == Numbers(7, 256, 0.5)


def test_the_event_that_states_the_numbers_is_short() -> None:
    told = Numbers(3, 8, 0.1).told()
    assert told == "n_epochs=3, batch_size=8, learning_rate_multiplier=0.1"
