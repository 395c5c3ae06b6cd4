"""The command line itself: fast help, errors in plain words, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tunesmith.cli.main import COMMANDS, overview


def _tunesmith(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    base = {key: value for key, value in os.environ.items() if not key.startswith("LC_")}
    return subprocess.run(
        [sys.executable, "-m", "tunesmith", *arguments],
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env={**base, **environment},
        check=False,
    )


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    code = (
        "import sys\nfrom tunesmith.cli.main import run\n"
        "try: run(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'typer', 'rich', 'pydantic', 'yaml', 'numpy', 'matplotlib', 'pyarrow', 'torch',"
        " 'psutil', 'orjson'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_app(name: str) -> None:
    assert import_module(COMMANDS[name].module).app.registered_commands


@pytest.mark.parametrize("name", ["train", "chat", "plan", "doctor", "demo"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    done = _tunesmith(name, "--help", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert f"tunesmith {name}" in done.stdout
    assert "Examples:" in done.stdout


def test_the_terminal_breaks_the_lines_of_a_help_not_the_source() -> None:
    lines = _tunesmith("backup", "--help", COLUMNS="80").stdout.splitlines()
    first = next(n for n, line in enumerate(lines) if "Datasets, files" in line)
    paragraph = lines[first : next(n for n in range(first, len(lines)) if not lines[n].strip())]
    assert len(paragraph) > 3
    assert all(len(line.strip()) > 60 for line in paragraph[:-1]), paragraph


def test_help_speaks_chinese_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_LANG", "zh_CN")
    assert "微调" in overview()


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_chinese_text_is_intact_in_any_locale(locale: str) -> None:
    """FAULTS row 34."""
    done = _tunesmith("--help", LC_ALL=locale, TUNESMITH_LANG="zh")
    assert "微调大语言模型" in done.stdout
    done = _tunesmith("train", "没有.yaml", LC_ALL=locale)
    assert "没有.yaml" in done.stderr


def test_the_version_is_shown() -> None:
    assert _tunesmith("--version").stdout.startswith("tunesmith ")


def test_an_unknown_command_names_the_nearest_one() -> None:
    done = _tunesmith("trian")
    assert done.returncode == 2
    assert "Did you mean `tunesmith train`?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_wrong_use() -> None:
    done = _tunesmith("doctor", "--fix")
    assert done.returncode == 2
    assert "--fix" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "There is no recipe"),
        (["train", "nowhere.yaml"], "nowhere.yaml"),
        (["train", "--resume"], "--resume needs the run"),
        (["train", "--resume", "--run", "nowhere"], "no run directory"),
        (["train", "a=b", "--resume", "--run", "nowhere"], "cannot be changed"),
        (["train", "r.yaml", "epochs"], "no override"),
        (["plan", "nowhere.yaml"], "nowhere.yaml"),
        (["chat", "runs/x", "--adapter", "nowhere"], "no adapter folder"),
    ],
)
def test_wrong_input_ends_with_2_on_one_screen(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = _tunesmith(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 24
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_json_where_json_is_wanted(tmp_path: Path) -> None:
    done = _tunesmith("train", "nowhere.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere.yaml" in json.loads(done.stdout)["error"]["message"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = _tunesmith("train", "nowhere.yaml", "--debug", cwd=tmp_path)
    assert "Traceback" in done.stderr
    assert "RecipeError" in done.stderr


def test_an_unexpected_error_is_short_and_its_traceback_is_kept(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom tunesmith.cli import main\n"
        "main.COMMANDS['broken'] = main.Command('a_module_that_is_not_there', '', '')\n"
        "main.run(['broken'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "TUNESMITH_DATA_DIR": str(tmp_path / "数据 dir")},
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "ModuleNotFoundError" in done.stderr
    (report,) = (tmp_path / "数据 dir" / "logs").iterdir()
    assert str(report) in done.stderr
    assert "Traceback" in report.read_text()


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m tunesmith recipe fields | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
