"""Loading: names, layers, and all problems at once."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunesmith.errors import RecipeError
from tunesmith.recipe import (
    dump_recipe,
    load,
    load_recipe,
    loads,
    parse,
    parse_recipe,
)

BASE = "model: starter\ndata: {train: [a.jsonl]}\n"


def problems(text: str, *overrides: str) -> list[dict[str, Any]]:
    with pytest.raises(RecipeError) as caught:
        loads(text, overrides, source="r.yaml")
    return caught.value.details["problems"]


def recipe(text: str = "", *overrides: str):
    return loads(BASE + text, overrides).recipe


def codes(text: str, *overrides: str) -> list[str]:
    return [notice.code for notice in loads(BASE + text, overrides).notices]


ALIASES = [
    ("model_name_or_path", "m", "model.base"),
    ("训练模型", "m", "model.base"),
    ("基座模型", "m", "model.base"),
    ("训练类型", "SFT", "stage.kind=sft"),
    ("stage", "pt", "stage.kind"),
    ("finetuning_type", "full", "adapter.kind"),
    ("训练方式", "全量微调", "adapter.kind=full"),
    ("训练方式", "局部微调/LoRA", "adapter.kind=lora"),
    ("训练方法", "全量更新", "adapter.kind=full"),
    ("微调方式", "LoRA", "adapter.kind=lora"),
    ("训练轮数", 5, "training.epochs"),
    ("迭代轮次", 5, "training.epochs"),
    ("epoch", 5, "training.epochs"),
    ("num_train_epochs", 5, "training.epochs"),
    ("n_epochs", 5, "training.epochs"),
    ("max_steps", 7, "training.max_steps"),
    ("数据批量大小", 4, "training.batch_size"),
    ("批处理大小", 4, "training.batch_size"),
    ("Batchsize", 4, "training.batch_size"),
    ("batch_size", 4, "training.batch_size"),
    ("per_device_train_batch_size", 4, "training.batch_size"),
    ("学习率", "5e-5", "training.learning_rate=5e-5"),
    ("learning_rate", "5e-5", "training.learning_rate=5e-5"),
    ("学习率衰减比率", 0.2, "training.schedule.min_ratio"),
    ("学习率调整计划", "linear", "training.schedule.kind"),
    ("lr_scheduler_type", "linear", "training.schedule.kind"),
    ("热身比例", 0.2, "training.schedule.warmup_ratio"),
    ("学习率预热步数占比", 0.2, "training.schedule.warmup_ratio"),
    ("warmup_ratio", 0.2, "training.schedule.warmup_ratio"),
    ("优化器", "AdamW", "training.optimizer.kind=adamw"),
    ("optim", "adamw_torch", "training.optimizer.kind=adamw"),
    ("权重衰减数值", 0.1, "training.optimizer.weight_decay"),
    ("weight_decay", 0.1, "training.optimizer.weight_decay"),
    ("max_grad_norm", 0.5, "training.max_grad_norm"),
    ("LoRA秩", 8, "adapter.rank"),
    ("LoRA轶值", 8, "adapter.rank"),
    ("loraRank", 8, "adapter.rank"),
    ("lora_rank", 8, "adapter.rank"),
    ("loraAlpha", 8, "adapter.alpha"),
    ("lora_alpha", 8, "adapter.alpha"),
    ("loraDropout", 0.1, "adapter.dropout"),
    ("lora_dropout", 0.1, "adapter.dropout"),
    ("loraplus_lr_ratio", 16, "adapter.loraplus_lr_ratio"),
    ("compute_type", "bf16", "model.dtype=bfloat16"),
    ("sequence", 512, "data.max_length"),
    ("序列长度", 512, "data.max_length"),
    ("seqLen", 512, "data.max_length"),
    ("seq_lenth", 512, "data.max_length"),
    ("cutoff_len", 512, "data.max_length"),
    ("max_seq_length", 512, "data.max_length"),
    ("模型保存步数", 50, "training.checkpoint.every_steps"),
    ("Checkpoint保存间隔数", 50, "training.checkpoint.every_steps"),
    ("save_steps", 50, "training.checkpoint.every_steps"),
    ("Checkpoint保存个数", 5, "training.checkpoint.keep"),
    ("save_total_limit", 5, "training.checkpoint.keep"),
    ("logging_steps", 5, "training.log_every_steps"),
    ("max_samples", 50, "data.train.0.max_samples"),
    ("max_eval_samples", 50, "data.validation.max_rows"),
    ("训练数据集", "b.jsonl", "data.train.0.dataset"),
    ("数据集版本", "b.jsonl", "data.train.0.dataset"),
    ("dataset", "b.jsonl", "data.train.0.dataset"),
    ("data_url", "b.jsonl", "data.train.0.dataset"),
    ("train_data_file", "b.jsonl", "data.train.0.dataset"),
    ("training_file", "b.jsonl", "data.train.0.dataset"),
    ("从训练数据拆分", 0.2, "data.validation.fraction"),
    ("拆分", 0.2, "data.validation.fraction"),
    ("val_size", 0.2, "data.validation.fraction"),
    ("从已有数据导入", "v.jsonl", "data.validation.dataset"),
    ("指定数据", "v.jsonl", "data.validation.dataset"),
    ("eval_dataset", "v.jsonl", "data.validation.dataset"),
    ("test_data_file", "v.jsonl", "data.validation.dataset"),
    ("validation_file", "v.jsonl", "data.validation.dataset"),
    ("问题", "q", "data.train.0.prompt_field"),
    ("columns.prompt", "q", "data.train.0.prompt_field"),
    ("prompt_field", "q", "data.train.0.prompt_field"),
    ("答案", "a", "data.train.0.response_field"),
    ("columns.response", "a", "data.train.0.response_field"),
    ("response_field", "a", "data.train.0.response_field"),
    ("columns.history", "h", "data.train.0.history_field"),
    ("history_field", "h", "data.train.0.history_field"),
    ("我的模型", "runs/x", "adapter.continue_from"),
    ("adapter_name_or_path", "runs/x", "adapter.continue_from"),
    ("finetuned_model", "runs/x", "adapter.continue_from"),
    ("prefix", "p", "data.prefix"),
    ("instruction_template", "p", "data.instruction_template"),
    ("response_template", "p", "data.response_template"),
]


@pytest.mark.parametrize(("name", "value", "target"), ALIASES, ids=lambda value: str(value))
def test_every_name_of_the_other_systems_is_understood(name: str, value: Any, target: str) -> None:
    """B12, C2, C3, C4, C13, D34 and the table of names in part D; H8 for `seq_lenth`."""
    path, _, wanted = target.partition("=")
    mapping: dict[str, Any] = {"model": "starter", "data": {"train": ["a.jsonl"]}, name: value}
    if path == "model.base":
        del mapping["model"]
    if path == "data.train.0.dataset":
        del mapping["data"]
    found: Any = parse_recipe(mapping)
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == (type(found)(wanted) if wanted else value)


def test_two_names_with_different_values_are_refused_and_both_named() -> None:
    (problem,) = problems(BASE + "lora_rank: 8\nLoRA秩: 16\n")
    assert problem["path"] == "adapter.rank"
    assert "lora_rank (line 3) says 8" in problem["message"]
    assert "LoRA秩 (line 4) says 16" in problem["message"]


def test_two_names_with_the_same_value_are_fine() -> None:
    assert recipe("学习率: 5e-5\nlearning_rate: '0.00005'\ntraining: {lr: 5.0e-5}\n")


def test_a_name_is_understood_in_every_section_that_holds_its_field() -> None:
    found = recipe("training: {学习率: 5e-5, save_steps: 7}\nadapter: {lora_rank: 4}\n")
    assert found.training.learning_rate == 5e-5
    assert found.training.checkpoint.every_steps == 7
    assert found.adapter.kind == "lora"
    assert found.adapter.rank == 4


def test_unknown_keys_are_refused_with_the_nearest_name() -> None:
    found = problems(BASE + "training: {epocs: 3, rank: 8}\nlora_rang: 4\n高度: 1\n")
    hints = {problem["path"]: problem["hint"] for problem in found}
    assert hints["training.epocs"] == "Did you mean training.epochs?"
    assert hints["training.rank"] == "Move it to adapter.rank."
    assert hints["lora_rang"] == "Did you mean adapter.rank?"
    assert "高度" in hints


def test_all_problems_are_reported_at_once_with_their_lines() -> None:
    text = BASE + (
        "learning_rate: abc\n"
        "adapter: {rank: 0}\n"
        "data2: 1\n"
        "batch_tokens: 100\n"
        "training: {stop: {patience: 2}}\n"
        "validation_kind: none\n"
        "save_total_limit: 1\n"
    )
    found = {problem["line"] for problem in problems(text)}
    assert found == {3, 4, 5, 6, 8, 9}
    assert len(problems(text)) == 6


def test_a_wrong_word_is_answered_with_the_words_of_its_stage_alone() -> None:
    for stage, kept, others in (
        ("{kind: dpo, loss: kto}", "sigmoid, hinge, ipo, robust", "dapo"),
        ("{kind: dpo, reference: copy}", "auto, adapter_off, cached", "copy."),
        ("{kind: grpo, loss: ipo, rewards: [json]}", "dapo", "hinge"),
    ):
        (only,) = problems(BASE + f"stage: {stage}\n")
        assert kept in only["message"]
        assert others not in only["message"].partition("The default")[0]


@pytest.mark.parametrize("stage", ["dpo", "cpo"])
@pytest.mark.parametrize("loss", ["hinge", "ipo"])
def test_smoothing_is_refused_where_the_loss_knows_none(stage: str, loss: str) -> None:
    smoothed = f"stage: {{kind: {stage}, loss: {loss}, label_smoothing: 0.1}}\n"
    (only,) = problems(BASE + smoothed)
    assert only["code"] == "smoothing_of_another_loss"
    assert loss in only["message"]
    loads(BASE + smoothed.replace(loss, "sigmoid"), source="r.yaml")


def test_the_error_fits_on_one_screen_and_its_details_hold_everything() -> None:
    text = BASE + "".join(f"unknown{n}: 1\n" for n in range(50))
    with pytest.raises(RecipeError) as caught:
        loads(text, source="r.yaml")
    assert len(str(caught.value).splitlines()) < 30
    assert "and 40 more" in caught.value.message
    assert len(caught.value.details["problems"]) == 50


def test_one_problem_reads_as_one_sentence() -> None:
    with pytest.raises(RecipeError) as caught:
        loads(BASE + "learning_rate: abc\n", source="r.yaml")
    assert caught.value.message == (
        "r.yaml, line 3: training.learning_rate: 'abc' is not a number from 0 to 1."
    )
    assert caught.value.hint == "The default is 1e-4."
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("profile: pangu-full\nlearning_rate: abc\n", "The default is 1e-4."),
        ("profile: pangu-full\nepochs: many\n", "The default is 1."),
        ("preset: pangu-n4-basic\nepochs: many\n", "The default is 6."),
        ("profile: llamafactory\ndata.max_length: many\n", "The default is 1024."),
        ("profile: pangu-lora\nadapter.rank: many\n", ""),
        ("epochs: many\n", "The default is 3."),
    ],
)
def test_the_default_in_an_error_is_that_of_profile_and_preset(text: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loads("model: starter\ntrain: [a.jsonl]\n" + text)
    assert "many" in caught.value.message or "abc" in caught.value.message
    assert caught.value.hint == hint


def test_the_error_survives_pickling() -> None:
    with pytest.raises(RecipeError) as caught:
        loads("data: 3\n", source="r.yaml")
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.to_dict() == caught.value.to_dict()


@pytest.mark.parametrize(
    ("text", "both"),
    [
        ("batch_tokens: 512\n", ("training.batch_tokens", "data.max_length")),
        ("patience: 3\nval_size: 0\n", ("training.stop.patience", "data.validation.kind")),
        ("stage: pt\nformat: alpaca\n", ("data.train.0.format", "stage.kind")),
        ("format: text\n", ("data.train.0.format", "stage.kind")),
        ("eval_dataset: a.jsonl\n", ("data.validation.dataset", "data.train.0.dataset")),
        ("adapter: full\nlora_rank: 8\n", ("lora_rank", "adapter.kind")),
        ("stage: {kind: pt, loss_on: last_turn}\n", ("stage.loss_on", "stage.kind")),
        ("batch_size: 4\nper_device_train_batch_size: 8\n", ("batch_size", "per_device")),
    ],
)
def test_fields_that_contradict_each_other_are_both_named(text: str, both: tuple[str, str]) -> None:
    (problem,) = problems(BASE + text)
    for name in both:
        assert name in problem["message"] + problem["path"] + problem["hint"]
    assert problem["hint"]
    assert problem["line"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "training: {epochs: 2}\n"])
def test_a_recipe_without_model_and_data_names_both(text: str) -> None:
    assert [problem["path"] for problem in problems(text)] == ["model.base", "data.train"]


@pytest.mark.parametrize("text", ["[1, 2]", "just text", "3"])
def test_a_file_that_holds_no_fields_is_no_recipe(text: str) -> None:
    with pytest.raises(RecipeError, match="no recipe"):
        loads(text)


def test_an_empty_section_has_its_defaults() -> None:
    assert recipe("training:\nadapter:\n") == recipe()


def test_sections_may_be_written_as_one_value() -> None:
    found = loads("model: starter\nadapter: full\nstage: pt\ndata: a.txt\n").recipe
    assert (found.model.base, found.adapter.kind, found.stage.kind) == ("starter", "full", "pt")
    assert [source.dataset for source in found.data.train] == ["a.txt"]


@pytest.mark.parametrize("text", ["no", "none", "{kind: none}", "false"])
def test_validation_can_be_switched_off_however_it_is_written(text: str) -> None:
    loaded = loads(f"model: starter\ndata: {{train: [a], validation: {text}}}")
    assert loaded.recipe.data.validation.kind == "none"
    assert "validation_off" in [notice.code for notice in loaded.notices]


def test_a_kind_follows_from_its_fields() -> None:
    found = loads("model: starter\ndata: {train: [a], validation: {dataset: v, max_rows: 5}}")
    assert found.recipe.data.validation.kind == "dataset"
    assert recipe("profile: llamafactory\nval_size: 0.2\n").data.validation.kind == "split"


def test_overrides_win_over_the_file() -> None:
    found = recipe(
        "training: {epochs: 2}\n", "epochs=5", "adapter.rank=4", "data.train[0].format=alpaca"
    )
    assert (found.training.epochs, found.adapter.rank) == (5, 4)
    assert found.data.train[0].format == "alpaca"


def test_overrides_take_yaml_values_and_other_names() -> None:
    found = recipe(
        "", "学习率=5e-5", "targets=[q_proj, v_proj]", "data.train=[x.csv, y.csv]", "prefix="
    )
    assert found.training.learning_rate == 5e-5
    assert found.adapter.kind == "lora"
    assert found.adapter.targets == ["q_proj", "v_proj"]
    assert [source.dataset for source in found.data.train] == ["x.csv", "y.csv"]
    assert found.data.prefix == ""


def test_an_override_can_remove_an_optional_value() -> None:
    """C23."""
    assert recipe("max_steps: 10\n", "max_steps=").training.max_steps is None
    assert recipe("max_steps: 10\n", "max_steps=null").training.max_steps is None
    assert recipe("max_steps: -1\n").training.max_steps is None


def test_overrides_with_mistakes_are_listed_like_any_problem() -> None:
    found = problems(BASE, "epochs", "=3", "rank=x", "data.train.5.format=text", "rank.x=1")
    assert {problem["path"] for problem in found} >= {"epochs", "=3", "data.train.5.format"}
    conflict = problems(BASE, "lr=1e-5", "学习率=2e-5")[0]
    assert "on the command line" in conflict["message"]
    assert problems(BASE, "epochs=1", "epochs=2")


def test_changing_the_kind_by_an_override_drops_the_fields_of_the_other_kind_aloud() -> None:
    loaded = loads(BASE + "adapter: {kind: lora, rank: 8}\n", ["adapter=full"])
    assert loaded.recipe.adapter.kind == "full"
    (notice,) = loaded.notices
    assert notice.code == "value_not_used"
    assert "rank (line 3)" in notice.message


def test_per_device_batch_times_accumulation_times_devices_is_recorded() -> None:
    """D26, D27, H1, H3."""
    mapping = {"model": "m", "dataset": "a", "per_device_train_batch_size": 4}
    assert parse_recipe(mapping).training.batch_size == 4
    mapping["gradient_accumulation_steps"] = 2
    assert parse_recipe(mapping).training.batch_size == 8
    loaded = parse({**mapping, "per_device_train_batch_size": 16}, devices=2)
    assert loaded.recipe.training.batch_size == 64
    (notice,) = loaded.notices
    assert "16 rows per device x 2 accumulation x 2 devices" in notice.message


def test_accumulation_alone_says_nothing() -> None:
    (problem,) = problems(BASE + "gradient_accumulation_steps: 2\n")
    assert "per_device_train_batch_size" in problem["message"]


@pytest.mark.parametrize("value", ["0", "1.5", "x", "true"])
def test_per_device_batches_are_whole_numbers(value: str) -> None:
    assert problems(BASE + f"per_device_train_batch_size: {value}\n")


def test_packing_becomes_batch_tokens_with_a_notice() -> None:
    """D15, H17."""
    text = "packing: true\ncutoff_len: 512\nper_device_train_batch_size: 4\n"
    assert recipe(text).training.batch_tokens == 2048
    assert "packing" in codes(text)
    assert recipe("packing: false\n").training.batch_tokens is None


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("true", "full"),
        ("false", "off"),
        ("off", "off"),
        ("auto", "auto"),
        ("selective", "selective"),
        ("Full", "full"),
    ],
)
def test_checkpointing_of_activations_may_be_written_as_a_switch(written: str, kind: str) -> None:
    for name in ("gradient_checkpointing", "training: {activation_checkpointing"):
        text = f"{name}: {written}" + ("}\n" if "{" in name else "\n")
        made = recipe(text)
        assert made.training.activation_checkpointing == kind
        assert parse_recipe(yaml.safe_load(dump_recipe(made))) == made


def test_the_formats_of_other_systems_are_taken_as_they_are() -> None:
    """B8, D28."""
    for text in ("model: starter\nfp16: true\n", "model: {base: starter, dtype: fp16}\n"):
        loaded = loads("data: [a]\n" + text)
        assert loaded.recipe.model.dtype == "float16"
    assert recipe("bf16: true\n").model.dtype == "bfloat16"
    assert recipe("bf16: false\nfp16: false\n").model.dtype == "float32"


def test_a_learning_rate_multiplier_multiplies_the_recommended_rate() -> None:
    assert recipe("learning_rate_multiplier: 2\n").training.learning_rate == 2e-4
    doubled = recipe("profile: llamafactory\n", "learning_rate_multiplier=2")
    assert doubled.training.learning_rate == 1e-4
    assert problems(BASE + "learning_rate: 1e-4\nlearning_rate_multiplier: 2\n")


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("quantization_bit: 4\nquantization_type: nf4\ndouble_quantization: true\n", "nf4"),
        ("quantization_bit: 8\nquantization_method: bnb\n", "int8"),
        ("load_in_4bit: true\nload_in_8bit: false\nbnb_4bit_quant_type: nf4\n", "nf4"),
        ("load_in_8bit: true\n", "int8"),
        ("bits: 16\n", "none"),
        ("quantization: 4bit\n", "nf4"),
        ("量化等级: 8\n", "int8"),
    ],
)
def test_quantisation_has_the_names_of_other_systems(written: str, kind: str) -> None:
    found = recipe(f"finetuning_type: lora\n{written}")
    assert found.model.quantization == kind


@pytest.mark.parametrize(
    "written",
    ["quantization_type: fp4\n", "double_quantization: false\n", "quantization_method: hqq\n"],
)
def test_another_way_to_quantise_is_refused(written: str) -> None:
    found = problems(BASE + f"finetuning_type: lora\nquantization_bit: 4\n{written}")
    assert [problem["code"] for problem in found] == ["other_quantisation"]


def test_what_is_not_part_of_this_version_is_said_plainly() -> None:
    (problem,) = problems(BASE + "quantization_bit: 3\n")
    assert problem["code"] == "other_bits"
    assert recipe("quantization_bit: null\n").model.quantization == "none"
    assert codes("output_dir: out\n") == ["output_place"]


def test_a_folder_and_a_file_name_are_joined() -> None:
    """C4."""
    found = loads(
        "model: m\ndata_url: /d\ntrain_data_file: a.json\ntest_data_file: t.json\n"
    ).recipe
    assert found.data.train[0].dataset == "/d/a.json"
    assert found.data.validation.kind == "dataset"
    assert found.data.validation.dataset == "/d/t.json"


def test_values_for_all_datasets_reach_each_one_unless_it_has_its_own() -> None:
    text = "model: m\nmax_samples: 10\n问题: q\ndata: {train: [a, {dataset: b, max_samples: 5}]}\n"
    first, second = loads(text).recipe.data.train
    assert (first.max_samples, first.prompt_field) == (10, "q")
    assert (second.max_samples, second.prompt_field) == (5, "q")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "preset: pangu-n2-nl2sql\n",
        "preset: 24gb-card\nper_device_train_batch_size: 4\n",
        "profile: pangu-lora\nrank: 8\n",
        "batch_tokens: 4096\nname: '2024'\nlearning_rate: 3.3e-7\n",
        "stage: pt\nval_size: 0\nadapter: full\nprefix: \"a: 'b'\\n# c\"\n",
        "eval_dataset: v.jsonl\n问题: 提问\n",
    ],
)
def test_a_dump_is_complete_and_loads_to_the_same_recipe(text: str, tmp_path: Path) -> None:
    before = recipe(text)
    dump = dump_recipe(before)
    path = tmp_path / "resolved.yaml"
    path.write_text(dump, encoding="utf-8")
    assert load_recipe(path) == before
    assert parse_recipe(yaml.safe_load(dump)) == before
    assert dump_recipe(load_recipe(path)) == dump


def test_loading_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(BASE + "epochs: never\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"mine\.yaml, line 3"):
        load(path)


def test_lora_targets_may_be_written_with_commas() -> None:
    found = recipe("lora_target: q_proj, v_proj\n")
    assert found.adapter.kind == "lora"
    assert found.adapter.targets == ["q_proj", "v_proj"]
    assert recipe("lora_target: all\n").adapter == recipe().adapter
