"""Values that suit a model hold where nobody says anything else, and only there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tunesmith.recipe.load import Loaded, examine

OWN: Mapping[str, Any] = {
    "adapter.kind": "full",
    "training.epochs": 6,
    "training.batch_size": 4,
    "training.learning_rate": 2e-3,
}


def read(**sections: Any) -> Loaded:
    recipe = {"model": "small", "data": {"train": ["builtin:shop"]}, **sections}
    loaded = examine(recipe, advised=lambda name: OWN if name == "small" else {})
    assert loaded.problems == ()
    return loaded


def test_a_recipe_that_says_nothing_has_the_values_of_its_model() -> None:
    loaded = read()
    training = loaded.recipe.training
    assert loaded.recipe.adapter.kind == "full"
    assert (training.epochs, training.batch_size, training.learning_rate) == (6, 4, 2e-3)
    assert loaded.origins["training.epochs"] == "model"
    other = read(model="other")
    assert (other.recipe.adapter.kind, other.recipe.training.epochs) == ("lora", 3)


def test_what_is_written_wins_over_the_model() -> None:
    loaded = read(training={"epochs": 2}, adapter={"rank": 8})
    assert (loaded.recipe.training.epochs, loaded.recipe.training.batch_size) == (2, 4)
    assert loaded.recipe.adapter.kind == "lora", "a rank is a field of lora alone"
    assert loaded.origins["training.epochs"] == "given"
    assert read(adapter="lora").recipe.adapter.kind == "lora"
    rows = read(per_device_train_batch_size=2, gradient_accumulation_steps=8)
    assert rows.recipe.training.batch_size == 16
    rate = read(learning_rate_multiplier=0.5)
    assert rate.recipe.training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("section", "batch"),
    [({"profile": "pangu-full"}, 8), ({"profile": "llamafactory"}, 16), ({"stage": "dpo"}, 16)],
)
def test_another_profile_or_training_type_has_its_own(section: Any, batch: int) -> None:
    recipe = read(**section).recipe
    assert recipe.training.batch_size == batch
    assert recipe.training.learning_rate < 2e-3
