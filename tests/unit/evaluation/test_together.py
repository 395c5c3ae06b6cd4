"""Base and adapter in one process: both sides at once, told as one, ended as one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.evaluation.adapters import dtype_of_adapter
from tunesmith.evaluation.together import both


def quiet(*_: object) -> None:
    """Progress that nobody looks at."""


def test_progress_of_both_sides_is_told_as_one() -> None:
    told: list[tuple[str, int, int]] = []
    met = threading.Barrier(2, timeout=60)

    def side(tell: Callable[[str, int, int], None]) -> None:
        for done in range(3):
            met.wait()
            tell("Answering", done, 2)

    both(side, side, lambda *what: told.append(what))
    assert told[-1] == ("Answering", 4, 4)
    assert all(total in (2, 4) for _, _, total in told)


def test_an_error_of_one_side_ends_the_other_at_its_next_answer() -> None:
    answers = 0
    failed = threading.Event()

    def fails(_: Callable[[str, int, int], None]) -> None:
        failed.set()
        raise OSError("no room")

    def goes_on(tell: Callable[[str, int, int], None]) -> None:
        nonlocal answers
        failed.wait(5)
        while answers < 10_000_000:
            tell("Answering", answers, 10_000_000)
            answers += 1

    with pytest.raises(OSError, match="no room"):
        both(fails, goes_on, quiet)
    assert answers < 10_000_000


def write_run(folder: Path, base: str, dtype: str = "auto") -> Path:
    (folder / "artifacts" / "adapter").mkdir(parents=True)
    (folder / "artifacts" / "adapter" / "adapter_config.json").write_text("{}")
    model = {"base": base, "dtype": dtype}
    recipe = {"model": model, "data": {"train": ["builtin:shop"]}}
    (folder / "resolved.yaml").write_text(json.dumps(recipe))
    return folder


def test_an_adapter_is_recognised_by_the_base_that_its_recipe_names(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "starter", "bfloat16")
    assert dtype_of_adapter("starter", str(run)) == "bfloat16"
    assert dtype_of_adapter("starter", str(run / "artifacts" / "adapter")) == "bfloat16"
    assert dtype_of_adapter("Qwen/Qwen3-0.6B", str(run)) is None
    assert dtype_of_adapter("starter", "starter") is None
    assert dtype_of_adapter("starter", str(tmp_path)) is None


def test_a_folder_of_peft_is_recognised_by_its_settings(tmp_path: Path) -> None:
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    adapter.mkdir()
    base.mkdir()
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps({"base_model_name_or_path": str(base)}))
    assert dtype_of_adapter(str(base / ".." / "base"), str(adapter)) == "auto"
    assert dtype_of_adapter(str(tmp_path), str(adapter)) is None
    for kind, told in (("PROMPT_TUNING", "auto"), ("PREFIX_TUNING", "auto"), ("OFT", None)):
        settings = {"base_model_name_or_path": str(base), "peft_type": kind}
        config.write_text(json.dumps(settings))
        assert dtype_of_adapter(str(base), str(adapter)) == told
    config.write_text("no settings")
    assert dtype_of_adapter(str(base), str(adapter)) is None
