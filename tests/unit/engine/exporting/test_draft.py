"""An export is whole in its place, or nothing is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.engine.exporting.draft import check_place, check_room, drafted, publish
from tunesmith.engine.exporting.errors import ExportFailed, ExportRefused
from tunesmith.runs import verify_manifest

# Writes more than a limit of the process allows, as a full disk does in the middle of a file.
TOO_LARGE = """
import resource, sys
from pathlib import Path
from tunesmith.engine.exporting.draft import drafted, publish
from tunesmith.errors import TunesmithError

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    with drafted(Path(sys.argv[1])) as draft:
        (draft / "small.json").write_text("{}")
        (draft / "weights.bin").write_bytes(bytes(2 << 20))
        publish(draft, Path(sys.argv[1]))
except TunesmithError as error:
    print(error.code, "|", error.message)
"""


def test_a_finished_draft_becomes_the_place_with_its_manifest(tmp_path: Path) -> None:
    out = tmp_path / "new" / "export"
    with drafted(out) as draft:
        (draft / "file.txt").write_text("whole")
        assert not out.exists()
        publish(draft, out, kind="export")
    manifest = verify_manifest(out)
    assert [file.path for file in manifest.files] == ["file.txt"]
    assert manifest.extra["kind"] == "export"
    assert [path.name for path in out.parent.iterdir()] == ["export"]


def test_a_draft_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with drafted(tmp_path / "out") as draft:
            (draft / "half.bin").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", TOO_LARGE, str(out)], capture_output=True, text=True, check=True
    )
    code, message = done.stdout.split(" | ")
    assert code == "disk_full"
    assert str(out) in message
    assert "Nothing of the export was kept." in message
    assert list(tmp_path.iterdir()) == []


def test_drafts_of_killed_exports_are_removed_and_those_of_others_stay(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    abandoned = tmp_path / f".out.exporting-{gone.pid}"
    of_another_place = tmp_path / f".other.exporting-{gone.pid}"
    alive = tmp_path / f".out.exporting-{os.getppid()}"
    for folder in (abandoned, of_another_place, alive):
        folder.mkdir()
    with drafted(tmp_path / "out"):
        assert not abandoned.exists()
        assert of_another_place.exists()
        assert alive.exists()


def test_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    check_place(tmp_path / "absent")
    check_place(tmp_path)
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(ExportRefused) as refused:
            check_place(place)
        assert refused.value.code == "export_place_taken"
        assert refused.value.exit_code == 2


def test_a_place_that_was_taken_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def finish_late() -> None:
        with drafted(out) as draft:
            out.mkdir()
            (out / "other.txt").touch()
            publish(draft, out)

    with pytest.raises(ExportRefused):
        finish_late()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_too_little_room_is_told_with_both_figures(tmp_path: Path) -> None:
    check_room(tmp_path / "out", 1024)
    with pytest.raises(ExportRefused) as refused:
        check_room(tmp_path / "not" / "there", 1 << 60)
    assert refused.value.code == "not_enough_space"
    details = refused.value.details
    assert details["needed_bytes"] > 1 << 60 > details["free_bytes"] > 0
    assert "1048576.0 TiB" in refused.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_without_permission_is_refused_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ExportFailed), drafted(tmp_path / "out"):
        pass


def test_a_parent_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportRefused) as refused:
        check_place(tmp_path / "file" / "out")
    assert refused.value.code == "export_place_taken"
