"""Work in a thread that is one item ahead; processes are tested with what uses them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tunesmith.data.pool import one_ahead


def test_a_thread_works_one_item_ahead_and_results_keep_their_order() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            taken.append(number)
            yield number

    results = one_ahead(lambda number: number * number, items())
    assert next(results) == 0
    assert taken == [0, 1]
    assert list(results) == [1, 4, 9, 16]


def test_an_error_in_the_thread_reaches_whoever_takes_the_results() -> None:
    results = one_ahead(lambda number: 1 // number, [1, 0, 2])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
