"""Is a model folder safe to load? Decided from its files alone, before torch sees any of them.

A folder may hold weights as safetensors, JSON, text and tokenizer files. It may not hold pickles
(loading one runs its code), Python files or references to them (`auto_map`), links out of it, or
what is no file at all, such as a pipe.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunesmith.errors import ModelError

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
CODE_SUFFIXES = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib")
MAX_HEADER_BYTES = 100 * 1000 * 1000
MAX_TENSORS = 200_000
MAX_JSON_BYTES = 64 * 1024 * 1024  # tokenizer.json of a large vocabulary is about 35 MB
CODE_KEYS = ("auto_map", "custom_pipelines")  # settings that name code to be run
# Bits a value, by the names of the safetensors format.
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip

Kind = Literal["model", "adapter"]
_CONFIG_NAME: dict[Kind, str] = {"model": "config.json", "adapter": "adapter_config.json"}
_WEIGHTS_NAME: dict[Kind, str] = {"model": "model", "adapter": "adapter_model"}


@dataclass(frozen=True)
class ModelFiles:
    """What a checked folder holds."""

    directory: Path
    kind: Kind
    weights: tuple[Path, ...]
    num_tensors: int
    weight_bytes: int


def kind_of(directory: Path) -> Kind:
    """A folder with adapter_config.json and no config.json is an adapter."""
    if (directory / "config.json").exists() or not (directory / "adapter_config.json").exists():
        return "model"
    return "adapter"


def is_reward_model(directory: Path) -> bool:
    """True for a folder whose model scores texts and writes none."""
    config = directory / "config.json"
    settings: Any = read_json(config) if config.is_file() else None
    told = settings.get("architectures") if isinstance(settings, dict) else None
    return any("SequenceClassification" in name for name in told or ())


def check_model_files(directory: Path, *, trust_remote_code: bool = False) -> ModelFiles:
    """Refuse what is unsafe or incomplete; the error names the file and what to change."""
    if not directory.is_dir():
        raise ModelError(
            f"Model folder {directory} does not exist.",
            hint="Check model.base: a folder, a hub id such as Qwen/Qwen3-0.6B, or 'starter'.",
        )
    files = sorted(_walk(directory))
    for file in files:
        _check_link(directory, file)
        _check_kind(directory, file)
    _check_no_pickles(directory, files)
    if not trust_remote_code:
        _check_no_code(directory, files)
    kind = kind_of(directory)
    _check_config(directory, kind)
    weights = _weight_files(directory, kind)
    tensors = [check_safetensors(path) for path in weights]
    return ModelFiles(
        directory=directory,
        kind=kind,
        weights=tuple(weights),
        num_tensors=sum(tensors),
        weight_bytes=sum(path.stat().st_size for path in weights),
    )


def _walk(directory: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(directory, followlinks=False):
        subfolders[:] = [name for name in subfolders if name != ".git"]
        # A linked folder is listed but not entered: `_check_link` judges it.
        yield from (Path(folder, name) for name in subfolders if Path(folder, name).is_symlink())
        yield from (Path(folder, name) for name in names)


def _hub_cache_blobs(directory: Path) -> Path | None:
    """The hub keeps models--x--y/snapshots/<commit>/file as links into models--x--y/blobs."""
    root = directory.resolve().parent.parent
    is_snapshot = directory.resolve().parent.name == "snapshots" and "--" in root.name
    return root / "blobs" if is_snapshot and (root / "blobs").is_dir() else None


def _check_link(directory: Path, file: Path) -> None:
    target = file.resolve()
    allowed = [directory.resolve(), _hub_cache_blobs(directory)]
    if not any(root is not None and target.is_relative_to(root) for root in allowed):
        raise ModelError(
            f"Refused: {file.relative_to(directory)} is a link that leaves the model folder.",
            hint="Replace the link by a copy of the file it points to.",
            code="model_link_leaves_folder",
            file=str(file.relative_to(directory)),
        )
    if not target.exists():
        raise ModelError(
            f"{file.relative_to(directory)} in {directory} is a link to a file that is gone.",
            hint="Download the model again.",
        )


def _check_kind(directory: Path, file: Path) -> None:
    """Reading a pipe or a device may never end."""
    mode = file.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ModelError(
            f"Refused: {file.relative_to(directory)} is a pipe, a socket or a device.",
            hint="Keep files only in the model folder.",
            code="model_file_odd",
            file=str(file.relative_to(directory)),
        )


def _check_no_pickles(directory: Path, files: list[Path]) -> None:
    pickles = [file for file in files if file.suffix.lower() in PICKLE_SUFFIXES]
    if not pickles:
        return
    has_safetensors = any(file.suffix == ".safetensors" for file in files)
    if has_safetensors and _hub_cache_blobs(directory) is not None:
        return  # left there by another program; only the safetensors files are ever read
    name = pickles[0].relative_to(directory)
    more = f" (and {len(pickles) - 1} more such files)" if len(pickles) > 1 else ""
    hint = (
        "A pickle runs code when it is loaded. The folder has safetensors weights as well: "
        f"remove {name} and try again."
        if has_safetensors
        else "A pickle runs code when it is loaded, so only safetensors weights are read. Look for "
        "a revision of the model with model.safetensors, or convert it in a safe place."
    )
    raise ModelError(
        f"Refused: {name} is a pickle; convert to safetensors{more}",
        hint=hint,
        code="model_is_pickle",
        file=str(name),
    )


def _check_no_code(directory: Path, files: list[Path]) -> None:
    for file in files:
        name = file.relative_to(directory)
        if file.suffix.lower() in CODE_SUFFIXES and _hub_cache_blobs(directory) is None:
            raise _code_refused(str(name), "is program code in a model folder")
        if file.suffix == ".json" and file.parent == directory and file.is_file():
            key = _code_key(file)
            if key:
                raise _code_refused(str(name), f"asks to run the model's own code ({key})")


def _code_refused(name: str, why: str) -> ModelError:
    return ModelError(
        f"Refused: {name} {why}.",
        hint="Prefer a version of the model that needs no code of its own (often named '-hf'). If "
        "you have read the code and trust it, write `trust_remote_code: true` under `model:`.",
        code="model_has_code",
        file=name,
    )


def _code_key(file: Path) -> str | None:
    """The setting of a JSON file that names code, at any depth."""
    if file.name in {"tokenizer.json", "vocab.json"} or file.name.endswith(".index.json"):
        return None  # data only; never read as a configuration
    return _find_code_key(read_json(file))


def _find_code_key(content: Any) -> str | None:
    rest = [content]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            found = next((key for key in CODE_KEYS if value.get(key)), None)
            if found:
                return found
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return None


def read_json(file: Path) -> Any:
    """The content of a JSON file of a bounded size; ModelError says what is wrong with it."""
    if file.stat().st_size > MAX_JSON_BYTES:
        raise ModelError(
            f"{file.name} has {file.stat().st_size:,} bytes; at most {MAX_JSON_BYTES:,} are read."
        )
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{file} is not valid JSON: {error}", hint="Download or copy the file again."
        ) from error


def _check_config(directory: Path, kind: Kind) -> None:
    name = _CONFIG_NAME[kind]
    if not (directory / name).is_file():
        raise ModelError(
            f"{directory} has no {name}, so it is not a model folder.",
            hint="Point model.base at the folder that holds config.json and model.safetensors.",
        )
    if not isinstance(read_json(directory / name), dict):
        raise ModelError(f"{directory / name} does not hold a JSON object.")


def _weight_files(directory: Path, kind: Kind) -> list[Path]:
    stem = _WEIGHTS_NAME[kind]
    index = directory / f"{stem}.safetensors.index.json"
    if index.is_file():
        return _indexed_files(directory, index)
    single = directory / f"{stem}.safetensors"
    if single.is_file():
        return [single]
    raise ModelError(
        f"{directory} has no weights: {single.name} is missing.",
        hint="Download the model completely, or point model.base at the folder with the weights.",
        code="model_without_weights",
        form="folder",
        file=single.name,
    )


def _indexed_files(directory: Path, index: Path) -> list[Path]:
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index} has no weight_map.", hint="Download the model again.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(
                f"Refused: {index.name} names {name!r}, no safetensors file of the folder.",
                code="model_link_leaves_folder",
                file=f"{index.name} ({name})",
            )
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise ModelError(
            f"{directory} lacks {len(missing)} of {len(names)} weight files: "
            f"{', '.join(missing[:5])}.",
            hint="Download the model again; a download goes on where it stopped.",
            code="model_without_weights",
            form="incomplete",
            missing=len(missing),
            total=len(names),
            files=missing[:5],
        )
    return [directory / name for name in names]


def check_safetensors(path: Path) -> int:
    """Check the header of one file against its size and return its number of tensors."""
    return len(read_header(path))


def read_header(path: Path) -> dict[str, Any]:
    """The checked entries of a safetensors file by tensor name.

    Layout: 8 bytes length N; N bytes of JSON {name: {dtype, shape, data_offsets: [begin, end]}};
    data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise _broken(path, f"it has only {size} bytes")
        (header_bytes,) = struct.unpack("<Q", prefix)
        if header_bytes > MAX_HEADER_BYTES:
            raise _broken(
                path, f"its header claims {header_bytes:,} bytes, the limit is {MAX_HEADER_BYTES:,}"
            )
        if 8 + header_bytes > size:
            raise _broken(
                path, f"its header of {header_bytes:,} bytes is longer than the file ({size:,})"
            )
        header = _parse_header(path, file.read(header_bytes))
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if len(tensors) > MAX_TENSORS:
        raise _broken(path, f"it lists {len(tensors):,} tensors, the limit is {MAX_TENSORS:,}")
    _check_offsets(path, tensors, data_bytes=size - 8 - header_bytes)
    return tensors


def _parse_header(path: Path, text: bytes) -> dict[str, Any]:
    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a name occurs twice")
        return dict(pairs)

    try:
        header = json.loads(text, object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a JSON object")
    return header


def _check_offsets(path: Path, tensors: dict[str, Any], *, data_bytes: int) -> None:
    spans = sorted((_span(path, name, entry), name) for name, entry in tensors.items())
    end_before, name_before = 0, ""
    for (begin, end), name in spans:
        if end > data_bytes:
            raise _broken(
                path, f"tensor {name} ends at byte {end:,} of {data_bytes:,}; the file is cut short"
            )
        if begin < end_before:
            raise _broken(path, f"tensors {name_before} and {name} overlap")
        end_before, name_before = end, name


def _span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    """Begin and end of one tensor, checked against its dtype and shape."""
    try:
        dtype, shape = entry["dtype"], entry["shape"]
        begin, end = entry["data_offsets"]
        numbers = [*shape, begin, end]
        valid = all(type(number) is int and number >= 0 for number in numbers)
        bits = math.prod(shape) * DTYPE_BITS[dtype] if valid else 0
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"the entry of tensor {name} is not understood") from error
    if not valid or (end - begin) * 8 != bits:
        raise _broken(
            path, f"tensor {name} ({dtype}, {shape}) does not fill bytes {begin} to {end}"
        )
    return begin, end


def _broken(path: Path, why: str) -> ModelError:
    return ModelError(
        f"Refused: {path.name} is not a sound safetensors file: {why}.",
        hint="Download or copy the file again; if it comes from someone else, do not use it.",
        code="model_file_broken",
        file=path.name,
    )
