"""`tunesmith convert llamafactory`: every key is accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tunesmith.cli.convert import app
from tunesmith.errors import RecipeError
from tunesmith.recipe import load_recipe
from tunesmith.recipe.adapters import Freeze, Lora, Oft
from tunesmith.recipe.convert import Conversion, convert_llamafactory

JOB: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen3-0.6B",
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 8,
    "lora_target": "all",
    "dataset": "shop, notes",
    "dataset_dir": "data",
    "template": "qwen3",
    "cutoff_len": 1024,
    "max_samples": 1000,
    "output_dir": "out",
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "learning_rate": "1.0e-4",
    "num_train_epochs": 3.0,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
    "bf16": True,
    "quantization_bit": 4,
    "val_size": 0.1,
    "eval_steps": 50,
    "save_total_limit": 1,
    "trust_remote_code": True,
    "deepspeed": None,
    "hf_hub_token": "hf_secret",
    "surprise": 3,
}
INFO: dict[str, Any] = {
    "shop": {
        "file_name": "shop.json",
        "columns": {"prompt": "question", "query": "input", "response": "answer", "images": "i"},
        "num_samples": 500,
    },
    "notes": {
        "file_name": "notes.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "tools": "tools", "system": "sys"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "bad_tag": "x"},
    },
    "chat": {"file_name": "chat.json", "formatting": "openai"},
    "hub": {"hf_hub_url": "someone/data", "subset": "en", "split": "train"},
    "script": {"script_url": "run_me", "folder": "x"},
    "pairs": {"file_name": "pairs.json", "ranking": True},
}


def convert(folder: Path, info: Any = INFO, **changes: Any) -> Conversion:
    (folder / "data").mkdir(exist_ok=True)
    text = info if isinstance(info, str) else json.dumps(info, indent=1)
    (folder / "data" / "dataset_info.json").write_text(text, encoding="utf-8")
    job = {key: value for key, value in {**JOB, **changes}.items() if value != "REMOVED"}
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    return convert_llamafactory(path)


def verdicts(conversion: Conversion) -> dict[str, str]:
    return {entry.key: entry.verdict for entry in conversion.entries}


def test_every_key_is_taken_renamed_or_not_supported(tmp_path: Path) -> None:
    """X13."""
    found = verdicts(convert(tmp_path))
    assert JOB.keys() <= found.keys()
    assert found["learning_rate"] == "taken"
    assert found["cutoff_len"] == "renamed"
    assert found["quantization_bit"] == "renamed"
    for key in ("template", "output_dir", "surprise", "trust_remote_code"):
        assert found[key] == "not supported"
    assert found["deepspeed"] == "taken"


def test_quantised_training_is_qlora_here_too(tmp_path: Path) -> None:
    found = convert(tmp_path, quantization_type="nf4", double_quantization=True)
    assert found.recipe.model.quantization == "nf4"
    assert verdicts(found)["quantization_type"] == verdicts(found)["double_quantization"] == "taken"
    eight = convert(tmp_path, quantization_bit=8, quantization_type="fp4")
    assert eight.recipe.model.quantization == "int8"
    assert verdicts(eight)["quantization_type"] == "taken"
    other = convert(tmp_path, quantization_bit=4, quantization_method="hqq")
    assert verdicts(other)["quantization_method"] == "not supported"
    none = convert(tmp_path, quantization_bit=None, double_quantization=False)
    assert none.recipe.model.quantization == "none"
    assert verdicts(none)["double_quantization"] == "taken"


def test_what_is_not_supported_has_a_reason(tmp_path: Path) -> None:
    for entry in convert(tmp_path).entries:
        assert entry.reason or entry.verdict != "not supported"


def test_the_recipe_trains_what_the_job_trained(tmp_path: Path) -> None:
    recipe = convert(tmp_path).recipe
    assert recipe.model.base == "Qwen/Qwen3-0.6B"
    assert recipe.model.dtype == "bfloat16"
    assert recipe.model.trust_remote_code is False
    assert recipe.adapter.kind == "lora"
    assert (recipe.adapter.rank, recipe.adapter.alpha) == (8, 16)
    assert recipe.training.batch_size == 16
    assert recipe.training.learning_rate == 1e-4
    assert recipe.training.schedule.min_ratio == 0.0
    assert recipe.training.evaluate.every_steps == 50
    assert recipe.training.checkpoint.keep == 2
    assert recipe.data.validation.model_dump() == {
        "kind": "split",
        "fraction": 0.1,
        "max_rows": 100,
        "stratify_by": None,
        "group_by": None,
    }


@pytest.mark.parametrize(
    ("changes", "below", "last"),
    [
        ({}, ["runs/a", "runs/b"], "runs/c"),
        ({"create_new_adapter": False}, ["runs/a", "runs/b"], "runs/c"),
        ({"create_new_adapter": True}, ["runs/a", "runs/b", "runs/c"], None),
    ],
)
def test_several_adapters_are_merged_and_the_last_is_gone_on_with(
    tmp_path: Path, changes: dict[str, Any], below: list[str], last: str | None
) -> None:
    names = "runs/a, runs/b,runs/c"
    done = convert(tmp_path, adapter_name_or_path=names, **changes)
    adapter = done.recipe.adapter
    assert isinstance(adapter, Lora)
    assert (adapter.merge_first, adapter.continue_from) == (below, last)
    assert verdicts(done)["adapter_name_or_path"] != "not supported"
    alone = convert(tmp_path, adapter_name_or_path="runs/a", **changes).recipe.adapter
    assert isinstance(alone, Lora)
    expected = (["runs/a"], None) if last is None else ([], "runs/a")
    assert (alone.merge_first, alone.continue_from) == expected


def test_datasets_come_from_dataset_info(tmp_path: Path) -> None:
    """X13."""
    conversion = convert(tmp_path)
    shop, notes = conversion.recipe.data.train
    assert shop.dataset == str(tmp_path / "data" / "shop.json")
    assert (shop.format, shop.prompt_field, shop.response_field) == ("alpaca", "question", "answer")
    assert (shop.max_samples, notes.max_samples) == (500, 1000)
    assert (notes.format, notes.system_field) == ("sharegpt", "sys")
    found = verdicts(conversion)
    assert found["dataset_info.shop.columns.images"] == "not supported"
    assert found["dataset_info.shop.columns.query"] == "taken"
    assert found["dataset_info.notes.tags.user_tag"] == "taken"
    assert found["dataset_info.notes.tags.bad_tag"] == "not supported"


def test_other_columns_and_tags_of_turns_go_into_the_recipe(tmp_path: Path) -> None:
    entry = {
        "file_name": "talk.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk", "tools": "helpers", "kto_tag": "good", "chosen": "c"},
        "tags": {"role_tag": "who", "content_tag": "said", "assistant_tag": "Berater"},
        "script_url": "run_me",
    }
    conversion = convert(tmp_path, {"talk": entry}, dataset="talk")
    (talk,) = conversion.recipe.data.train
    assert (talk.messages_field, talk.tools_field, talk.label_field) == ("talk", "helpers", "good")
    assert (talk.role_tag, talk.content_tag, talk.assistant_tag) == ("who", "said", "Berater")
    found = verdicts(conversion)
    assert found["dataset_info.talk.columns.messages"] == "renamed"
    assert found["dataset_info.talk.tags.role_tag"] == "taken"
    assert found["dataset_info.talk.columns.chosen"] == "not supported"
    assert found["dataset_info.talk.script_url"] == "not supported"
    assert talk.chosen_field is None


def test_openai_rows_and_an_evaluation_set_are_understood(tmp_path: Path) -> None:
    recipe = convert(tmp_path, dataset="chat", eval_dataset="notes").recipe
    assert recipe.data.train[0].format == "messages"
    assert recipe.data.validation.kind == "dataset"


def test_hub_datasets_scripts_and_pairs_are_reported_never_run(tmp_path: Path) -> None:
    found = verdicts(convert(tmp_path, dataset="shop,hub,script,pairs"))
    for key in ("hub.hf_hub_url", "hub.subset", "script.script_url", "pairs.ranking"):
        assert found[f"dataset_info.{key}"] == "not supported"
    assert found["dataset_info.hub.split"] == "taken"
    with pytest.raises(RecipeError, match="no usable training data"):
        convert(tmp_path, dataset="hub")


def test_a_broken_dataset_info_is_an_error_with_its_line(tmp_path: Path) -> None:
    """X13."""
    with pytest.raises(RecipeError, match=r"dataset_info\.json, line 3") as caught:
        convert(tmp_path, info='{\n "shop": {"file_name": "a"},\n "x": {,}\n}')
    assert caught.value.details["problems"][0]["line"] == 3
    with pytest.raises(RecipeError, match="lists no datasets"):
        convert(tmp_path, info="[]")
    with pytest.raises(RecipeError, match="line 2: the entry of shop"):
        convert(tmp_path, info='{\n "shop": 3}')


def test_an_unknown_dataset_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        convert(tmp_path, dataset="nothing")
    assert "shop" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("stage", "ppo", "stage ppo"),
        ("finetuning_type", "bone", "finetuning_type bone"),
        ("lora_rank", "many", r"line 5: adapter\.rank: 'many'"),
    ],
)
def test_a_job_that_no_recipe_can_do_is_refused(
    tmp_path: Path, key: str, value: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        convert(tmp_path, **{key: value})
    assert caught.value.hint


def test_secrets_are_never_copied(tmp_path: Path) -> None:
    conversion = convert(tmp_path)
    assert "hf_secret" not in conversion.yaml
    assert "hf_secret" not in str(conversion.entries)


def test_missing_keys_get_the_defaults_of_llamafactory(tmp_path: Path) -> None:
    removed = ("learning_rate", "num_train_epochs", "lr_scheduler_type", "warmup_ratio", "bf16")
    recipe = convert(tmp_path, **dict.fromkeys(removed, "REMOVED")).recipe
    assert recipe.training.learning_rate == 5e-5
    assert recipe.training.schedule.kind == "linear"
    assert recipe.training.schedule.warmup_ratio == 0.0
    assert recipe.model.dtype == "auto"


@pytest.mark.parametrize(
    ("changes", "path", "value"),
    [
        ({"warmup_steps": 10, "max_steps": 100}, "schedule.warmup_ratio", 0.1),
        ({"warmup_steps": 0.2, "warmup_ratio": "REMOVED"}, "schedule.warmup_ratio", 0.2),
        ({"lr_scheduler_type": "constant"}, "schedule.warmup_ratio", 0.0),
        ({"lr_scheduler_kwargs": {"min_lr_rate": 0.1}}, "schedule.min_ratio", 0.1),
        ({"disable_gradient_checkpointing": True}, "activation_checkpointing", "off"),
        ({"gradient_checkpointing": True}, "activation_checkpointing", "full"),
        ({"gradient_checkpointing": False}, "activation_checkpointing", "off"),
        ({"gradient_checkpointing": None}, "activation_checkpointing", "auto"),
        ({"gradient_checkpointing": "REMOVED"}, "activation_checkpointing", "auto"),
        ({"max_steps": -1}, "max_steps", None),
        ({"packing": True}, "batch_tokens", 16384),
        ({"optim": "adamw_torch"}, "optimizer.kind", "adamw"),
        ({"weight_decay": None}, "optimizer.weight_decay", 0.0),
        (
            {
                **{"finetuning_type": "full", "quantization_bit": "REMOVED"},
                **{"bf16": "REMOVED", "pure_bf16": True},
            },
            "master_weights",
            False,
        ),
    ],
)
def test_keys_that_need_thought_come_out_right(
    tmp_path: Path, changes: dict[str, Any], path: str, value: Any
) -> None:
    found: Any = convert(tmp_path, **changes).recipe.training
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_pretraining_jobs_read_plain_text(tmp_path: Path) -> None:
    info = {"c4": {"file_name": "c4.jsonl", "columns": {"prompt": "text"}}}
    recipe = convert(tmp_path, info, stage="pt", dataset="c4").recipe
    assert recipe.stage.kind == "pt"
    assert (recipe.data.train[0].format, recipe.data.train[0].prompt_field) == ("text", "text")


def test_the_written_recipe_loads_to_the_same_recipe(tmp_path: Path) -> None:
    conversion = convert(tmp_path, surprise="a\nb: c # d")
    path = tmp_path / "recipe.yaml"
    path.write_text(conversion.yaml, encoding="utf-8")
    assert load_recipe(path) == conversion.recipe
    assert "#   template: qwen3" in conversion.yaml


def test_json_jobs_are_read_too(tmp_path: Path) -> None:
    convert(tmp_path)
    path = tmp_path / "job.json"
    path.write_text(json.dumps(JOB), encoding="utf-8")
    assert convert_llamafactory(path).recipe.training.batch_size == 16
    path.write_text('{\n "a": }', encoding="utf-8")
    with pytest.raises(RecipeError, match="line 2"):
        convert_llamafactory(path)


def test_without_dataset_info_names_are_taken_as_files(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("model_name_or_path: m\ndataset: a.json, named\n", encoding="utf-8")
    names = [source.dataset for source in convert_llamafactory(path).recipe.data.train]
    assert Path(names[0]).name == "a.json"
    assert names[1] == "named"


def test_without_dataset_info_the_limit_of_rows_still_holds(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "model_name_or_path: m\ndataset: a.json, b.json\neval_dataset: c.json\n"
        "max_samples: 50\ndataset_dir: rows\n",
        encoding="utf-8",
    )
    (tmp_path / "rows").mkdir()
    conversion = convert_llamafactory(path)
    sources = conversion.recipe.data.train
    assert [source.max_samples for source in sources] == [50, 50]
    assert {Path(source.dataset).parent for source in sources} == {tmp_path / "rows"}
    held = conversion.recipe.data.validation
    assert held.kind == "dataset"
    assert held.dataset == str(tmp_path / "rows" / "c.json")
    places = {entry.value: entry.to for entry in conversion.entries if "found" in entry.reason}
    assert places == {"a.json": "data.train", "b.json": "data.train", "c.json": "data.validation"}


@pytest.mark.parametrize(("value", "verdict"), [("many", "not supported"), (None, "taken")])
def test_a_limit_that_is_no_number_limits_nothing_and_is_reported(
    tmp_path: Path, value: Any, verdict: str
) -> None:
    conversion = convert(tmp_path, max_samples=value, dataset="notes")
    assert conversion.recipe.data.train[0].max_samples is None
    assert verdicts(conversion)["max_samples"] == verdict


def test_a_schedule_that_is_not_supported_becomes_cosine_as_reported(tmp_path: Path) -> None:
    conversion = convert(tmp_path, lr_scheduler_type="cosine_with_restarts")
    assert conversion.recipe.training.schedule.kind == "cosine"
    (entry,) = (e for e in conversion.entries if e.key == "lr_scheduler_type")
    assert (entry.to, entry.reason) == (
        "training.schedule.kind",
        "cosine_with_restarts is not supported: cosine is used",
    )


def test_the_command_writes_the_recipe_and_never_overwrites(tmp_path: Path) -> None:
    convert(tmp_path)
    out = tmp_path / "recipe.yaml"
    job = str(tmp_path / "job.yaml")
    done = CliRunner().invoke(app, ["llamafactory", job, "--out", str(out)])
    assert done.exit_code == 0
    assert load_recipe(out).training.batch_size == 16
    for key in JOB:
        assert f"{key}: " in done.stdout
    again = CliRunner().invoke(app, ["llamafactory", job, "--out", str(out)])
    assert isinstance(again.exception, RecipeError)
    printed = CliRunner().invoke(app, ["llamafactory", job, "--json"])
    assert {entry["key"] for entry in json.loads(printed.stdout)["keys"]} >= JOB.keys()


@pytest.mark.parametrize(
    ("keys", "stage"),
    [
        (
            {"stage": "dpo", "pref_beta": 0.2, "pref_ftx": 0.5, "pref_loss": "ipo"},
            {"kind": "dpo", "loss": "ipo", "beta": 0.2, "ftx": 0.5},
        ),
        ({"stage": "dpo", "pref_loss": "orpo"}, {"kind": "orpo", "beta": 0.1}),
        # Where the file is silent, LLaMA-Factory's own defaults count.
        ({"stage": "dpo", "pref_loss": "simpo"}, {"kind": "simpo", "beta": 0.1, "gamma": 0.5}),
        (
            {"stage": "kto", "kto_chosen_weight": 2.0, "kto_rejected_weight": 0.5},
            {"kind": "kto", "desirable_weight": 2.0, "undesirable_weight": 0.5},
        ),
        ({"stage": "rm"}, {"kind": "rm"}),
        ({"stage": "sft", "neftune_noise_alpha": 5}, {"kind": "sft", "neftune_alpha": 5.0}),
    ],
)
def test_stages_of_judged_answers_come_over(
    tmp_path: Path, keys: dict[str, Any], stage: dict[str, Any]
) -> None:
    info = {"pairs": {"file_name": "rows.json", "ranking": keys["stage"] in ("dpo", "rm")}}
    recipe = convert(tmp_path, info, dataset="pairs", **keys).recipe
    assert stage.items() <= recipe.stage.model_dump().items()


def test_new_tokens_are_taken_over(tmp_path: Path) -> None:
    made = convert(
        tmp_path, add_tokens="<a>, <b>", add_special_tokens="<|c|>", new_special_tokens="<|d|>",
        resize_vocab=True, additional_target="embed_tokens,lm_head,norm", quantization_bit=None,
    )  # fmt: skip
    adapter, model = made.recipe.adapter, made.recipe.model
    assert model.new_words == {"<a>": False, "<b>": False, "<|c|>": True}
    assert isinstance(adapter, Lora)
    assert adapter.modules_to_save == ["norm"]
    verdicts = {entry.key: entry.verdict for entry in made.entries}
    assert verdicts["resize_vocab"] == verdicts["new_special_tokens"] == "taken"
    assert verdicts["add_tokens"] == verdicts["additional_target"] == "renamed"
    alone = convert(tmp_path, new_special_tokens="<|d|>", additional_target="lm_head").recipe
    assert alone.model.new_words == {"<|d|>": True}
    assert isinstance(alone.adapter, Lora)
    assert alone.adapter.modules_to_save == []


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "llama3"])
def test_scaling_of_positions_is_taken_over(tmp_path: Path, kind: str) -> None:
    made = convert(tmp_path, rope_scaling=kind, quantization_bit=None)
    model = made.recipe.model
    factor = 2.0 if kind == "dynamic" else "auto"
    assert (model.rope_scaling, model.rope_factor) == (kind, factor)
    entry = next(entry for entry in made.entries if entry.key == "rope_scaling")
    assert (entry.verdict, bool(entry.reason)) == ("taken", True)


def test_badam_is_taken_over_where_layers_learn_in_turn(tmp_path: Path) -> None:
    made = convert(
        tmp_path, finetuning_type="full", use_badam=True, badam_switch_interval=7,
        badam_switch_mode="random", badam_mode="layer", badam_verbose=0, quantization_bit=None,
    )  # fmt: skip
    optimizer = made.recipe.training.optimizer
    assert (optimizer.kind, optimizer.block_switch_steps) == ("badam", 7)
    assert optimizer.block_order == "random"
    verdicts = {entry.key: entry.verdict for entry in made.entries}
    assert verdicts["badam_switch_interval"] == verdicts["badam_switch_mode"] == "renamed"
    assert verdicts["badam_mode"] == "taken"
    for changes in ({"badam_mode": "ratio"}, {"finetuning_type": "freeze"}):
        settings = {"finetuning_type": "full", "use_badam": True, **changes}
        other = convert(tmp_path, **settings, quantization_bit=None)
        assert other.recipe.training.optimizer.kind == "adamw"
        told = {entry.key: entry.verdict for entry in other.entries}
        assert told["use_badam"] == "not supported"
    fixed = convert(
        tmp_path, finetuning_type="full", use_badam=True, badam_switch_mode="fixed",
        badam_start_block=2, quantization_bit=None,
    )  # fmt: skip
    told = {entry.key: entry.verdict for entry in fixed.entries}
    assert told["badam_switch_mode"] == told["badam_start_block"] == "not supported"


def test_methods_and_optimizers_are_taken_over(tmp_path: Path) -> None:
    lora = convert(
        tmp_path, use_dora=True, use_rslora=True, pissa_init=True, pissa_iter=-1,
        additional_target="norm,lm_head", optim="adamw_8bit", apollo_rank=3, quantization_bit=None,
    )  # fmt: skip
    adapter, optimizer = lora.recipe.adapter, lora.recipe.training.optimizer
    assert isinstance(adapter, Lora)
    assert (adapter.dora, adapter.rslora, adapter.init) == (True, True, "pissa")
    assert (adapter.pissa_iterations, adapter.modules_to_save) == (0, ["norm", "lm_head"])
    assert optimizer.kind == "adamw_8bit"
    turned = convert(
        tmp_path, finetuning_type="oft", oft_block_size=16, oft_target="all", module_dropout=0.0,
        oft_rank=4, lora_rank=4, quantization_bit=None,
    )  # fmt: skip
    assert isinstance(turned.recipe.adapter, Oft)
    assert (turned.recipe.adapter.block_size, turned.recipe.adapter.targets) == (16, "all-linear")
    verdicts = {entry.key: entry.verdict for entry in turned.entries}
    assert verdicts["oft_rank"] == "not supported"
    frozen = convert(
        tmp_path, finetuning_type="freeze", freeze_trainable_layers=-3,
        freeze_extra_modules="norm", lora_rank=4, use_galore=True, galore_rank=64,
        galore_scale=0.25, quantization_bit=None,
    ).recipe  # fmt: skip
    assert isinstance(frozen.adapter, Freeze)
    assert (frozen.adapter.layers, frozen.adapter.extra_modules) == (-3, "norm")
    optimizer = frozen.training.optimizer
    assert (optimizer.kind, optimizer.projection_rank) == ("galore", 64)
    assert (optimizer.projection_gap, optimizer.projection_scale) == (200, 0.25)
