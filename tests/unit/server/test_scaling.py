"""On how many devices a job makes sense."""

from __future__ import annotations

import pytest

from tunesmith.errors import InputError
from tunesmith.recipe import parse_recipe
from tunesmith.server.flavours import HostDevices, flavours
from tunesmith.server.services.recipes import ComesTo, comes_to
from tunesmith.server.services.scaling import (
    most_devices,
    refuse_idle_devices,
    scalings,
    sizes_of,
)

KNOWN = flavours(
    [
        HostDevices("a", "h200", "cuda", None, 8, 8),
        HostDevices("b", "local-cpu", "cpu", None, 1, 1),
    ]
)


def job(rows: int | None, **training: int) -> ComesTo:
    data = {"train": ["a.jsonl"], "validation": {"kind": "none"}, "allow_small": True}
    recipe = parse_recipe({"model": "starter", "data": data, "training": training})
    return comes_to(recipe, rows)


def test_the_rows_of_a_step_are_the_most_devices() -> None:
    assert most_devices(job(1000, batch_size=4)) == 4
    assert most_devices(job(3, batch_size=4)) == 3
    assert most_devices(job(None, batch_size=4)) == 4
    assert most_devices(job(2, batch_tokens=4096)) == 2
    assert most_devices(job(None, batch_tokens=4096)) is None


def test_a_flavour_tells_which_numbers_make_sense_and_why_not_more() -> None:
    found = {each.flavour: each for each in scalings(KNOWN, job(1000, batch_size=2))}
    assert found["h200-x2"].is_sensible
    assert not found["h200-x4"].is_sensible
    assert found["h200"].counts == [1, 2]
    why = found["h200"].why
    assert why is not None
    assert (why.code, why.path) == ("few_rows_a_step", "training.batch_size")
    assert "2 rows" in why.message


def test_a_job_with_enough_rows_may_take_every_size() -> None:
    found = {each.flavour: each for each in scalings(KNOWN, job(1000, batch_size=8))}
    assert found["h200"].counts == sizes_of(KNOWN[0], KNOWN) == [1, 2, 4, 8]
    assert found["h200"].why is None
    single = found["local-cpu"].why
    assert single is not None
    assert single.code == "one_size"


def test_few_rows_of_the_whole_training_are_told_as_that() -> None:
    why = scalings(KNOWN, job(3, batch_size=16))[0].why
    assert why is not None
    assert why.code == "few_rows"


def test_devices_without_work_are_refused_and_others_are_not() -> None:
    comes = job(1000, batch_size=2)
    refuse_idle_devices(comes, 2)
    refuse_idle_devices(job(None, batch_tokens=4096), 8)
    with pytest.raises(InputError, match="2 rows") as refused:
        refuse_idle_devices(comes, 4)
    assert refused.value.code == "idle_devices"
    assert "Take 2 at most" in refused.value.hint
