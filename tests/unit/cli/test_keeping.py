"""`tunesmith backup`, `restore` and `clean`, as people and scripts use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MAKE = """
import sys
from pathlib import Path
from tunesmith.server.datadir import prepare
from tunesmith.server.migrations.upgrade import migrate
place = prepare(Path(sys.argv[1]))
migrate(f"sqlite:///{place.root}/tunesmith.db")
place.file("file-a").write_text("row")
(place.uploads / "upload-unknown").write_text("left behind")
"""


def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def document(*words: str, code: int = 0) -> dict[str, Any]:
    return json.loads(run(*words, "--json", code=code).stdout)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "the 数据"
    subprocess.run([sys.executable, "-c", MAKE, str(root)], check=True)
    return root


@pytest.mark.slow
def test_a_backup_is_written_and_brought_back(data: Path, tmp_path: Path) -> None:
    target, new = tmp_path / "b.tar.zst", tmp_path / "new"
    told = run("backup", str(target), "--data-dir", str(data)).stdout
    assert "written and read again" in told
    restored = document("restore", str(target), "--data-dir", str(new))
    assert restored["missing"] == []
    assert (new / "files" / "file-a").read_text() == "row"
    again = document("restore", str(target), "--data-dir", str(new), code=2)
    assert again["error"]["code"] == "data_directory_not_empty"
    twice = run("backup", str(target), "--data-dir", str(data), code=2)
    assert "exists already" in twice.stderr


@pytest.mark.slow
def test_a_clean_up_shows_first_and_removes_with_yes(data: Path) -> None:
    left = data / "uploads" / "upload-unknown"
    os.utime(left, (0, 0))
    told = run("clean", "--data-dir", str(data)).stdout
    assert "uploads/upload-unknown" in told
    assert "nothing was removed" in told
    assert left.exists()
    done = document("clean", "--yes", "--data-dir", str(data))
    assert [item["path"] for item in done["items"]] == ["uploads/upload-unknown"]
    assert done["bytes"] == len("left behind")
    assert not left.exists()
    assert run("clean", "--data-dir", str(data)).stdout == "Nothing to remove.\n"


def test_without_an_installation_they_say_so_and_make_none(tmp_path: Path) -> None:
    for words in (("backup", str(tmp_path / "b.tar")), ("clean",)):
        done = run(*words, "--data-dir", str(tmp_path / "none"), code=2)
        assert "There is no database" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_backup_that_is_ended_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    with (data / "files" / "large").open("wb") as file:
        file.truncate(20 << 30)  # a hole: takes no room, and minutes to copy
    target = tmp_path / "out" / "b.tar.gz"
    target.parent.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "backup", str(target), "--data-dir", str(data)],
        stderr=subprocess.PIPE,
    )
    while not list(target.parent.glob("*.part")):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" not in told
    assert list(target.parent.iterdir()) == []
