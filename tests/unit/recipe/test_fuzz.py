"""Whatever is written, loading ends with a recipe or a list of problems, never with a crash."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import RecipeError
from tunesmith.recipe import Recipe, catalog, dump_recipe, parse, parse_recipe
from tunesmith.recipe.catalog import names, sections

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5000),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["1e-4", "auto", "full", "lora", "none", "split", "fp16", "pt", "24gb-card"]),
)
KEYS = st.one_of(
    st.sampled_from([*names(""), *catalog(), *sections()["training"], "data.train.0.format"]),
    st.text(max_size=6),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
BASE: dict[str, Any] = {"model": "starter", "data": {"train": ["a.jsonl"]}}


def outcome(mapping: dict[str, Any], overrides: list[str]) -> Recipe | RecipeError:
    try:
        return parse(mapping, overrides).recipe
    except RecipeError as error:
        return error


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6), st.booleans())
def test_loading_ends_with_a_recipe_or_with_problems(mapping: dict[str, Any], base: bool) -> None:
    found = outcome({**(BASE if base else {}), **mapping}, [])
    if isinstance(found, RecipeError):
        assert found.details["problems"]
    else:
        assert parse_recipe(yaml.safe_load(dump_recipe(found))) == found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.builds("{}={}".format, KEYS, SCALARS), max_size=4))
def test_overrides_end_with_a_recipe_or_with_problems(overrides: list[str]) -> None:
    found = outcome(BASE, overrides)
    assert not isinstance(found, RecipeError) or found.message
