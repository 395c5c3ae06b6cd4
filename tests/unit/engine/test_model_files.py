"""A model folder is judged by its files alone: nothing in it runs, nothing outside is read."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import ModelError
from tunesmith.models.files import MAX_HEADER_BYTES, check_model_files, check_safetensors

CopyOf = Callable[[Path], Path]
TinyModel = Callable[[str], Path]


@pytest.fixture
def model_dir(tiny_model_dir: TinyModel, copy_of: CopyOf) -> Path:
    return copy_of(tiny_model_dir("llama"))


def write_safetensors(
    path: Path, header: Any, *, data: bytes = b"", claim: int | None = None
) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if claim is None else claim) + text + data)
    return path


def tensor(
    begin: int, end: int, *, shape: list[int] | None = None, dtype: str = "F32"
) -> dict[str, Any]:
    shape = [(end - begin) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


class Canary:
    """A pickle that creates a file when somebody loads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def test_a_sound_folder_passes_and_is_described(model_dir: Path) -> None:
    files = check_model_files(model_dir)
    assert files.kind == "model"
    assert [path.name for path in files.weights] == ["model.safetensors"]
    assert files.num_tensors == 20
    assert files.weight_bytes == (model_dir / "model.safetensors").stat().st_size


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "a.pth", "x.ckpt", "sub/y.BIN"])
def test_a_pickle_is_refused_and_never_loaded(model_dir: Path, tmp_path: Path, name: str) -> None:
    (model_dir / "model.safetensors").unlink()
    (model_dir / name).parent.mkdir(exist_ok=True)
    (model_dir / name).write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    with pytest.raises(ModelError, match=rf"Refused: {name} is a pickle; convert to safetensors"):
        check_model_files(model_dir)
    assert not (tmp_path / "canary").exists()


def test_a_pickle_beside_safetensors_is_refused_with_what_to_do(model_dir: Path) -> None:
    (model_dir / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        check_model_files(model_dir)
    assert "remove pytorch_model.bin" in caught.value.hint


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_auto_map_is_refused_unless_code_is_trusted(model_dir: Path, name: str) -> None:
    settings = json.loads((model_dir / name).read_text())
    settings["auto_map"] = {"AutoModelForCausalLM": "modeling.Model"}
    (model_dir / name).write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=f"{name} asks to run the model's own code") as caught:
        check_model_files(model_dir)
    assert "trust_remote_code: true" in caught.value.hint
    assert check_model_files(model_dir, trust_remote_code=True).num_tensors == 20


def test_python_files_are_refused_unless_code_is_trusted(model_dir: Path) -> None:
    (model_dir / "modeling.py").write_text("raise SystemExit")
    with pytest.raises(ModelError, match=r"modeling\.py is program code"):
        check_model_files(model_dir)
    check_model_files(model_dir, trust_remote_code=True)


def test_a_folder_without_weights_says_which_file_is_missing(model_dir: Path) -> None:
    (model_dir / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no weights: model\.safetensors is missing"):
        check_model_files(model_dir)


def test_a_folder_without_config_is_no_model(model_dir: Path) -> None:
    (model_dir / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        check_model_files(model_dir)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="absent does not exist"):
        check_model_files(tmp_path / "absent")


def test_a_missing_shard_is_named(model_dir: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (model_dir / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="lacks 1 of 2 weight files: model-00002-of-00002"):
        check_model_files(model_dir)


def test_an_index_cannot_name_a_file_outside(model_dir: Path) -> None:
    index = {"weight_map": {"a": "../secret.safetensors"}}
    (model_dir / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="no safetensors file of the folder"):
        check_model_files(model_dir)


def test_a_link_out_of_the_folder_is_refused(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (model_dir / "notes.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ModelError, match=r"notes\.json is a link that leaves the model folder"):
        check_model_files(model_dir)


def test_a_linked_folder_is_refused_without_entering_it(model_dir: Path, tmp_path: Path) -> None:
    (model_dir / "inside").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(ModelError, match="inside is a link that leaves"):
        check_model_files(model_dir)


def test_a_link_within_the_folder_is_fine(model_dir: Path) -> None:
    (model_dir / "model.safetensors").rename(model_dir / "real.safetensors")
    (model_dir / "model.safetensors").symlink_to("real.safetensors")
    assert check_model_files(model_dir).num_tensors == 20


def test_the_links_of_the_hub_cache_are_followed(tiny_model_dir: TinyModel, tmp_path: Path) -> None:
    root = tmp_path / "models--someone--tiny"
    snapshot, blobs = root / "snapshots" / "abc123", root / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(tiny_model_dir("llama").iterdir())):
        (blobs / str(number)).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("../../blobs") / str(number))
    assert check_model_files(snapshot).num_tensors == 20


def test_a_header_of_200_megabytes_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "big.safetensors", {}, claim=200_000_000)
    with pytest.raises(ModelError, match=f"the limit is {MAX_HEADER_BYTES:,}"):
        check_safetensors(path)


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        ({"a": tensor(0, 8), "b": tensor(4, 12)}, b"\0" * 12, "tensors a and b overlap"),
        ({"a": tensor(0, 400)}, b"\0" * 12, "cut short"),
        ({"a": tensor(0, 8, shape=[3])}, b"\0" * 8, "does not fill bytes 0 to 8"),
        ({"a": tensor(8, 0, shape=[2])}, b"\0" * 8, "does not fill"),
        ({"a": tensor(0, 8, shape=[-2])}, b"\0" * 8, "does not fill"),
        ({"a": tensor(0, 8, dtype="PICKLE")}, b"\0" * 8, "not understood"),
        ({"a": [1, 2]}, b"", "not understood"),
        ([], b"", "not a JSON object"),
        (b"{not json", b"", "not valid JSON"),
        (b'{"a": {}, "a": {}}', b"", "a name occurs twice"),
    ],
)
def test_a_broken_header_is_refused_with_the_reason(
    tmp_path: Path, header: Any, data: bytes, reason: str
) -> None:
    path = write_safetensors(tmp_path / "x.safetensors", header, data=data)
    with pytest.raises(ModelError, match=reason):
        check_safetensors(path)


def test_a_truncated_weight_file_is_refused(model_dir: Path) -> None:
    weights = model_dir / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cut short"):
        check_model_files(model_dir)


def test_an_empty_weight_file_is_refused(model_dir: Path) -> None:
    (model_dir / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="only 0 bytes"):
        check_model_files(model_dir)
