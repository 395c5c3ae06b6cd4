"""A dataset of Hugging Face as files of ours: what holds rows is fetched, code never."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tunesmith.data.readers import READERS
from tunesmith.data.readers.sources import file_type
from tunesmith.data.subject import MAX_BYTES, Files, files_subject
from tunesmith.errors import DataError, InputError, ModelError
from tunesmith.models.hubs import HubFile, HubModel, ask_hub_for_dataset, fetch_hub_files
from tunesmith.server.errors import TooLarge
from tunesmith.server.filenames import component
from tunesmith.server.incoming import refuse_full_disk, storing
from tunesmith.server.services.datasets.asked import Import
from tunesmith.server.services.datasets.publishing import Bench
from tunesmith.server.services.datasets.sources import reading
from tunesmith.server.services.models.finding import is_hub_id

_ABOUT: Final = frozenset({"dataset_infos.json", "dataset_info.json", "dataset_dict.json",
                           "state.json", "config.json"})  # fmt: skip
_MOST_FILES: Final = 1000


def refuse_odd(wanted: Mapping[str, Any]) -> None:
    """InputError for what can be no dataset of a hub: never a path, a URL or an option."""
    name: str = wanted["hub_id"]
    if not is_hub_id(name):
        raise InputError(
            f"{name[:200]!r} is no id of a dataset on a hub.",
            hint="An id looks like someone/questions.",
            code="not_a_hub_id",
            name=name[:200],
            param="hub_id",
        )


@contextmanager
def opened(bench: Bench, order: Import) -> Generator[Files]:
    """The files of a dataset of a hub, as long as the block runs."""
    assert order.hub is not None
    told = _asked(order.hub)
    home = bench.place.cache / "unpacked"
    with storing(bench.place.cache):
        home.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="hub-", dir=home))
    try:
        refuse_full_disk(folder, told.bytes)
        with storing(folder), _in_words(told.name):
            fetch_hub_files(
                told,
                folder / "files",
                lambda done, total, _: bench.progress("download", done, total),
            )
        paths = [_flat(folder, file.name) for file in told.files]
        yield files_subject(paths, reading(told.name, order.mapping), order.encoding)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flat(folder: Path, name: str) -> Path:
    """`data/train-0.parquet` as data_train-0.parquet: rows say which file they came from."""
    path = folder / component(name.replace("/", "_"))
    (folder / "files" / name).rename(path)
    return path


def _asked(wanted: Mapping[str, Any]) -> HubModel:
    """What will be fetched. TooLarge and DataError before anything is."""
    name = wanted["hub_id"]
    with _in_words(name):
        told = ask_hub_for_dataset(name, wanted["revision"])
    files = chosen(told.files, wanted["files"], wanted["split"])
    if not files:
        raise DataError(
            f"{name} has no data files that fit.",
            hint="Name its files with `files`; loading scripts are never run. Known types: "
            f"{', '.join(sorted(READERS))}.",
            code="hub_dataset_without_data",
            name=name,
        )
    told = replace(told, files=tuple(files))
    if told.bytes > MAX_BYTES or len(files) > _MOST_FILES:
        raise TooLarge(
            f"{name} has {told.bytes / (1 << 30):.1f} GB in {len(files)} files; one dataset takes "
            f"{MAX_BYTES >> 30} GB in {_MOST_FILES} files.",
            hint="Choose some of its files with `files`.",
            code="dataset_too_large",
            limit=MAX_BYTES,
        )
    return told


def chosen(files: Sequence[HubFile], patterns: Sequence[str], split: str) -> list[HubFile]:
    """Files that fit a pattern; without patterns those of the split, or all that hold rows."""
    readable = [file for file in files if _holds_rows(file.name)]
    if patterns:
        return [file for file in readable if any(fnmatch(file.name, each) for each in patterns)]
    tables = [file for file in readable if not file.name.endswith(".txt")] or readable
    word = re.compile(rf"(^|[^A-Za-z]){re.escape(split)}([^A-Za-z]|$)")
    of_split = [file for file in tables if split and word.search(file.name)]
    return of_split or tables


def _holds_rows(name: str) -> bool:
    path = PurePosixPath(name)
    is_plain = not path.is_absolute() and ".." not in path.parts and "\\" not in name
    is_hidden = any(part.startswith(".") for part in path.parts)
    known = file_type(Path(path.name)) in READERS and path.name not in _ABOUT
    return is_plain and not is_hidden and known


@contextmanager
def _in_words(name: str) -> Generator[None]:
    """What the hub's client says of models, said of a dataset."""
    try:
        yield
    except ModelError as error:
        raise DataError(
            f"{name} did not come from the hub: {_REASONS.get(error.code, error.message)}.",
            hint="Check the id, the revision and the network (HF_ENDPOINT names a mirror); a "
            "private or gated dataset needs HF_TOKEN on the server.",
            code="hub_dataset_not_found",
            form=error.code,
            name=name,
        ) from error


_REASONS: Final = {
    "model_not_found": "there is no such dataset or revision, or it is private",
    "model_gated": "its owner wants its licence accepted first",
    "hub_unreachable": "the hub cannot be reached",
}
