"""The parameter reference and the ready recipes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.data.names import is_builtin
from tunesmith.data.resolve import resolve_dataset
from tunesmith.recipe import catalog, load
from tunesmith.recipe.reference import PAGES, main, reference

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_the_reference_in_docs_is_made_from_the_schema(page) -> None:
    written = (ROOT / "docs" / page.file).read_text(encoding="utf-8")
    assert written == reference(page), "run `python -m tunesmith.recipe.reference`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_the_reference_names_every_field_and_alias(page) -> None:
    text = reference(page)
    for doc in catalog().values():
        assert f"| `{doc.leaf}` |" in text
        assert all(f"`{alias}`" in text for alias in doc.facts.aliases)


def test_a_stale_reference_is_found_and_written_again(tmp_path: Path, capsys) -> None:
    assert main(["--check", "--docs", str(tmp_path)]) == 1
    assert "stale" in capsys.readouterr().err
    assert main(["--docs", str(tmp_path)]) == 0
    assert main(["--check", "--docs", str(tmp_path)]) == 0


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_ready_recipe_loads(path: Path) -> None:
    loaded = load(path)
    assert loaded.recipe.name
    assert path.name in (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_ready_recipe_names_rows_that_ship_or_a_file_of_the_user(path: Path) -> None:
    for source in load(path).recipe.data.train:
        if is_builtin(source.dataset):
            assert resolve_dataset(source.dataset, path.parent).is_file()
        else:
            assert source.dataset == Path(source.dataset).name, "copied elsewhere it still works"


def test_the_ready_recipes_cover_the_usual_ways_to_train() -> None:
    loaded = [load(path).recipe for path in RECIPES]
    found = {(recipe.adapter.kind, recipe.stage.kind) for recipe in loaded}
    assert {("lora", "sft"), ("full", "sft"), ("full", "pt")} <= found
    assert "starter" in {recipe.model.base for recipe in loaded}


def test_importing_the_package_loads_neither_torch_nor_yaml() -> None:
    code = "import sys, tunesmith.recipe; print(sorted({'torch', 'yaml'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
