"""What is refused before a training starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.engine.conftest import tiny_config

from tunesmith.data.prepare import Prepared
from tunesmith.engine.models import exact_context
from tunesmith.engine.setup import Base, _notices, choose_device, require_exact_rows
from tunesmith.errors import DataError, InputError
from tunesmith.recipe import parse_recipe

DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [2.0] * 4,
    "original_max_position_embeddings": 64,
}


@pytest.mark.parametrize(
    ("family", "rope", "limit"),
    [("llama", None, None), ("llama", DYNAMIC, 512), ("phi3", LONG, 64)],
)
def test_rows_beyond_the_original_context_are_refused_where_neighbours_would_change_them(
    table_of: Callable[..., Any], family: str, rope: dict[str, Any] | None, limit: int | None
) -> None:
    changes: dict[str, Any] = {} if rope is None else {"rope_parameters": rope}
    if family == "phi3":
        changes["original_max_position_embeddings"] = 64
    config = tiny_config(family, **changes)
    assert exact_context(config) == limit
    allowed = limit or 2000

    def prepared(longest: int) -> Prepared:
        table = table_of([5, longest])
        return Prepared(table, np.arange(2), None, {}, "", [])

    require_exact_rows(prepared(allowed), config)
    if limit is not None:
        with pytest.raises(DataError, match=f"The longest row has {limit + 1} tokens"):
            require_exact_rows(prepared(limit + 1), config)


@pytest.mark.parametrize(("shortest", "codes"), [(200, ["length_below_every_row"]), (600, [])])
def test_a_longer_max_length_is_advised_only_where_the_model_takes_it(
    table_of: Callable[..., Any], tmp_path: Path, shortest: int, codes: list[str]
) -> None:
    recipe = parse_recipe({"model": "starter", "data": {"train": ["a.jsonl"], "max_length": 64}})
    config = tiny_config("llama")  # 512 tokens at most
    base = Base(tmp_path, tmp_path, config, torch.float32, torch.device("cpu"))
    prepared = Prepared(table_of([shortest, 900]), np.arange(2), None, {}, "", [])
    assert [notice.code for notice in _notices(recipe, base, prepared)] == codes


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_wrong_input(kind: str) -> None:
    backend = torch.cuda if kind == "cuda" else torch.backends.mps
    if backend.is_available():
        pytest.skip(f"this machine has {kind}")
    with pytest.raises(InputError, match=f"set to {kind}, but torch sees no such") as caught:
        choose_device(kind)
    assert caught.value.exit_code == 2
    assert "auto" in caught.value.hint
