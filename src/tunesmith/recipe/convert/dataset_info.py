"""LLaMA-Factory's dataset_info.json: which files its dataset names stand for, and how to read them.

Loading scripts named there are never run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from tunesmith.recipe.convert.report import Entry, Report
from tunesmith.recipe.document import invalid_json, read_text
from tunesmith.recipe.problems import problem, refuse
from tunesmith.recipe.words import kind_of

_HUBS = {"hf_hub_url": "huggingface", "ms_hub_url": "modelscope", "om_hub_url": "openmind"}
_FORMATS = {"alpaca": "alpaca", "sharegpt": "sharegpt", "openai": "messages"}
_FIELDS = {
    "prompt": "prompt_field",
    "query": "context_field",
    "response": "response_field",
    "history": "history_field",
    "messages": "messages_field",
    "system": "system_field",
    "tools": "tools_field",
    "chosen": "chosen_field",
    "rejected": "rejected_field",
    "kto_tag": "label_field",
}
_FOUND_ANYWAY = {"query": "input"}
_TAGS: dict[str, tuple[str, ...]] = {
    "role_tag": ("from", "role"),
    "content_tag": ("value", "content"),
    "user_tag": ("human", "user"),
    "assistant_tag": ("gpt", "assistant"),
    "observation_tag": ("observation", "tool"),
    "function_tag": ("function_call",),
    "system_tag": ("system",),
}
_PAIRS = ("chosen", "rejected")
_PREFERENCE = "preference data is for the stages rm, dpo and kto"
_MEDIA = ("images", "videos", "audios")

Purpose = Literal["sft", "pt", "import"]
"""What a dataset is read for: to train on in one of the stages, or to keep all that it holds."""


@dataclass(frozen=True)
class HubDataset:
    """A dataset on a hub, as the file names it. It is not fetched."""

    hub: str
    id: str
    subset: str | None = None
    split: str | None = None
    folder: str | None = None


@dataclass(frozen=True)
class ListedDataset:
    """One entry: where its rows are, how they are read, and what became of each of its keys."""

    name: str
    file: Path | None  # also a folder of files; it need not be there
    hub: HubDataset | None
    fields: Mapping[str, Any]  # of a dataset in a recipe: format, prompt_field, ...
    ranking: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class DatasetInfo:
    """The entries of one dataset_info.json, and the folder that its files lie in."""

    path: Path
    folder: Path
    entries: Mapping[str, Any]
    text: str
    on_disk: bool = True  # else the names stand for datasets of a server, and no file is looked at

    def line_of(self, key: str) -> int | None:
        """The line that first names a key."""
        needle = json.dumps(key, ensure_ascii=False)
        found = (n for n, line in enumerate(self.text.splitlines(), 1) if needle in line)
        return next(found, None)


def read_dataset_info(path: Path, folder: Path) -> DatasetInfo:
    """Read the file; broken JSON and entries of a wrong shape are errors with their line."""
    return parse_dataset_info(read_text(path), path, folder)


def parse_dataset_info(text: str, path: Path, folder: Path, *, on_disk: bool = True) -> DatasetInfo:
    """The same from a text; `path` names it in errors."""
    try:
        entries: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise invalid_json(str(path), text, error) from None
    except RecursionError:
        raise refuse(str(path), [problem("dataset_info_too_deep")]) from None
    if not isinstance(entries, dict):
        raise refuse(str(path), [problem("not_a_dataset_info", what=kind_of(entries))])
    info = DatasetInfo(path, folder, cast("dict[str, Any]", entries), text, on_disk)
    for name, entry in info.entries.items():
        if not isinstance(entry, dict):
            line = info.line_of(name)
            raise refuse(str(path), [problem("entry_not_an_object", "", line, name=name)])
    return info


def convert_entry(
    name: str, info: DatasetInfo, report: Report, purpose: Purpose
) -> dict[str, Any] | None:
    """One dataset as an item of data.train; None when it cannot be used, which is reported."""
    listed = read_entry(name, info, purpose)
    report.entries += listed.entries
    if listed.file is None or (listed.ranking and purpose != "import"):
        return None
    source = {"dataset": str(listed.file) if info.on_disk else name, **listed.fields}
    return _as_texts(source) if purpose == "pt" else source


def read_entry(name: str, info: DatasetInfo, purpose: Purpose = "import") -> ListedDataset:
    """One dataset, with a verdict on each of its keys."""
    entry: dict[str, Any] = info.entries[name]
    reader = _EntryReader(f"dataset_info.{name}", entry, info, purpose)
    for key, value in entry.items():
        reader.read(key, value)
    reader.fields.setdefault("format", "alpaca")  # what LLaMA-Factory assumes
    if reader.ranking:
        # It names the columns of a pair itself where the file does not.
        for column in _PAIRS:
            reader.fields.setdefault(f"{column}_field", column)
    hub = _hub(entry) if reader.file is None else None
    entries = tuple(reader.report.entries)
    return ListedDataset(name, reader.file, hub, reader.fields, reader.ranking, entries)


def _hub(entry: Mapping[str, Any]) -> HubDataset | None:
    """The hub that an entry names first."""
    for key, hub in _HUBS.items():
        if isinstance(entry.get(key), str):
            details = {name: entry.get(name) for name in ("subset", "split", "folder")}
            told = {name: str(value) for name, value in details.items() if value is not None}
            return HubDataset(hub, entry[key], **told)
    return None


@dataclass
class _EntryReader:
    """Reads one entry key by key."""

    prefix: str
    entry: Mapping[str, Any]
    info: DatasetInfo
    purpose: Purpose
    file: Path | None = None
    ranking: bool = False
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    report: Report = field(default_factory=Report)

    def read(self, key: str, value: Any) -> None:
        said = f"{self.prefix}.{key}"
        if value is None:
            self.report.taken(said, value, "empty")
        elif key == "file_name":
            self._file_name(said, value)
        elif key == "formatting":
            self.fields["format"] = _FORMATS.get(str(value), "auto")
            self.report.renamed(said, value, "format", self._format_reason(str(value)))
        elif key in ("columns", "tags"):
            self._names(said, value, self._column if key == "columns" else self._tag)
        elif key == "num_samples":
            self._num_samples(said, value)
        elif key == "ranking":
            self._ranking(said, value)
        else:
            self._other(said, key, value)

    def _file_name(self, said: str, value: Any) -> None:
        if not isinstance(value, str) or not value.strip():
            self.report.not_supported(said, value, "it must be the name of a file")
            return
        self.file = self.info.folder / value
        if not self.info.on_disk:
            self.report.renamed(said, value, "dataset", "the dataset of this name is used")
            return
        missing = "" if self.file.exists() else "the file is not there yet"
        self.report.renamed(said, value, "dataset", missing)

    def _format_reason(self, value: str) -> str:
        if self.purpose == "pt":
            return "stage pt reads plain texts: format is text"
        return "" if value in _FORMATS else "unknown format: the rows decide (auto)"

    def _names(self, said: str, value: Any, read: Callable[[str, str, str], None]) -> None:
        """Columns or tags, each with the name that the rows use for it."""
        if not isinstance(value, dict):
            self.report.not_supported(said, value, "it must be an object of names")
            return
        for key, name in cast("dict[str, Any]", value).items():
            if name is None:
                self.report.taken(f"{said}.{key}", name, "empty")
            elif isinstance(name, str) and name:
                read(f"{said}.{key}", key, name)
            else:
                self.report.not_supported(f"{said}.{key}", name, "it must be one name")

    def _column(self, said: str, column: str, name: str) -> None:
        to = _FIELDS.get(column)
        if _FOUND_ANYWAY.get(column) == name:
            self.report.taken(said, name, "a usual name, found by itself")
        elif to is not None and not (column in _PAIRS and self.purpose != "import"):
            self.fields[to] = name
            self.report.renamed(said, name, to)
        elif to is not None:
            self.report.not_supported(said, name, _PREFERENCE)
        else:
            reason = "models of text only" if column in _MEDIA else "unknown to tunesmith"
            self.report.not_supported(said, name, reason)

    def _tag(self, said: str, tag: str, name: str) -> None:
        if tag not in _TAGS:
            self.report.not_supported(said, name, "unknown to tunesmith")
        elif name in _TAGS[tag]:
            self.report.taken(said, name, "a usual name, understood by itself")
        else:
            self.fields[tag] = name
            self.report.taken(said, name)

    def _num_samples(self, said: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.report.not_supported(said, value, "it must be a whole number of at least 1")
            return
        self.fields["max_samples"] = value
        self.report.renamed(said, value, "max_samples")

    def _ranking(self, said: str, value: Any) -> None:
        self.ranking = bool(value)
        if self.ranking and self.purpose != "import":
            reason = f"{_PREFERENCE}; the dataset is left out"
            self.report.not_supported(said, value, reason)
        else:
            self.report.taken(said, value, "pairs are kept" if self.ranking else "as here")

    def _other(self, said: str, key: str, value: Any) -> None:
        if key in _HUBS:
            has_file = "file_name" in self.entry
            instead = "file_name is used" if has_file else "download the file, name it in file_name"
            reason = f"datasets from hubs are not supported yet; {instead}"
            self.report.not_supported(said, value, reason)
        elif key == "script_url":
            reason = "loading scripts are code of others and are never run"
            self.report.not_supported(said, value, reason)
        elif key == "cloud_file_name":
            self.report.not_supported(said, value, "download the file and name it in file_name")
        elif key == "split" and value == "train":
            self.report.taken(said, value, "as here")
        elif key in ("subset", "split", "folder"):
            self.report.not_supported(said, value, "it belongs to datasets from hubs")
        else:
            self.report.not_supported(said, value, "unknown to tunesmith")


def _as_texts(source: dict[str, Any]) -> dict[str, Any]:
    kept = ("dataset", "prompt_field", "max_samples")
    return {"format": "text", **{name: source[name] for name in kept if name in source}}
