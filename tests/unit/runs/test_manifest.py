"""Only a checkpoint that matches its manifest is ever used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tunesmith.runs import (
    CheckpointBroken,
    RunDir,
    checkpoints,
    latest_valid_checkpoint,
    verify_manifest,
    write_manifest,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "运行 one", "name: x\n", recipe_name="x")


def _checkpoint(run: RunDir, step: int) -> Path:
    path = run.checkpoints_dir / f"step-{step:06d}"
    (path / "adapter").mkdir(parents=True)
    (path / "adapter" / "weights.safetensors").write_bytes(bytes(range(256)) * 10)
    (path / "state.json").write_text(json.dumps({"step": step}))
    (path / "half-written.tmp").write_text("left by a crash")
    write_manifest(path, step=step, loss=1.5)
    return path


def test_a_complete_checkpoint_verifies_with_its_extra_fields(run: RunDir) -> None:
    manifest = verify_manifest(_checkpoint(run, 100))
    assert manifest.extra == {"step": 100, "loss": 1.5}
    assert [file.path for file in manifest.files] == ["adapter/weights.safetensors", "state.json"]
    assert manifest.total_bytes == 2560 + len('{"step": 100}')


def test_a_truncated_file_is_found_with_its_sizes(run: RunDir) -> None:
    """FAULTS row 3."""
    path = _checkpoint(run, 1)
    with (path / "adapter" / "weights.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(CheckpointBroken, match=r"weights\.safetensors") as caught:
        verify_manifest(path)
    assert "expected 2560 bytes, found 1000 bytes" in caught.value.message
    assert caught.value.details["actual_size"] == 1000


def test_one_flipped_bit_is_found(run: RunDir) -> None:
    """FAULTS row 3."""
    path = _checkpoint(run, 1)
    weights = path / "adapter" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[1234] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointBroken, match="content has changed") as caught:
        verify_manifest(path)
    assert caught.value.details["file"] == "adapter/weights.safetensors"
    assert "bytes" not in caught.value.message  # the size is what it should be


def test_a_missing_file_is_found(run: RunDir) -> None:
    path = _checkpoint(run, 1)
    (path / "state.json").unlink()
    with pytest.raises(CheckpointBroken, match=r"state\.json: it is missing"):
        verify_manifest(path)


@pytest.mark.parametrize(
    "manifest",
    ["", "{", "[]", "{}", '{"files": [{"path": "a"}]}', '{"files": 3}', '{"files": ["a"]}'],
)
def test_a_manifest_that_cannot_be_read_breaks_the_checkpoint(run: RunDir, manifest: str) -> None:
    path = _checkpoint(run, 1)
    (path / "manifest.json").write_text(manifest)
    with pytest.raises(CheckpointBroken, match="cannot be read"):
        verify_manifest(path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b"])
def test_a_manifest_cannot_name_files_outside_its_directory(run: RunDir, name: str) -> None:
    path = _checkpoint(run, 1)
    entry = {"path": name, "size": 1, "sha256": "0" * 64}
    (path / "manifest.json").write_text(json.dumps({"files": [entry]}))
    with pytest.raises(CheckpointBroken, match="names"):
        verify_manifest(path)


def test_the_newest_checkpoint_that_verifies_is_used_and_broken_ones_are_reported(
    run: RunDir,
) -> None:
    """FAULTS row 2: every prefix of the files of a checkpoint is what some crash leaves."""
    _checkpoint(run, 100)
    good = _checkpoint(run, 150)
    whole = _checkpoint(run, 200)
    parts = [path for path in sorted(whole.rglob("*")) if path.is_file()]
    for count in range(len(parts)):
        broken = run.checkpoints_dir / "step-000250"
        shutil.rmtree(broken, ignore_errors=True)
        broken.mkdir()
        for part in [path for path in parts if path.name != "manifest.json"][:count]:
            copy = broken / part.relative_to(whole)
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(part, copy)
        reports: list[tuple[Path, str]] = []
        found = latest_valid_checkpoint(run, lambda path, why, r=reports: r.append((path, why)))
        assert found is not None
        assert found.step == 200
        assert [path for path, _ in reports] == [broken]
        assert "manifest.json, written last, is missing" in reports[0][1]
    (whole / "state.json").unlink()
    found = latest_valid_checkpoint(run, lambda *_: None)
    assert found is not None
    assert found.path == good


def test_checkpoints_come_in_the_order_of_their_steps(run: RunDir) -> None:
    for step in (999_999, 100, 1_000_000):
        _checkpoint(run, step)
    (run.checkpoints_dir / "notes").mkdir()
    (run.checkpoints_dir / "step-000007").write_text("a file, no checkpoint")
    assert [checkpoint.step for checkpoint in checkpoints(run)] == [100, 999_999, 1_000_000]


def test_a_run_without_checkpoints_has_none(run: RunDir) -> None:
    assert checkpoints(run) == []
    shutil.rmtree(run.checkpoints_dir)
    assert latest_valid_checkpoint(run, lambda *_: pytest.fail("nothing is broken")) is None
