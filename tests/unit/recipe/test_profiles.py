"""Profiles and presets: the numbers of ACCEPTANCE, exactly."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.errors import RecipeError
from tunesmith.recipe import (
    PRESETS,
    PROFILES,
    Recipe,
    loads,
    parse_recipe,
    preset_changes,
    profile_fields,
)
from tunesmith.recipe.load import values_at

BASE: dict[str, Any] = {"model": "starter", "data": {"train": ["a.jsonl"]}}


def value(recipe: Recipe, path: str) -> Any:
    ((_, found),) = values_at(recipe, path)
    return found


def refused(mapping: dict[str, Any]) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(mapping)
    return [problem["path"] for problem in caught.value.details["problems"]]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (
            "pangu-full",
            {
                "adapter.kind": "full",
                "training.batch_size": 8,
                "training.epochs": 1,
                "training.learning_rate": 1e-4,
                "training.optimizer.kind": "adamw",
                "training.schedule.min_ratio": 1e-5,
                "training.schedule.warmup_ratio": 0.1,
                "training.checkpoint.every_steps": 1000,
            },
        ),
        (
            "pangu-lora",
            {
                "adapter.kind": "lora",
                "adapter.rank": 8,
                "training.epochs": 4,
                "training.learning_rate": 1e-4,
                "training.optimizer.kind": "adamw",
                "training.schedule.min_ratio": 0.1,
                "training.schedule.warmup_ratio": 0.01,
            },
        ),
        (
            "llamafactory",
            {
                "adapter.rank": 8,
                "training.learning_rate": 5e-5,
                "training.epochs": 3.0,
                "training.max_grad_norm": 1.0,
                "training.batch_size": 16,
                "data.max_length": 1024,
                "data.train.0.max_samples": 100000,
                "data.validation.kind": "none",
                "training.schedule.kind": "cosine",
            },
        ),
        (
            "default",
            {
                "adapter.rank": 16,
                "data.train.0.max_samples": None,
                "data.validation.fraction": 0.1,
            },
        ),
        ("qianfan", {"training.schedule.kind": "cosine", "adapter.kind": "lora"}),
        ("gallery", {"training.max_grad_norm": 1.0, "adapter.kind": "lora"}),
    ],
)
def test_each_profile_has_its_defaults(profile: str, expected: dict[str, Any]) -> None:
    """D1-D13, D16, D23-D29, C14, C16, C17, H12, H16."""
    rank = {"rank": 8} if profile == "pangu-lora" else {}
    recipe = parse_recipe({**BASE, "profile": profile, **rank})
    assert {path: value(recipe, path) for path in expected} == expected
    assert recipe.profile == profile


@pytest.mark.parametrize("profile", ["pangu-full", "pangu-lora"])
@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("epochs", (1, 50), (0.5, 51)),
        ("learning_rate", (0, 1), (-0.1, 1.1)),
        ("min_ratio", (0, 1), (-0.1, 1.1)),
        ("warmup_ratio", (0, 1), (-0.1, 1.1)),
        ("save_steps", (1000, 1010, 2000), (990, 1005, 2010)),
        ("batch_size", (1, 512), (0,)),
        ("optim", ("adamw",), ("adafactor",)),
        ("fraction", (0.01, 0.5), (0.001, 0.6)),
        ("max_rows", (1, 100), (101,)),
    ],
)
def test_the_pangu_profiles_keep_their_ranges(
    profile: str, name: str, inside: tuple[Any, ...], outside: tuple[Any, ...]
) -> None:
    """C11, C12, D1-D7, D9-D13, H5, H9."""
    rank = {"rank": 8} if profile == "pangu-lora" else {}
    for good in inside:
        parse_recipe({**BASE, "profile": profile, **rank, name: good})
    for bad in outside:
        assert refused({**BASE, "profile": profile, **rank, name: bad})


def test_other_profiles_take_any_number_of_save_steps() -> None:
    """H9."""
    for profile in PROFILES.keys() - {"pangu-full", "pangu-lora"}:
        assert parse_recipe({**BASE, "profile": profile, "save_steps": 7})


def test_the_rank_of_pangu_has_no_default_and_four_values() -> None:
    """D8, H12."""
    assert refused({**BASE, "profile": "pangu-lora"}) == ["adapter.rank"]
    assert refused({**BASE, "profile": "pangu-lora", "LoRA秩": 12}) == ["adapter.rank"]
    for rank in (8, 16, 32, 64):
        parse_recipe({**BASE, "profile": "pangu-lora", "LoRA秩": rank})


def test_a_pangu_profile_keeps_its_method() -> None:
    assert refused({**BASE, "profile": "pangu-full", "lora_rank": 8}) == ["adapter.kind"]
    assert "adapter.kind" in refused({**BASE, "profile": "pangu-lora", "adapter": "full"})


PRESET_ROWS = [
    ("pangu-n2-basic", 8, 4, 7.5e-5, 0.067, 0.01),
    ("pangu-n2-nl2sql", 8, 4, 1e-5, 0.067, 0.013),
    ("pangu-n2-nl2json", 8, 3, 7.5e-5, 0.01, 0.01),
    ("pangu-n2-nl2code", 8, 4, 1e-5, 0.067, 0.013),
    ("pangu-n4-basic", 8, 6, 3e-6, 0.01, 0.05),
]


@pytest.mark.parametrize(("name", "batch", "epochs", "rate", "decay", "warmup"), PRESET_ROWS)
def test_the_pangu_presets_fill_exactly_their_values(
    name: str, batch: int, epochs: float, rate: float, decay: float, warmup: float
) -> None:
    """D37, D38, D39, D40, D41."""
    recipe = parse_recipe({**BASE, "preset": name})
    training = recipe.training
    assert recipe.adapter.kind == "full"
    assert (training.batch_size, training.epochs, training.learning_rate) == (batch, epochs, rate)
    assert (training.schedule.min_ratio, training.schedule.warmup_ratio) == (decay, warmup)
    assert training.optimizer.kind == "adamw"
    assert training.checkpoint.every_steps == 1000
    assert recipe.preset == name
    assert preset_changes(recipe) == []


def test_only_the_n4_preset_sets_the_save_steps_itself() -> None:
    """D41."""
    setting = [name for name, preset in PRESETS.items() if "save_steps" in preset.values]
    assert setting == ["pangu-n4-basic"]


def test_the_preset_for_a_card_of_24_gb_fills_exactly_its_values() -> None:
    """D42, D43."""
    loaded = loads("model: starter\ndata: [a]\npreset: 24gb-card\n")
    recipe = loaded.recipe
    assert recipe.training.batch_size == 16
    assert PRESETS["24gb-card"].values["per_device_train_batch_size"] == 8
    assert PRESETS["24gb-card"].values["gradient_accumulation_steps"] == 2
    assert (recipe.training.epochs, recipe.training.learning_rate) == (3.0, 5e-5)
    assert recipe.training.max_grad_norm == 1.0
    assert recipe.training.schedule.kind == "cosine"
    assert recipe.data.train[0].max_samples == 100000
    assert recipe.data.max_length == 1024
    assert value(recipe, "data.validation.fraction") == 0.1
    assert recipe.model.dtype == "float16"
    notices = {notice.code: notice.message for notice in loaded.notices}
    assert notices["minimum_hardware"].endswith(
        "RAM of at least 32 GB, one V100 GPU, at least 24 GB of GPU memory."
    )
    assert preset_changes(recipe) == []


def test_the_basic_scenarios_are_named() -> None:
    """D37, D41."""
    for name in ("pangu-n2-basic", "pangu-n4-basic"):
        for scenario in ("text analysis", "translation", "knowledge QA", "summarising", "chat"):
            assert scenario in PRESETS[name].en


def test_a_value_that_differs_from_the_preset_is_marked() -> None:
    """D37-D42."""
    recipe = parse_recipe({**BASE, "preset": "24gb-card", "cutoff_len": 512, "val_size": 0})
    changed = {change.path: (change.preset, change.value) for change in preset_changes(recipe)}
    assert changed == {
        "data.max_length": (1024, 512),
        "data.validation.fraction": (0.1, None),
    }
    recipe = parse_recipe({**BASE, "preset": "24gb-card", "max_samples": 5})
    assert [change.path for change in preset_changes(recipe)] == ["data.train.0.max_samples"]
    assert preset_changes(parse_recipe(BASE)) == []


def test_a_preset_works_on_top_of_another_profile() -> None:
    recipe = parse_recipe(
        {**BASE, "preset": "pangu-n2-nl2sql", "profile": "default", "lora_rank": 12}
    )
    assert recipe.adapter.kind == "lora"
    assert recipe.training.checkpoint.every_steps == 100
    assert [change.path for change in preset_changes(recipe)] == ["adapter.kind"]


def test_a_factor_written_over_a_preset_changes_only_that_factor() -> None:
    recipe = parse_recipe({**BASE, "preset": "24gb-card", "per_device_train_batch_size": 4})
    assert recipe.training.batch_size == 8
    recipe = parse_recipe({**BASE, "preset": "24gb-card", "batch_size": 6})
    assert recipe.training.batch_size == 6


@pytest.mark.parametrize(("key", "near"), [("profile", "pangu-lora"), ("preset", "24gb-card")])
def test_an_unknown_profile_or_preset_names_the_nearest(key: str, near: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**BASE, key: near[:-2]})
    assert f"Did you mean {near}?" in str(caught.value)


def test_the_fields_of_a_profile_show_its_defaults_and_ranges() -> None:
    fields = {field.doc.path: field for field in profile_fields("pangu-lora")}
    assert fields["adapter.rank"].doc.required
    assert fields["adapter.rank"].takes() == "one of 8, 16, 32, 64"
    assert fields["training.epochs"].doc.default == 4
    steps = fields["training.checkpoint.every_steps"]
    assert steps.takes() == "a multiple of 10 from 1000 to 2000"
    assert steps.takes("zh") == "10 的倍数，1000 到 2000"
    with pytest.raises(RecipeError, match="no profile"):
        profile_fields("none")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_defaults_of_every_profile_keep_its_own_ranges(profile: str) -> None:
    for field in profile_fields(profile):
        if field.rule and not field.doc.required and field.doc.path != "data.validation.max_rows":
            assert field.rule.allows(field.doc.default), field.doc.path
