"""The loss of each row, measured for the choice of data: exactly what transformers computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F

from tunesmith.data.conversation import Conversation, Message
from tunesmith.data.renderer import Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.__main__ import run
from tunesmith.engine.score import score_files

ROWS = [
    ("What is tea?", "A drink."),
    ("你好吗？", "我很好，谢谢你。" * 6),
    ("Say one", "1"),
    *((f"question {n}", "word " * (n % 17 + 1)) for n in range(40)),
]


def _silent(kind: str, done: int, total: int) -> None:
    assert kind
    assert done <= total or not total


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [orjson.dumps({"question": q, "answer": a}) for q, a in ROWS]
    path.write_bytes(b"\n".join(lines))
    return path


def _plain_losses(directory: Path) -> list[float]:
    """One row at a time, through transformers' own forward pass."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager").eval()
    renderer = Renderer(TextTokenizer.load(directory))
    losses: list[float] = []
    for question, answer in ROWS:
        record = Conversation((Message("user", question), Message("assistant", answer)))
        (row,) = renderer.encode([record])
        ids = torch.from_numpy(row.ids.astype(np.int64))
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, :-1]
        wanted = torch.from_numpy(row.targets[1:].astype(bool))
        losses.append(float(F.cross_entropy(logits[wanted], ids[1:][wanted])))
    return losses


@pytest.mark.parametrize("family", ["qwen3", "gemma3_text", "gpt2"])
def test_the_loss_of_each_row_is_that_of_plain_transformers(
    tiny_model_dir: Callable[[str], Path], rows_file: Path, family: str
) -> None:
    directory = tiny_model_dir(family)
    found = score_files(str(directory), [rows_file], device="cpu", on_progress=_silent)
    assert found.rows.tolist() == list(range(1, len(ROWS) + 1))
    assert found.losses == pytest.approx(_plain_losses(directory), rel=2e-5)
    assert found.tokens[2] == len("1<") or found.tokens[2] == 2  # the digit and the end of turn


def test_what_a_row_gets_does_not_depend_on_the_rows_beside_it(
    tiny_model_dir: Callable[[str], Path],
    rows_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = str(tiny_model_dir("llama"))
    together = score_files(directory, [rows_file], device="cpu", on_progress=_silent)
    monkeypatch.setattr("tunesmith.engine.scorer.CPU_MICRO_BATCH", 1)
    alone = score_files(directory, [rows_file], device="cpu", on_progress=_silent)
    assert together.losses == pytest.approx(alone.losses, rel=1e-5)


def test_a_row_longer_than_the_limit_is_cut_and_counted(
    tiny_model_dir: Callable[[str], Path], rows_file: Path
) -> None:
    directory = str(tiny_model_dir("llama"))
    found = score_files(directory, [rows_file], device="cpu", max_length=64, on_progress=_silent)
    assert found.truncated > 0
    assert found.tokens.max() < 64


def test_the_command_writes_a_table_and_tells_its_progress(
    tiny_model_dir: Callable[[str], Path],
    rows_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "losses.parquet"
    words = ["score", str(tiny_model_dir("llama")), "--data", str(rows_file), "--out", str(out)]
    assert run([*words, "--device", "cpu"]) == 0
    table = pq.read_table(out)
    assert table.column_names == ["row", "loss", "tokens"]
    assert math.isfinite(table["loss"].to_numpy().sum())
    told = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[-1] == {"kind": "done", "rows": len(ROWS), "truncated": 0, "dropped": {}}
    assert {"kind": "Scoring", "done": len(ROWS), "total": len(ROWS)} in told


def test_rows_of_which_nothing_can_be_scored_are_an_error_that_says_so(
    tiny_model_dir: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "pairs.jsonl"
    rows.write_bytes(orjson.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}))
    words = ["score", str(tiny_model_dir("llama")), "--data", str(rows), "--out", "x.parquet"]
    assert run([*words, "--device", "cpu"]) == 2
    assert "None of the rows has a token to score: preference_row 1" in capsys.readouterr().err
