"""Base models are found, judged and loaded completely, or refused with what to change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tunesmith.engine import models
from tunesmith.engine.model_sources import resolve_name
from tunesmith.errors import ModelError
from tunesmith.recipe import Model

CopyOf = Callable[[Path], Path]
TinyModel = Callable[[str], Path]
FAMILIES = (
    "llama", "qwen2", "qwen3", "mistral", "gemma3_text",
    "phi3", "glm4", "qwen3_moe", "olmo2", "gpt2",
)  # fmt: skip


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub client itself is told that there is no network, and that its cache is empty."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("USE_MODELSCOPE_HUB", raising=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_with_all_its_weights(tiny_model_dir: TinyModel, family: str) -> None:
    model = models.load_model(models.resolve_base(Model(base=str(tiny_model_dir(family)))))
    logits = model(torch.tensor([[5, 6, 7]])).logits
    assert logits.shape == (1, 3, 264)
    assert model.config.model_type == family
    assert models.context_length(model.config) == 512
    assert not model.training


def test_the_attention_that_is_asked_for_is_used(tiny_model_dir: TinyModel) -> None:
    model = models.load_model(tiny_model_dir("llama"), attention="eager")
    assert model.config._attn_implementation == "eager"


def test_weights_missing_from_the_files_are_not_left_random(
    tiny_model_dir: TinyModel, copy_of: CopyOf
) -> None:
    directory = copy_of(tiny_model_dir("llama"))
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ModelError, match=r"weights of .* are missing .*layers\.2"):
        models.load_model(directory)


def test_an_unknown_model_type_is_refused(tiny_model_dir: TinyModel, copy_of: CopyOf) -> None:
    directory = copy_of(tiny_model_dir("llama"))
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "model_type": "no_such"}))
    with pytest.raises(ModelError, match="is not understood"):
        models.load_model(directory)


def test_a_tokenizer_larger_than_the_table_is_refused_with_both_sizes(
    tiny_model_dir: TinyModel, copy_of: CopyOf
) -> None:
    directory = copy_of(tiny_model_dir("llama"))
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary.update({f"foreign{number}": 259 + number for number in range(41)})
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match=r"has 300 tokens, the model's table has 264 rows"):
        models.load_model(directory)


def test_a_tokenizer_far_smaller_than_the_table_is_refused(tiny_model_dir: TinyModel) -> None:
    source = tiny_model_dir("llama")
    config = models.load_config(source)
    config.vocab_size = 6_400
    with pytest.raises(ModelError, match=r"has 259 tokens, the model's table has 6,400 rows"):
        models.check_vocabulary(source, config)


def test_an_unused_token_behind_the_table_does_no_harm(
    tiny_model_dir: TinyModel, copy_of: CopyOf
) -> None:
    directory = copy_of(tiny_model_dir("llama"))
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    image = {**tokenizer["added_tokens"][0], "id": 264, "content": "<image_soft_token>"}
    tokenizer["added_tokens"].append(image)
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    models.check_vocabulary(directory, models.load_config(directory))
    (directory / "chat_template.jinja").write_text("<image_soft_token>")
    with pytest.raises(ModelError, match="does not belong to the model"):
        models.check_vocabulary(directory, models.load_config(directory))


@pytest.mark.usefixtures("no_network")
def test_a_folder_that_is_not_there_is_no_hub_id() -> None:
    for name in ("./absent", "/absent/model", "~/absent", "a/b/c", "..\\x"):
        with pytest.raises(ModelError, match="does not exist"):
            resolve_name(name)
    with pytest.raises(ModelError, match="does not exist"):
        resolve_name("someone/absent", source="local")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["https://example.org", "a b", "-x/y", "x/..", "name?"])
def test_a_name_that_is_no_model_id_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"neither a folder nor a model id|does not exist"):
        resolve_name(name)


@pytest.mark.usefixtures("no_network")
def test_without_the_hub_only_local_models_work(tiny_model_dir: TinyModel) -> None:
    with pytest.raises(ModelError, match="Hub not reachable; local models only") as caught:
        resolve_name("someone/absent")
    assert caught.value.code == "hub_unreachable"
    assert resolve_name(str(tiny_model_dir("llama"))) == tiny_model_dir("llama")


@pytest.mark.usefixtures("no_network")
def test_without_the_hub_a_complete_download_is_used(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    root = tmp_path / "cache" / "models--someone--tiny"
    shutil.copytree(tiny_model_dir("llama"), root / "snapshots" / "abc123")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc123")
    assert resolve_name("someone/tiny") == root / "snapshots" / "abc123"


@pytest.mark.usefixtures("no_network")
def test_modelscope_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ModelError, match="package modelscope") as caught:
        resolve_name("someone/absent", source="modelscope")
    assert "tunesmith[modelscope]" in caught.value.hint
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    with pytest.raises(ModelError, match="package modelscope"):
        resolve_name("someone/absent")


def test_a_relative_folder_is_looked_up_beside_the_recipe(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model_dir("llama"), tmp_path / "my-model")
    assert resolve_name("my-model", base_dir=tmp_path) == tmp_path / "my-model"


def test_the_cpu_computes_in_float32_unless_told_otherwise_and_says_what_that_costs() -> None:
    """D42 asks for fp16."""
    seen: list[str] = []
    assert models.decide_dtype("auto", "cpu") == torch.float32
    dtype = models.decide_dtype("float16", "cpu", lambda *warning: seen.append(warning[1]))
    assert dtype == torch.float16
    assert seen == ["float16 on this CPU may be more than ten times slower than float32."]
    assert models.decide_dtype("bfloat16", "cpu") == torch.bfloat16


def test_a_model_without_a_tokenizer_says_which_files_are_missing(
    tiny_model_dir: TinyModel, copy_of: CopyOf, tmp_path: Path
) -> None:
    directory = copy_of(tiny_model_dir("llama"))
    (directory / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="and no other file of a tokenizer") as caught:
        models.load_tokenizer_files(directory, tmp_path / "cache")
    assert caught.value.code == "tokenizer_missing"
    assert "tokenizer.json" in caught.value.hint


def test_a_folder_of_data_with_a_recipe_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("model: starter\n")
    with pytest.raises(ModelError, match="neither a model nor a run") as caught:
        resolve_name(str(tmp_path))
    assert "config.json" in caught.value.hint


@pytest.mark.usefixtures("no_network")
def test_a_name_that_is_nowhere_says_that_there_is_no_such_folder() -> None:
    with pytest.raises(ModelError, match="There is no folder nothere here"):
        resolve_name("nothere")


def test_a_fast_tokenizer_is_used_where_it_lies(tiny_model_dir: TinyModel, tmp_path: Path) -> None:
    directory = tiny_model_dir("llama")
    assert models.load_tokenizer_files(directory, tmp_path) == directory
    assert not list(tmp_path.iterdir())


def test_a_slow_tokenizer_is_converted_once(
    tiny_model_dir: TinyModel, copy_of: CopyOf, tmp_path: Path
) -> None:
    directory = copy_of(tiny_model_dir("gpt2"))
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    (directory / "tokenizer.json").unlink()
    (directory / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "GPT2Tokenizer", "unk_token": None, "bos_token": None}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    converted = models.load_tokenizer_files(directory, tmp_path / "cache")
    assert (converted / "tokenizer.json").is_file()
    assert "im_start" in (converted / "chat_template.jinja").read_text()
    before = (converted / "tokenizer.json").stat().st_mtime_ns
    assert models.load_tokenizer_files(directory, tmp_path / "cache") == converted
    assert (converted / "tokenizer.json").stat().st_mtime_ns == before


def test_a_folder_without_any_tokenizer_says_so(
    tiny_model_dir: TinyModel, copy_of: CopyOf, tmp_path: Path
) -> None:
    directory = copy_of(tiny_model_dir("llama"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        models.load_tokenizer_files(directory, tmp_path)
