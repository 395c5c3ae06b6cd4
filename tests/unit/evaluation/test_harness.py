"""Tasks of lm-eval: the words where it is missing, its document, and a run where it is there."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tunesmith.errors import InputError
from tunesmith.evaluation.harness import Tasks, progress_in, run_tasks, scores_of
from tunesmith.evaluation.served import Place

IS_THERE = find_spec("lm_eval") is not None


@pytest.mark.skipif(IS_THERE, reason="lm-eval is installed")
def test_without_lm_eval_the_command_says_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tunesmith", "evaluate", "starter", "--lm-eval", "gsm8k"]
    out = tmp_path / "out"
    done = subprocess.run(
        [*command, "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'lm-eval[api]'" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "words", [["--data", "x.jsonl"], ["--scores", "bleu"], ["--allow-code"], ["--keep", "n"]]
)
def test_a_task_brings_its_own_rows_and_scores(tmp_path: Path, words: list[str]) -> None:
    command = [sys.executable, "-m", "tunesmith", "evaluate", "starter", "--lm-eval", "gsm8k"]
    done = subprocess.run(
        [*command, *words, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{words[0]} cannot be had with --lm-eval" in done.stderr


def test_each_number_of_a_task_is_told_with_its_error() -> None:
    measures = {
        "alias": "gsm8k",
        "exact_match,strict-match": 0.5,
        "exact_match_stderr,strict-match": 0.1,
        "acc,none": float("nan"),
        "acc_stderr,none": "N/A",
    }
    assert scores_of({"results": {"gsm8k": measures}}) == [
        ("gsm8k", "exact_match (strict-match)", 0.5, 0.1),
        ("gsm8k", "acc", None, None),
    ]


def test_progress_is_that_of_the_last_bar(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Requesting API:   8%|x | 1/12 [00:00<00:01]Requesting API:  75%|y | 9/12 [")
    assert progress_in(log) == (9, 12)
    log.write_text("loading")
    assert progress_in(log) == (0, 0)


@pytest.mark.slow
@pytest.mark.skipif(not IS_THERE, reason="lm-eval is not installed")
def test_generated_and_weighed_tasks_run_through_the_served_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tasks = write_tasks(tmp_path / "tasks")
    asked = Tasks(("spoken", "weighed"), include_path=tasks, limit=3)
    with Place("starter") as place:
        found = run_tasks(place, asked, tmp_path / "out", lambda *_: None)
        assert found["asked_as"] == {"spoken": "chat", "weighed": "completions"}
        assert {task for task, *_ in scores_of(found)} == {"spoken", "weighed"}
        lines = (tmp_path / "out" / "samples" / "weighed.jsonl").read_text().splitlines()
        assert len(lines) == 3
        with pytest.raises(InputError, match="lm-eval cannot run the task nothing"):
            run_tasks(place, Tasks(("nothing",)), tmp_path / "other", lambda *_: None)


def write_tasks(folder: Path) -> Path:
    folder.mkdir()
    rows = [{"question": f"{n} and", "choices": [" more", " less"], "label": 0} for n in range(4)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
    }
    weighed = {
        "task": "weighed",
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    spoken = {
        "task": "spoken",
        "output_type": "generate_until",
        "doc_to_target": "x",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean"}],
    }
    for task in (weighed, spoken):
        (folder / f"{task['task']}.yaml").write_text(json.dumps(common | task))
    return folder
