"""Names with brackets in queries and forms."""

from __future__ import annotations

import pytest

from tunesmith.api.routes.openai.queries import nested
from tunesmith.errors import InputError


def test_brackets_become_objects_and_lists() -> None:
    pairs = [("a[b]", "1"), ("a[c][d]", "2"), ("x[]", "3"), ("x[]", "4"), ("plain", "5")]
    assert nested(pairs) == {
        "a": {"b": "1", "c": {"d": "2"}},
        "x": ["3", "4"],
        "plain": "5",
    }


def test_names_that_are_no_brackets_stay_as_they_are() -> None:
    assert nested([("a]b[", "1"), ("", "2"), ("[x]", "3")]) == {"a]b[": "1", "": "2", "[x]": "3"}


@pytest.mark.parametrize(
    "pairs",
    [
        [("a", "1"), ("a[b]", "2")],
        [("a[b]", "1"), ("a", "2")],
        [("a[]", "1"), ("a[b]", "2")],
        [("a[b]", "1"), ("a[]", "2")],
        [("a[b][c][d][e][f]", "1")],
    ],
)
def test_contradictions_are_told(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(InputError) as refused:
        nested(pairs)
    assert refused.value.details["param"] == pairs[-1][0]
