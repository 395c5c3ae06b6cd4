"""One set of rules for recipes, tables and documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import RecipeError
from tunesmith.recipe import parse_recipe
from tunesmith.recipe.adapters import ADAPTERS
from tunesmith.recipe.capabilities import Choice, refusal
from tunesmith.recipe.catalog import variants
from tunesmith.recipe.matrix import PAGES, Page, matrix

DOCS = Path(__file__).parents[3] / "docs"
MINIMAL = {"model": "starter", "data": {"train": "rows.jsonl"}}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_the_tables_in_docs_are_those_of_the_rules(page: Page) -> None:
    written = (DOCS / page.file).read_text(encoding="utf-8")
    assert written == matrix(page), "run `python -m tunesmith.recipe.matrix`"


def test_a_recipe_is_refused_for_the_reason_that_the_table_gives() -> None:
    why = refusal(Choice(method="lora", optimizer="galore"))
    assert why is not None
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, "optimizer": "galore", "finetuning_type": "lora"})
    problem = caught.value.details["problems"][0]
    assert (problem["code"], problem["hint"]) == (why.code, why.hint)
    assert refusal(Choice(method="full", optimizer="galore")) is None
    parse_recipe({**MINIMAL, "optimizer": "galore", "finetuning_type": "full"})


@pytest.mark.parametrize(
    ("adapter", "code"),
    [
        ({"kind": "freeze", "layers": 0}, "nothing_trained"),
        ({"kind": "adapter", "layers": -2}, "last_layers_alone"),
        ({"kind": "lora", "rank_pattern": ["q_proj=8", "k_proj"]}, "not_a_pattern"),
        ({"kind": "lora", "alpha_pattern": "q_proj=0"}, "not_a_pattern"),
        ({"kind": "lora", "init": "pissa", "continue_from": "run"}, "continued_has_its_start"),
    ],
)
def test_settings_of_a_method_that_cannot_be_are_refused(
    adapter: dict[str, object], code: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, "adapter": adapter})
    assert [each["code"] for each in caught.value.details["problems"]] == [code]


@pytest.mark.parametrize(
    ("optimizer", "code"),
    [("muon", "muon_needs_matrices"), ("galore", "projection_of_adapters")],
)
@pytest.mark.parametrize("method", ["oft", "adapter"])
def test_an_optimizer_of_matrices_does_not_go_with_rotations_or_vectors(
    method: str, optimizer: str, code: str
) -> None:
    found = refusal(Choice(method=method, optimizer=optimizer))
    assert found is not None
    assert found.code == code
    assert "adamw" in found.hint


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"adapter": {"kind": "full"}}, "quantised_needs_lora"),
        ({"adapter": {"kind": "freeze"}}, "quantised_needs_lora"),
        ({"adapter": {"kind": "expand"}}, "quantised_needs_lora"),
        ({"adapter": {"kind": "lora", "init": "pissa"}}, "quantised_pissa"),
        ({"adapter": {"kind": "lora"}, "training": {"device": "mps"}}, "quantised_not_on_mps"),
    ],
)
def test_what_a_quantised_base_does_not_go_with_is_refused(
    kind: str, changes: dict[str, object], code: str
) -> None:
    model = {"base": "starter", "quantization": kind}
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, "model": model, **changes})
    assert [each["code"] for each in caught.value.details["problems"]] == [code]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"adapter": {"kind": "lora"}, "dtype": "bfloat16"}, "adapters_are_exact"),
        ({"adapter": {"kind": "prompt"}, "dtype": "bfloat16"}, "adapters_are_exact"),
        ({"adapter": {"kind": "full"}, "dtype": "float16"}, "rounding_of_bfloat16"),
        ({"adapter": {"kind": "full"}}, "rounding_of_bfloat16"),
        (
            {"adapter": {"kind": "full"}, "dtype": "bfloat16", "optimizer": "muon"},
            "optimizer_needs_masters",
        ),
    ],
)
def test_weights_without_exact_copies_are_those_of_bfloat16(
    changes: dict[str, object], code: str
) -> None:
    dtype = changes.pop("dtype", "auto")
    training = {"master_weights": False, "optimizer": {"kind": changes.pop("optimizer", "adamw")}}
    told = {"model": {"base": "starter", "dtype": dtype}, "training": training, **changes}
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, **told})
    assert [each["code"] for each in caught.value.details["problems"]] == [code]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"adapter": {"kind": "lora"}}, "blocks_of_all_weights"),
        ({"adapter": {"kind": "freeze"}}, "blocks_of_all_weights"),
        ({"stage": {"kind": "rm"}}, "blocks_without_score"),
        ({"model": {"base": "starter", "new_tokens": "<a>"}}, "blocks_without_words"),
    ],
)
def test_layers_that_learn_in_turn_are_all_that_learns(
    changes: dict[str, object], code: str
) -> None:
    training = {"optimizer": {"kind": "badam"}}
    told = {"adapter": {"kind": "full"}, "training": training, **changes}
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, **told})
    assert [each["code"] for each in caught.value.details["problems"]] == [code]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"adapter": {"kind": "lora"}}, "gradients_are_small"),
        ({"adapter": {"kind": "prefix"}}, "gradients_are_small"),
        ({"adapter": {"kind": "adapter"}}, "gradients_are_small"),
        ({"stage": {"kind": "dpo"}}, "updates_of_another_stage"),
        ({"training": {"max_grad_norm": 0.5}}, "norm_known_too_late"),
        ({"training": {"optimizer": {"kind": "muon"}}}, "optimizer_not_by_layer"),
        ({"training": {"optimizer": {"kind": "badam"}}}, "optimizer_not_by_layer"),
        ({"model": {"base": "starter", "dtype": "float16"}}, "updates_not_taken_back"),
        ({"model": {"base": "starter", "attention": "sdpa"}}, "layers_passed_again"),
    ],
)
def test_what_updates_in_backward_do_not_go_with_is_refused(
    changes: dict[str, dict[str, object]], code: str
) -> None:
    training = {"update_in_backward": True, "max_grad_norm": 0, **changes.get("training", {})}
    told = {"adapter": {"kind": "full"}, **changes, "training": training}
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, **told})
    (problem,) = caught.value.details["problems"]
    assert problem["code"] == code
    assert "training.update_in_backward" in problem["message"]


@pytest.mark.parametrize("method", ["full", "freeze", "expand"])
@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit"])
@pytest.mark.parametrize("stage", ["sft", "pt"])
def test_updates_in_backward_go_with_the_weights_themselves(
    method: str, optimizer: str, stage: str
) -> None:
    training = {"optimizer_in_bwd": True, "max_grad_norm": 0, "optimizer": optimizer}
    recipe = parse_recipe({**MINIMAL, "adapter": method, "stage": stage, **training})
    assert recipe.training.update_in_backward


LORA = {"kind": "lora"}


@pytest.mark.parametrize(
    ("words", "adapter", "code"),
    [
        ({"new_tokens": ["a", "a"]}, LORA, "not_a_token"),
        ({"new_tokens": ["  "]}, LORA, "not_a_token"),
        ({"new_special_tokens": ["x" * 201]}, LORA, "not_a_token"),
        ({"new_tokens": "<a>, <b>", "new_special_tokens": "<b>"}, LORA, "token_in_both"),
        *(
            ({"new_tokens": "<a>"}, {"kind": kind}, "tokens_not_trained")
            for kind in ("expand", "oft", "prompt", "p_tuning", "prefix", "adapter")
        ),
        ({"new_special_tokens": "<a>"}, {"kind": "freeze"}, "tokens_stay_frozen"),
        ({"new_tokens": "<a>"}, {**LORA, "continue_from": "run"}, "tokens_of_old_adapter"),
        (
            {"new_tokens": "<a>"},
            {**LORA, "modules_to_save": ["norm", "model.embed_tokens"]},
            "tokens_in_whole_table",
        ),
    ],
)
def test_new_tokens_that_could_not_be_trained_are_refused(
    words: dict[str, object], adapter: dict[str, object], code: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, "model": {"base": "starter", **words}, "adapter": adapter})
    assert [each["code"] for each in caught.value.details["problems"]] == [code]


def test_new_tokens_go_with_methods_that_train_their_vectors() -> None:
    model = {"base": "starter", "add_tokens": "<a>,<b>", "new_special_tokens": ["<c>"]}
    frozen = {"kind": "freeze", "extra_modules": ["embed_tokens", "lm_head"]}
    for adapter in (LORA, {"kind": "full"}, frozen, {**LORA, "modules_to_save": "norm"}):
        recipe = parse_recipe({**MINIMAL, "model": model, "adapter": adapter})
        assert recipe.model.new_words == {"<a>": False, "<b>": False, "<c>": True}


def test_a_base_that_holds_new_tokens_is_no_reference_when_its_adapter_is_off() -> None:
    stage = {"kind": "dpo", "reference": "adapter_off"}
    model = {"base": "starter", "new_tokens": ["<a>"]}
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, "model": model, "adapter": LORA, "stage": stage})
    problems = caught.value.details["problems"]
    assert [each["code"] for each in problems] == ["reference_needs_new_adapter"]
    assert "new tokens" in problems[0]["message"]


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ({"rope_factor": 4}, "factor_without_scaling"),
        ({"rope_scaling": "yarn", "rope_factor": 1}, "factor_of_one"),
        ({"rope_scaling": "dynamic"}, "dynamic_needs_factor"),
    ],
)
def test_a_scaling_of_positions_and_its_factor_have_to_fit(
    model: dict[str, object], code: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, "model": {"base": "starter", **model}})
    assert [each["code"] for each in caught.value.details["problems"]] == [code]


@pytest.mark.parametrize("method", sorted(ADAPTERS - {"lora"}))
def test_a_scaling_of_positions_is_refused_where_no_file_could_say_it(method: str) -> None:
    told = {"model": {"base": "starter", "rope_scaling": "yarn"}, "adapter": {"kind": method}}
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, **told})
    assert [each["code"] for each in caught.value.details["problems"]] == ["scaling_of_method"]


def test_a_scaling_of_positions_goes_with_a_factor_or_the_length_of_rows() -> None:
    for kind in ("linear", "yarn", "llama3"):
        parse_recipe({**MINIMAL, "model": {"base": "starter", "rope_scaling": kind}})
    model = {"base": "starter", "rope_scaling": "dynamic", "rope_factor": 2.5}
    assert parse_recipe({**MINIMAL, "model": model}).model.rope_factor == 2.5
    parse_recipe({**MINIMAL, "model": {"base": "starter", "rope_factor": 1}})  # as resolved


def test_a_quantised_base_goes_with_every_stage_of_lora() -> None:
    for stage in variants()["stage"]:
        assert refusal(Choice(stage=stage, method="lora", quantization="nf4")) is None


def test_an_adapter_that_begins_inside_the_model_is_no_reference_when_off() -> None:
    for adapter in ({"init": "pissa"}, {"modules_to_save": ["norm"]}):
        stage = {"kind": "dpo", "reference": "adapter_off"}
        with pytest.raises(RecipeError) as caught:
            parse_recipe({**MINIMAL, "adapter": {"kind": "lora", **adapter}, "stage": stage})
        assert caught.value.details["problems"][0]["code"] == "reference_needs_new_adapter"
