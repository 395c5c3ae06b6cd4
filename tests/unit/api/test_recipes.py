"""Recipes over HTTP: the form, presets, all problems at once, what a recipe comes to. D1 to D43."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.training import add_dataset, add_model

from tunesmith.recipe import PRESETS, catalog

RECIPES = "/api/v1/recipes"
SMALL: dict[str, Any] = {"model": "starter", "data": ["builtin:shop"]}


def fields(server: Server, profile: str = "default") -> dict[str, Any]:
    answer = server.viewer.get(f"{RECIPES}/schema", params={"profile": profile})
    assert answer.status_code == 200, answer.text
    return {each["path"]: each for each in answer.json()["fields"]}


def test_the_form_has_every_field_with_help_in_both_languages(server: Server) -> None:
    """D36."""
    found = fields(server)
    assert found.keys() == catalog().keys()
    assert [path for path, each in found.items() if not all(each["help"].values())] == []
    assert {each["group"] for each in found.values()} == {"basic", "advanced"}
    rate = found["training.learning_rate"]
    assert (rate["group"], rate["default"]) == ("basic", 1e-4)
    assert (rate["range"]["ge"], rate["range"]["le"]) == (0, 1)
    assert {"lr", "学习率"} <= set(rate["aliases"])
    assert found["training.micro_batch_tokens"]["changes"] == "speed"
    assert found["data.max_length"]["unit"] == "tokens"
    assert found["model.base"]["required"]


def test_a_profile_has_its_own_defaults_and_ranges(server: Server) -> None:
    """D7 to D13, H12."""
    found = fields(server, "pangu-lora")
    assert found["adapter.rank"]["required"]
    assert found["adapter.rank"]["choices"] == [8, 16, 32, 64]
    assert found["training.epochs"]["default"] == 4
    assert found["training.checkpoint.every_steps"]["range"] == {
        "ge": 1000,
        "gt": None,
        "le": 2000,
        "lt": None,
        "multiple_of": 10,
    }
    odd = server.viewer.get(f"{RECIPES}/schema", params={"profile": "odd"})
    assert odd.status_code == 400
    names = {each["name"] for each in server.viewer.get(f"{RECIPES}/profiles").json()}
    assert {"default", "pangu-full", "pangu-lora", "llamafactory"} <= names


def test_presets_say_exactly_what_they_set(server: Server) -> None:
    """D37 to D43."""
    found = {each["name"]: each for each in server.viewer.get(f"{RECIPES}/presets").json()}
    assert found.keys() == PRESETS.keys()
    assert found["pangu-n4-basic"]["values"] == {
        "adapter.kind": "full",
        "training.batch_size": 8,
        "training.epochs": 6,
        "training.learning_rate": 3e-6,
        "training.optimizer.kind": "adamw",
        "training.schedule.min_ratio": 0.01,
        "training.schedule.warmup_ratio": 0.05,
        "training.checkpoint.every_steps": 1000,
    }
    assert "32 GB" in found["24gb-card"]["notices"][0]["message"]


def validate(server: Server, recipe: Any, **body: Any) -> dict[str, Any]:
    answer = server.viewer.post(f"{RECIPES}/validate", json={"recipe": recipe, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_recipe_that_is_right_comes_back_complete(server: Server) -> None:
    found = validate(server, SMALL | {"epochs": 20})
    assert (found["valid"], found["problems"]) == (True, [])
    assert found["recipe"]["training"]["epochs"] == 20
    assert "many_epochs" in {each["code"] for each in found["notices"]}


def test_all_problems_come_at_once_with_field_and_mend(server: Server) -> None:
    text = "model: starter\ndata: [builtin:shop]\nepochs: 0\nlearning_rte: 1\nrank: x\n"
    found = validate(server, text)
    assert not found["valid"]
    problems = {each["field"]: each for each in found["problems"]}
    assert problems.keys() == {"training.epochs", "learning_rte", "adapter.rank"}
    assert problems["learning_rte"]["line"] == 4
    assert "training.learning_rate" in problems["learning_rte"]["hint"]


def test_wrong_values_unknown_fields_and_names_that_are_not_there_come_in_one_answer(
    server: Server,
) -> None:
    wrong = {
        "model": "no-such-model",
        "data": ["shap", {"dataset": "builtin:shop", "sampling_rate": -1}, {"dataset": "../x"}],
        "epochs": -1,
        "learning_rte": 1e-4,
        "adapter": {"kind": "lora", "continue_from": "model-00000000000000000000000000"},
    }
    asked = {
        "model.base", "data.train.0.dataset", "data.train.1.sampling_rate", "data.train.2.dataset",
        "training.epochs", "learning_rte", "adapter.continue_from",
    }  # fmt: skip
    found = server.viewer.post(f"{RECIPES}/validate", json={"recipe": wrong}).json()
    assert not found["valid"]
    assert {each["field"] for each in found["problems"]} == asked
    for path in ("/api/v1/jobs", "/api/v1/jobs/estimate"):
        refused = server.member.post(path, json={"recipe": wrong})
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert {each["field"] for each in error["details"]["problems"]} == asked
        assert len(error["details"]["problems"]) == len(asked)
    said = server.member.post(
        "/api/v1/jobs", json={"recipe": wrong}, headers={"Accept-Language": "zh"}
    )
    assert "7 处问题" in said.json()["error"]["message"]


def test_what_stands_for_a_wrong_value_is_not_looked_up(server: Server) -> None:
    """A recipe without data or model has two problems, and none about names that nobody wrote."""
    found = server.viewer.post(f"{RECIPES}/validate", json={"recipe": {"epochs": -1}}).json()
    fields = sorted(each["field"] for each in found["problems"])
    assert fields == ["data.train", "model.base", "training.epochs"]


def test_layers_that_the_base_does_not_have_are_named_before_anything_loads(server: Server) -> None:
    wrong = SMALL | {"adapter": {"kind": "lora", "targets": ["q_proj", "query_key_value"]}}
    (only,) = validate(server, wrong)["problems"]
    assert (only["field"], only["code"]) == ("adapter.targets", "no_such_layer")
    assert "query_key_value" in only["message"]
    assert "q_proj" in only["hint"]
    right = SMALL | {"adapter": {"kind": "lora", "targets": ["self_attn.q_proj", "down_proj"]}}
    assert validate(server, right)["valid"]


def test_a_packed_base_takes_adapters_and_refuses_the_rest_with_the_reason(
    server: Server,
) -> None:
    details = {"family": "qwen3", "quantised": "gptq", "context": 512}
    base = add_model(server, "packed", kind="base", source="import", details=details)
    draft: dict[str, Any] = {"model": base, "data": ["builtin:shop"], "max_length": 512}
    (only,) = validate(server, draft | {"adapter": {"kind": "full"}})["problems"]
    assert (only["field"], only["code"]) == ("adapter.kind", "not_on_this_base")
    assert "LoRA" in only["message"]
    assert validate(server, draft | {"adapter": {"kind": "lora"}})["valid"]
    refused = server.member.post("/api/v1/jobs", json={"recipe": draft | {"adapter": "full"}})
    assert refused.status_code == 400
    longer = validate(server, draft | {"adapter": {"kind": "lora"}, "max_length": 1024})
    assert "context_shorter" in {each["code"] for each in longer["notices"]}


@pytest.mark.parametrize(("family", "valid"), [("qwen3", False), ("mistral", True)])
def test_a_method_of_other_families_is_refused_with_the_nearest_that_works(
    server: Server, family: str, valid: bool
) -> None:
    details = {"family": family, "context": 512}
    base = add_model(server, family, kind="base", source="import", details=details)
    draft = SMALL | {"model": base, "adapter": {"kind": "adapter"}, "max_length": 512}
    found = validate(server, draft)
    assert found["valid"] == valid
    if not valid:
        (only,) = found["problems"]
        assert (only["field"], only["code"]) == ("adapter.kind", "not_on_this_base")
        assert "prefix" in only["message"]


@pytest.mark.parametrize("kind", ["prompt", "p_tuning", "prefix", "adapter"])
def test_learned_vectors_are_no_base(server: Server, kind: str) -> None:
    result = add_model(server, f"ft:{kind}", recipe={"adapter": {"kind": kind}})
    (only,) = validate(server, SMALL | {"model": result})["problems"]
    assert (only["field"], only["code"]) == ("model.base", "base_of_vectors")
    assert "starter" in only["hint"]
    assert validate(server, SMALL | {"model": add_model(server, "ft:lora")})["valid"]


def test_names_that_are_not_there_are_problems_too(server: Server, data_dir: Path) -> None:
    add_dataset(server, data_dir, "shop", 120)
    found = validate(server, {"model": "model-none", "data": ["shp", "builtin:odd", "shop@9"]})
    problems = {each["field"]: each["hint"] for each in found["problems"]}
    assert problems.keys() == {
        "model.base",
        "data.train.0.dataset",
        "data.train.1.dataset",
        "data.train.2.dataset",
    }
    assert problems["data.train.0.dataset"] == "Did you mean shop?"
    assert validate(server, {"model": "starter", "data": ["shop"]})["valid"]


@pytest.mark.parametrize("recipe", ["", "[1, 2]", "a: [", "x" * 2000, "&a [*a]", "- !!python/x y"])
def test_what_is_no_recipe_is_a_problem_and_no_error(server: Server, recipe: str) -> None:
    assert not validate(server, recipe)["valid"]


def test_values_have_their_origin_and_changes_of_a_preset_are_marked(server: Server) -> None:
    """D37 to D42: "marks a value the user changed afterwards"."""
    recipe = SMALL | {"preset": "24gb-card", "epochs": 5}
    answer = server.viewer.post(f"{RECIPES}/explain", json={"recipe": recipe})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    values = {each["path"]: each for each in found["values"]}
    assert values["training.epochs"] == {
        "path": "training.epochs",
        "value": 5,
        "origin": "given",
        "preset": 3.0,
        "changed_from_preset": True,
    }
    assert values["training.learning_rate"]["origin"] == "preset"
    assert values["adapter.rank"]["origin"] == "profile"
    assert values["training.seed"]["origin"] == "default"
    assert values["data.train.0.dataset"]["value"] == "builtin:shop"
    comes_to = found["comes_to"]
    assert (comes_to["batch_rows"], comes_to["rows_available"]) == (16, 840)
    assert comes_to["training_rows"] == 840 - 84
    assert comes_to["steps_per_epoch"] == 48  # 756 rows / 16, the last one not full
    assert comes_to["total_steps"] == 240
    assert comes_to["tokens_per_checkpoint"] == 100 * 16 * 1024


def test_the_product_of_a_batch_counts_the_devices(server: Server) -> None:
    """D26, H1."""
    recipe = SMALL | {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    body = {"recipe": recipe, "num_devices": 3}
    found = server.viewer.post(f"{RECIPES}/explain", json=body).json()
    assert found["comes_to"]["batch_rows"] == 24
    assert found["comes_to"]["batch_rows_per_device"] == 8
    assert "batch_size_recorded" in {each["code"] for each in found["notices"]}


def test_the_lowest_rate_is_rate_times_ratio(server: Server) -> None:
    """D5, D12."""
    recipe = SMALL | {"learning_rate": 1e-4, "min_ratio": 0.1, "max_steps": 10}
    found = server.viewer.post(f"{RECIPES}/explain", json={"recipe": recipe}).json()["comes_to"]
    assert found["lowest_learning_rate"] == pytest.approx(1e-5)
    assert (found["total_steps"], found["warmup_steps"]) == (10, 1)


def test_a_llamafactory_job_becomes_a_recipe_without_a_look_at_the_disk(
    server: Server, tmp_path: Path
) -> None:
    """X13."""
    (tmp_path / "dataset_info.json").write_text('{"secret": {"file_name": "x.json"}}')
    text = (
        f"model_name_or_path: starter\nstage: sft\ndataset: shop, help\ndataset_dir: {tmp_path}\n"
        "learning_rate: 5e-5\nnum_train_epochs: 3.0\nunheard_of: 1\n"
    )
    info = '{"shop": {"file_name": "/etc/passwd", "columns": {"prompt": "q"}}, "help": {}}'
    for listed in (None, info):
        body = {"text": text, "dataset_info": listed}
        answer = server.viewer.post(f"{RECIPES}/convert/llamafactory", json=body)
        if listed:
            info = info.replace('"help": {}', '"help": {"file_name": "h.json"}')
            body["dataset_info"] = info
            answer = server.viewer.post(f"{RECIPES}/convert/llamafactory", json=body)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        sources = found["recipe"]["data"]["train"]
        assert [each["dataset"] for each in sources] == ["shop", "help"]
        assert "passwd" not in str(sources)
        verdicts = {each["key"]: each["verdict"] for each in found["keys"]}
        assert verdicts["unheard_of"] == "not supported"
        assert "not there" not in str(found["keys"])
    assert sources[0]["prompt_field"] == "q"
    broken = {"text": text, "dataset_info": '{"shop": '}
    answer = server.viewer.post(f"{RECIPES}/convert/llamafactory", json=broken)
    assert answer.status_code == 400
    assert "line 1" in answer.json()["error"]["message"]


def test_yaml_and_objects_turn_into_each_other(server: Server) -> None:
    def render(recipe: Any) -> dict[str, Any]:
        answer = server.viewer.post(f"{RECIPES}/render", json={"recipe": recipe})
        assert answer.status_code == 200, answer.text
        return answer.json()

    first = render("model: starter\ndata: [shop]\nlearning_rate: 5e-5\nname: 客服\n")
    assert first["recipe"]["training"]["learning_rate"] == 5e-5
    assert "客服" in first["yaml"]
    assert render(first["yaml"]) == render(first["recipe"]) == first


def test_defaults_are_recommended_for_model_and_rows(server: Server, data_dir: Path) -> None:
    """A6, D14, D24, H4."""
    add_dataset(server, data_dir, "few", 300)
    plain_model = "Qwen/Qwen3-0.6B"  # it recommends nothing of its own
    params = {"base": plain_model, "dataset": "few"}
    found = server.viewer.get(f"{RECIPES}/defaults", params=params).json()
    assert found["values"]["training.learning_rate"] == 5e-5
    assert "300 rows" in found["reasons"]["training.learning_rate"]
    plain = server.viewer.get(f"{RECIPES}/defaults", params={"base": plain_model}).json()
    assert plain["values"]["training.learning_rate"] == 1e-4
    own = server.viewer.get(f"{RECIPES}/defaults", params={"base": "starter"}).json()
    values = {"adapter.kind": "full", "training.epochs": 6, "training.batch_size": 4}
    assert values.items() <= own["values"].items()
    assert {own["reasons"][path] for path in values} == {"The model's own default."}
    pangu = {"base": plain_model, "profile": "pangu-lora"}
    found = server.viewer.get(f"{RECIPES}/defaults", params=pangu).json()
    assert found["values"]["training.epochs"] == 4
    assert "adapter.rank" not in found["values"]
    odd = server.viewer.get(f"{RECIPES}/defaults", params={"base": "model-none"})
    assert odd.status_code == 400


def test_a_profile_keeps_what_it_demands_from_the_values_of_a_model(server: Server) -> None:
    params = {"base": "starter", "profile": "pangu-lora"}
    found = server.viewer.get(f"{RECIPES}/defaults", params=params).json()
    assert found["values"]["adapter.kind"] == "lora"


def test_a_job_that_says_nothing_has_the_values_of_its_model(server: Server) -> None:
    """A6, D14: in a job, in what is explained, and under its own names in what is rendered."""
    recipe = {"model": "starter", "data": ["builtin:shop"]}
    body = {"recipe": recipe}
    job = server.member.post("/api/v1/jobs", json={"name": "x", **body}).json()
    made = server.member.get(f"/api/v1/jobs/{job['id']}/recipe").json()["recipe"]
    numbers = {"epochs": 6.0, "batch_size": 4, "learning_rate": 2e-3}
    assert made["adapter"]["kind"] == "full"
    assert numbers.items() <= made["training"].items()
    assert "high_rate_small_data" not in {each["code"] for each in job["notices"]}
    again = {"name": "y", "recipe": made}  # as a form writes it, every value in words
    again = server.member.post("/api/v1/jobs", json=again).json()
    assert "high_rate_small_data" not in {each["code"] for each in again["notices"]}
    explained = server.viewer.post(f"{RECIPES}/explain", json=body).json()
    origins = {each["path"]: each["origin"] for each in explained["values"]}
    assert origins["training.learning_rate"] == "model"
    rendered = server.viewer.post(f"{RECIPES}/render", json=body).json()["recipe"]
    assert numbers.items() <= rendered["training"].items()


def test_who_only_looks_is_not_told_of_a_submission(server: Server) -> None:
    body = {"recipe": {"model": "starter", "data": ["shop"], "learning_rate": -1}}
    for path in (f"{RECIPES}/explain", f"{RECIPES}/render"):
        error = server.viewer.post(path, json=body).json()["error"]
        assert error["details"]["problems"], path
        assert "submitted" not in error["hint"], path
    job = server.member.post("/api/v1/jobs", json=body).json()["error"]
    assert job["hint"].endswith("Nothing was submitted.")


def test_nobody_is_answered_without_a_token(server: Server) -> None:
    for path in ("schema", "presets", "profiles", "defaults?base=starter"):
        assert server.client("nobody").get(f"{RECIPES}/{path}").status_code == 401
    assert server.client("nobody").post(f"{RECIPES}/validate", json={}).status_code in (401, 422)
