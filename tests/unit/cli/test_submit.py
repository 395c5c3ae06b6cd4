"""From a recipe file to a run directory that stands on its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tunesmith.cli.submit import create_run, default_directory, read_submission, reopen_run
from tunesmith.errors import DataError, ModelError, RecipeError, RunDirError
from tunesmith.recipe import load_recipe
from tunesmith.runs import RunDir, acquire_lock, write_manifest

_RECIPE = """\
# the recipe of a support bot
name: 客服
model: {base: starter}
adapter: {kind: lora, rank: 8}
data: {train: [rows.jsonl]}
training: {epochs: 2}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "my recipes 配方"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("{}\n")
    path = folder / "bot.yaml"
    path.write_text(_RECIPE, encoding="utf-8")
    return path


def test_the_recipe_of_a_run_alone_asks_for_what_was_asked(recipe: Path, tmp_path: Path) -> None:
    submission = read_submission(recipe, ["training.epochs=5", "lr=3e-5"])
    run = create_run(tmp_path / "run", submission)
    assert load_recipe(run.recipe_path) == submission.recipe
    assert submission.recipe.training.epochs == 5
    assert submission.recipe.training.learning_rate == 3e-5
    text = run.recipe_path.read_text(encoding="utf-8")
    assert f"# Submitted from {recipe}" in text
    assert "# with lr=3e-5" in text
    # Only what was asked for is written, so the defaults stay visible as such.
    assert "weight_decay" not in text


def test_paths_beside_the_recipe_become_absolute(recipe: Path) -> None:
    source = read_submission(recipe, []).recipe.data.train[0]
    assert source.dataset == str(recipe.parent / "rows.jsonl")


def test_paths_below_the_current_directory_are_found_too(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.jsonl").write_text("{}\n")
    (tmp_path / "check.jsonl").write_text("{}\n")
    (tmp_path / "base-model").mkdir()
    submission = read_submission(
        recipe,
        [
            "data.train=[other.jsonl]",
            "model.base=base-model",
            "data.validation={kind: dataset, dataset: check.jsonl}",
        ],
    )
    assert submission.recipe.data.train[0].dataset == str(tmp_path / "other.jsonl")
    assert submission.recipe.model.base == str(tmp_path / "base-model")
    asked = yaml.safe_load(submission.text)
    assert asked["data"]["validation"]["dataset"] == str(tmp_path / "check.jsonl")


def test_a_hub_id_stays_a_hub_id(recipe: Path) -> None:
    assert read_submission(recipe, ["base=Qwen/Qwen3-0.6B"]).recipe.model.base == "Qwen/Qwen3-0.6B"


def test_a_dataset_that_is_not_there_is_named_with_what_is(recipe: Path) -> None:
    with pytest.raises(DataError, match=r"data\.train\.0\.dataset") as caught:
        read_submission(recipe, ["data.train=[row.jsonl]"])
    assert str(recipe.parent / "row.jsonl") in caught.value.message
    assert "rows.jsonl" in caught.value.hint


def test_all_datasets_that_are_not_there_are_named_at_once(recipe: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read_submission(recipe, ["data.train=[row.jsonl, rows.jsonl, b.jsonl]"])
    first, second = caught.value.details["problems"]
    assert (first["path"], second["path"]) == ("data.train.0.dataset", "data.train.2.dataset")
    assert first["message"].startswith("there is no file ")
    assert "Files with such a name there: rows.jsonl" in caught.value.message


def test_wrong_values_unknown_names_and_files_that_are_not_there_are_told_together(
    recipe: Path,
) -> None:
    wrong = ["data.train=[row.jsonl]", "base=./no-model", "epochs=-1", "learning_rat=1", "stage=x"]
    with pytest.raises(RecipeError) as caught:
        read_submission(recipe, wrong)
    problems = {each["path"]: each["message"] for each in caught.value.details["problems"]}
    assert problems.keys() == {
        "data.train.0.dataset", "model.base", "training.epochs", "learning_rat", "stage.kind"
    }  # fmt: skip
    assert "no-model" in problems["model.base"]
    assert all(path in caught.value.message for path in problems)


def test_what_stands_for_a_wrong_value_is_not_looked_for(recipe: Path) -> None:
    """A path that is a number is one mistake, not also a file that is not there."""
    with pytest.raises(RecipeError) as caught:
        read_submission(recipe, ["data.train=[{dataset: 7}]", "data.test.dataset="])
    paths = [each["path"] for each in caught.value.details["problems"]]
    assert sorted(paths) == ["data.test.dataset", "data.train.0.dataset"]


def test_a_model_folder_that_is_not_there_is_named(recipe: Path) -> None:
    with pytest.raises(ModelError, match=r"\./no-model"):
        read_submission(recipe, ["base=./no-model"])


def test_a_preset_reads_back_as_the_same_recipe(recipe: Path, tmp_path: Path) -> None:
    from tunesmith.recipe import PRESETS

    for preset in PRESETS:
        text = f"preset: {preset}\nmodel: {{base: starter}}\ndata: {{train: [rows.jsonl]}}\n"
        path = recipe.with_name("preset.yaml")
        path.write_text(text)
        submission = read_submission(path, [])
        run = create_run(tmp_path / preset, submission)
        assert load_recipe(run.recipe_path) == submission.recipe


def test_runs_without_a_name_get_one_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = default_directory("客服 bot/../x")
    assert first.parent == Path("runs")
    assert first.name.startswith("客服-bot-..-x-")
    first.mkdir(parents=True)
    assert default_directory("客服 bot/../x") != first


def test_a_run_goes_on_with_the_recipe_that_it_began_with(recipe: Path, tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", read_submission(recipe, []))
    assert reopen_run(run.path, None) == run
    assert reopen_run(run.path, read_submission(recipe, [])) == run
    _add_checkpoint(run)
    with pytest.raises(RunDirError, match=r"training\.epochs was 2\.0, now 7\.0"):
        reopen_run(run.path, read_submission(recipe, ["training.epochs=7"]))


def test_a_run_that_never_began_may_start_again_with_another_recipe(
    recipe: Path, tmp_path: Path
) -> None:
    run = create_run(tmp_path / "run", read_submission(recipe, []))
    run.resolved_path.write_text("half decided")
    reopen_run(run.path, read_submission(recipe, ["training.epochs=7"]))
    assert load_recipe(run.recipe_path).training.epochs == 7
    assert not run.resolved_path.exists()


def test_a_run_that_is_being_trained_is_left_alone(recipe: Path, tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", read_submission(recipe, []))
    with acquire_lock(run, attempt=1), pytest.raises(RunDirError, match="is being trained"):
        reopen_run(run.path, None)


def _add_checkpoint(run: RunDir) -> None:
    path = run.checkpoints_dir / "step-000010"
    path.mkdir()
    write_manifest(path, step=10)


def test_datasets_of_the_package_keep_their_names(recipe: Path) -> None:
    """A run means the same where tunesmith is installed elsewhere."""
    override = "data.train=[rows.jsonl, {dataset: 'builtin:general', role: general}]"
    general = read_submission(recipe, [override]).recipe.data.train[1]
    assert general.dataset == "builtin:general"
    with pytest.raises(DataError, match="No dataset builtin:generel ships"):
        read_submission(recipe, ["data.train=builtin:generel"])


def test_the_path_of_a_test_dataset_becomes_absolute(recipe: Path) -> None:
    """C13"""
    (recipe.parent / "test.jsonl").write_text("{}\n")
    test = read_submission(recipe, ["data.test.dataset=test.jsonl"]).recipe.data.test
    assert test.kind == "dataset"
    assert test.dataset == str(recipe.parent / "test.jsonl")
