"""The terminal in Chinese: no English sentence beside a Chinese one in what people meet most."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from string import Formatter

import pytest

from tunesmith.cli.language import TEXTS, spoken
from tunesmith.cli.main import run
from tunesmith.errors import DataError

# Two words of English one after the other, but for commands, paths and code.
ENGLISH = re.compile(r"(?<![\w`/.-])[a-z]{2,} [a-z]{2,}(?![\w`/.-])")


def told(*words: str, cwd: Path, capsys: pytest.CaptureFixture[str]) -> str:
    os.chdir(cwd)
    with pytest.raises(SystemExit):
        run(list(words))
    out, err = capsys.readouterr()
    return out + err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNESMITH_LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TUNESMITH_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("TUNESMITH_TOKEN", raising=False)
    text = "model: {base: ./none}\ndata: {train: [row.jsonl]}\nepochs: -1\nlearning_rte: 1\n"
    (tmp_path / "wrong.yaml").write_text(text)
    (tmp_path / "right.yaml").write_text("model: {base: starter}\ndata: {train: [row.jsonl]}\n")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "x").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["trian"],
        ["plan", "nofile.yaml"],
        ["plan", "wrong.yaml"],
        ["plan", "right.yaml"],
        ["jobs", "list"],
        ["recipe", "explain", "lora_rank"],
        ["recipe", "explain", "learning_rate"],
    ],
    ids=" ".join,
)
def test_what_people_meet_most_is_chinese_alone(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(*words, cwd=folder, capsys=capsys)
    assert re.search("[\u4e00-\u9fff]", text)
    shown = re.sub(r"`[^`]*`|https?://\S+|/\S+|tunesmith [\w -]+", "", text)
    assert ENGLISH.findall(shown) == []


def test_a_run_directory_in_use_is_told_in_chinese(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told("train", "right.yaml", "--run", "run", cwd=folder, capsys=capsys)
    assert "错误：" in text
    assert "不为空" in text


def test_an_error_without_what_its_chinese_text_names_stays_whole_in_english(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNESMITH_LANG", "zh")
    error = DataError("There is none.", hint="Make one.", code="dataset_not_found")
    assert spoken(error) == ("There is none.", "Make one.")
    monkeypatch.setenv("TUNESMITH_LANG", "en")
    assert spoken(error) == ("There is none.", "Make one.")


def test_every_text_is_chinese_and_says_what_to_do() -> None:
    for code, (message, hint) in TEXTS.items():
        assert re.search("[\u4e00-\u9fff]", message), code
        assert hint, code
        list(Formatter().parse(message + hint))


def test_doctor_speaks_chinese_of_the_platform(folder: Path) -> None:
    """Through the process that looks at the platform; libraries keep their names."""
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith.server", "doctor", "--lang", "zh"],
        env=os.environ | {"TUNESMITH_LANG": "zh", "TUNESMITH_PORT": "0"},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "将在首次启动时创建" in done.stdout
