"""The schema itself: every field is documented, frozen and complete."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tunesmith.errors import RecipeError
from tunesmith.recipe import Recipe, catalog, explain, parse_recipe, recipe_json_schema
from tunesmith.recipe.catalog import lookup, sections

MINIMAL = {"model": {"base": "starter"}, "data": {"train": [{"dataset": "a.jsonl"}]}}


@pytest.mark.parametrize("doc", catalog().values(), ids=lambda doc: doc.path)
def test_every_field_has_help_in_both_languages(doc) -> None:
    """D36."""
    assert len(doc.facts.en) > 15
    assert any("\u4e00" <= char <= "\u9fff" for char in doc.facts.zh)
    assert doc.facts.changes in ("result", "speed", "records")


@pytest.mark.parametrize("doc", catalog().values(), ids=lambda doc: doc.path)
def test_every_number_has_a_range(doc) -> None:
    if {"int", "float"} & set(doc.types):
        assert {"ge", "gt"} & dict(doc.bounds).keys()


@pytest.mark.parametrize("doc", catalog().values(), ids=lambda doc: doc.path)
def test_every_alias_leads_to_its_field(doc) -> None:
    for alias in doc.facts.aliases:
        assert doc.path in lookup(doc.section, alias)


def test_a_recipe_is_frozen_and_takes_no_unknown_fields() -> None:
    recipe = parse_recipe(MINIMAL)
    with pytest.raises(ValidationError):
        recipe.training.epochs = 5  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Recipe.model_validate({**MINIMAL, "extra": 1})


def test_the_defaults_are_those_of_the_design() -> None:
    recipe = parse_recipe(MINIMAL)
    assert (recipe.name, recipe.profile, recipe.preset) == ("run", "default", None)
    assert recipe.adapter.model_dump() == {
        "kind": "lora",
        "rank": 16,
        "alpha": 32,
        "dropout": 0.0,
        "targets": "all-linear",
        "loraplus_lr_ratio": 1.0,
        "rslora": False,
        "dora": False,
        "init": "zero",
        "pissa_iterations": 16,
        "loftq_iterations": 5,
        "modules_to_save": [],
        "rank_pattern": [],
        "alpha_pattern": [],
        "continue_from": None,
        "merge_first": [],
    }
    training = recipe.training
    assert (training.epochs, training.batch_size, training.learning_rate) == (3.0, 16, 1e-4)
    assert (training.schedule.kind, training.schedule.warmup_ratio) == ("cosine", 0.1)
    assert training.schedule.min_ratio == 0.1
    assert (training.checkpoint.every_steps, training.checkpoint.keep) == (100, 3)
    assert training.max_grad_norm == 1.0
    assert recipe.data.max_length == 1024
    assert recipe.data.validation.model_dump() == {
        "kind": "split",
        "fraction": 0.1,
        "max_rows": 100,
        "stratify_by": None,
        "group_by": None,
    }


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("fraction=0.009", "data.validation.fraction"),
        ("fraction=0.51", "data.validation.fraction"),
        ("data.train.0.sampling_rate=0.009", "data.train.0.sampling_rate"),
        ("data.train.0.sampling_rate=10.1", "data.train.0.sampling_rate"),
        ("learning_rate=-1", "training.learning_rate"),
        ("learning_rate=1.01", "training.learning_rate"),
        ("learning_rate=.inf", "training.learning_rate"),
        ("learning_rate=.nan", "training.learning_rate"),
        ("keep=1", "training.checkpoint.keep"),
        ("batch_size=0", "training.batch_size"),
        ("batch_size=1.5", "training.batch_size"),
        ("lora_alpha=1.5", "adapter.alpha"),
        ("rank=0", "adapter.rank"),
        ("dropout=1", "adapter.dropout"),
        ("save_steps=1.5", "training.checkpoint.every_steps"),
        ("logging_steps=x", "training.log_every_steps"),
        ("micro_batch_tokens=some", "training.micro_batch_tokens"),
        ("optim=sgd", "training.optimizer.kind"),
        ("epochs=true", "training.epochs"),
        ("max_steps=0", "training.max_steps"),
        ("trust_remote_code=maybe", "model.trust_remote_code"),
    ],
)
def test_values_outside_their_range_are_refused(override: str, path: str) -> None:
    """C9, C11, D31, D32, D33."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(MINIMAL, [override])
    assert [problem["path"] for problem in caught.value.details["problems"]] == [path]


@pytest.mark.parametrize(
    "override",
    ["fraction=0.01", "fraction=0.5", "data.train.0.sampling_rate=0.01", "sampling_rate=10",
     "learning_rate=1", "learning_rate=0", "keep=2", "micro_batch_tokens=auto",
     "micro_batch_tokens=2048", "evaluate_every_steps=7", "loraplus_lr_ratio=16"],
)  # fmt: skip
def test_the_ends_of_a_range_belong_to_it(override: str) -> None:
    """C9, C11, D35."""
    if override.startswith("sampling_rate"):
        override = f"data.train.0.{override}"
    parse_recipe(MINIMAL, [override])


def test_lora_fields_exist_only_for_lora() -> None:
    """D21."""
    lora_only = [doc.path for doc in catalog().values() if doc.kinds == ("lora",)]
    assert {"adapter.rank", "adapter.alpha", "adapter.dropout"} <= set(lora_only)


def test_explain_finds_a_field_under_any_of_its_names() -> None:
    for name in ("training.learning_rate", "learning_rate", "学习率", "LR"):
        assert explain(name).path == "training.learning_rate"
    with pytest.raises(RecipeError, match="no field") as caught:
        explain("lerning_rate")
    assert "learning_rate" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("batch_size", ("faster", "memory", "overfit", "learning rate")),
        ("rank", ("flexible", "memory")),
        ("alpha", ("strongly",)),
        ("dropout", ("overfitting",)),
        ("weight_decay", ("Regularisation", "overfitting")),
        ("keep", ("longer",)),
        ("max_length", ("faster when rows are short", "memory")),
        ("schedule", ("Keep `cosine`",)),
        ("loraplus_lr_ratio", ("8 or 16 recommended", "1-2 %", "2x")),
        ("epochs", ("at most 10", "0.7 to 1.4")),
        ("sampling_rate", ("more attention", "1-5 recommended", "more time and money")),
        ("fraction", ("0.1 recommended",)),
        ("data.validation.kind", ("no part in weight updates",)),
        ("adapter.kind", ("usually the best result", "most memory and time")),
        ("min_ratio", ("lowest learning rate = learning rate x this ratio",)),
    ],
)
def test_the_help_gives_pros_and_cons(name: str, words: tuple[str, ...]) -> None:
    """B3, B7, C9, C14, D1, D5, D8, D16, D18, D19, D21, D22, D24, D29, D35, D36."""
    text = explain(name).facts.en
    for word in words:
        assert word in text


def test_the_json_schema_carries_help_units_and_aliases() -> None:
    rank = recipe_json_schema()["$defs"]["Lora"]["properties"]["rank"]
    assert rank["default"] == 16
    assert rank["minimum"] == 1
    assert rank["description"]
    assert rank["zh"]
    assert "LoRA秩" in rank["aliases"]
    assert rank["changes"] == "result"


def test_every_section_of_the_schema_is_in_the_catalog() -> None:
    assert {"model", "adapter", "stage", "data", "training", "export", "report"} <= set(sections())


def test_tokens_between_checkpoints_are_steps_times_batch_times_length() -> None:
    """D7."""
    recipe = parse_recipe(MINIMAL, ["batch_size=8", "max_length=4096", "save_steps=1000"])
    assert recipe.tokens_per_checkpoint == 1000 * 8 * 4096


def test_a_recipe_made_in_python_is_checked_too() -> None:
    with pytest.raises(ValidationError, match=r"batch_tokens .*max_length"):
        Recipe.model_validate({**MINIMAL, "training": {"batch_tokens": 64}})


def test_a_micro_batch_may_be_smaller_than_the_longest_row_allowed() -> None:
    """A longer row is computed alone; `auto` decides on such sizes too."""
    recipe = Recipe.model_validate({**MINIMAL, "training": {"micro_batch_tokens": 64}})
    assert recipe.training.micro_batch_tokens == 64


def test_help_says_nothing_twice() -> None:
    texts = [doc.facts.en for doc in catalog().values() if not doc.path.startswith("data.")]
    assert len(texts) == len(set(texts))
