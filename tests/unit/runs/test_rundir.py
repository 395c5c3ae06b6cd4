"""The run directory: created once, never overwritten."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.mounts import small_disk

from tunesmith.errors import InputError, RunDirError
from tunesmith.runs import RunDir
from tunesmith.runs.files import (
    StorageFull,
    data_directory,
    explain_storage_error,
    format_bytes,
    write_atomically,
)


def test_a_new_run_holds_the_recipe_and_its_folders(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "a" / "run", "model: {base: starter}\n", recipe_name="bot")
    assert run.recipe_path.read_text().endswith("model: {base: starter}\n")
    assert run.log_path.parent.is_dir()
    assert run.checkpoints_dir.is_dir()
    assert RunDir.open(run.path) == run


def test_a_file_address_is_a_path_and_another_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunDir.create(f"file://{tmp_path}/a%20run", "name: x\n", recipe_name="x")
    assert run.path == tmp_path / "a run"
    assert RunDir.open(f"file:{tmp_path}/a%20run") == run
    monkeypatch.setenv("TUNESMITH_DATA_DIR", f"file://{tmp_path}/data")
    assert data_directory() == tmp_path / "data"
    for wrong in ("s3://bucket/run", "file://elsewhere/run"):
        with pytest.raises(InputError) as refused:
            RunDir.create(wrong, "name: x\n", recipe_name="x")
        assert refused.value.code == "not_a_folder"
    assert [each.name for each in tmp_path.iterdir()] == ["a run"]


_CREATE_WITHOUT_SPACE = """
import resource, signal, sys
from tunesmith.runs import RunDir
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # bytes of one file
RunDir.create(sys.argv[1], "name: x\\n" * 100, recipe_name="x")
"""


def test_a_run_that_could_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        failed = subprocess.run(
            [sys.executable, "-c", _CREATE_WITHOUT_SPACE, str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "File too large" in failed.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
    RunDir.create(tmp_path / "new", "name: x\n", recipe_name="x")


@pytest.fixture
def full_disk(tmp_path: Path) -> Generator[Path]:
    """A file system with room for a few folders and for no file."""
    with small_disk(tmp_path / "full", "size=64k,nr_inodes=6") as place:
        yield place


def test_a_full_disk_at_the_start_leaves_nothing_and_says_to_try_again(full_disk: Path) -> None:
    with pytest.raises(StorageFull) as caught:
        RunDir.create(full_disk / "run", "name: x\n", recipe_name="x")
    assert "same command again" in caught.value.hint
    assert list(full_disk.iterdir()) == []


def test_an_existing_run_is_refused_with_the_way_to_resume(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", "name: first\n", recipe_name="first")
    with pytest.raises(RunDirError) as caught:
        RunDir.create(tmp_path / "run", "name: second\n", recipe_name="second")
    assert "--resume" in caught.value.hint
    assert "first" in run.recipe_path.read_text()


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(RunDirError, match="not empty"):
        RunDir.create(tmp_path, "name: x\n", recipe_name="x")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunDirError, match="is a file"):
        RunDir.create(tmp_path / "run", "name: x\n", recipe_name="x")


def test_opening_what_is_no_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="There is no run directory"):
        RunDir.open(tmp_path / "nowhere")
    with pytest.raises(RunDirError, match=r"recipe\.yaml is missing"):
        RunDir.open(tmp_path)


def test_a_path_with_spaces_and_chinese_characters_works(tmp_path: Path) -> None:
    """FAULTS row 35."""
    run = RunDir.create(tmp_path / "我的 运行 №1", "name: 客服\n", recipe_name="客服")
    assert "客服" in RunDir.open(run.path).recipe_path.read_text(encoding="utf-8")
    assert run.name == "我的 运行 №1"


def test_an_atomic_write_replaces_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / ("名" * 80)  # 240 bytes: a longer temporary name would not fit
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_with_the_space_that_is_left(tmp_path: Path) -> None:
    """FAULTS row 4."""
    error = explain_storage_error(OSError(28, "No space left on device"), tmp_path / "x" / "y")
    assert isinstance(error, StorageFull)
    assert "Disk full" in error.message
    assert "left)" in error.message
    assert error.code == "disk_full"
    told = RuntimeError("Error while serializing: No space left on device (os error 28)")
    assert isinstance(explain_storage_error(told, tmp_path), StorageFull)
    assert explain_storage_error(RuntimeError("shapes (3, 28) differ"), tmp_path) is None
    assert explain_storage_error(OSError(2, "No such file"), tmp_path) is None


def test_bytes_are_written_for_people() -> None:
    assert [format_bytes(n) for n in (0, 1023, 1536, 5 * 1024**3)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 GiB",
    ]
