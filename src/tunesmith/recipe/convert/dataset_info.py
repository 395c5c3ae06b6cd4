"""LLaMA-Factory's dataset_info.json: which files its dataset names stand for, and how to read them.

Loading scripts named there are never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tunesmith.errors import RecipeError
from tunesmith.recipe.convert.report import Report
from tunesmith.recipe.document import read_text

_HUBS = ("hf_hub_url", "ms_hub_url", "om_hub_url")
_FORMATS = {"alpaca": "alpaca", "sharegpt": "sharegpt", "openai": "messages"}
_FIELDS = {
    "prompt": "prompt_field",
    "response": "response_field",
    "history": "history_field",
    "system": "system_field",
}
_KEPT_NAMES = {
    "query": ("input",),
    "messages": ("conversations", "messages", "conversation"),
    "tools": ("tools",),
}
_TAGS: dict[str, tuple[str, ...]] = {
    "role_tag": ("from", "role"),
    "content_tag": ("value", "content"),
    "user_tag": ("human", "user"),
    "assistant_tag": ("gpt", "assistant"),
    "observation_tag": ("observation", "tool"),
    "function_tag": ("function_call", "function"),
    "system_tag": ("system",),
}
_PREFERENCE = "preference data is for the stages rm and dpo, which are not part of this version"
_TEXT_ONLY = "models of text only"
_COLUMN_REASONS = {
    "chosen": _PREFERENCE,
    "rejected": _PREFERENCE,
    "kto_tag": _PREFERENCE,
    "images": _TEXT_ONLY,
    "videos": _TEXT_ONLY,
    "audios": _TEXT_ONLY,
}


@dataclass(frozen=True)
class DatasetInfo:
    """The entries of one dataset_info.json, and the folder that its files lie in."""

    path: Path
    folder: Path
    entries: Mapping[str, Any]
    text: str

    def line_of(self, key: str) -> int | None:
        """The line that first names a key."""
        needle = json.dumps(key, ensure_ascii=False)
        found = (n for n, line in enumerate(self.text.splitlines(), 1) if needle in line)
        return next(found, None)


def read_dataset_info(path: Path, folder: Path) -> DatasetInfo:
    """Read the file; broken JSON and entries of a wrong shape are errors with their line."""
    text = read_text(path)
    try:
        entries: Any = json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.splitlines()
        shown = lines[error.lineno - 1].strip()[:80] if error.lineno <= len(lines) else ""
        raise RecipeError(
            f"{path}, line {error.lineno}, column {error.colno}: this is no valid JSON: "
            f"{error.msg}.",
            hint=f"The line reads: {shown}" if shown else "The file ends too early.",
            line=error.lineno,
        ) from None
    except RecursionError:
        raise RecipeError(f"{path}: it is nested too deeply to list datasets.") from None
    if not isinstance(entries, dict):
        raise RecipeError(
            f"{path} lists no datasets: it holds {type(entries).__name__}, not an object.",
            hint='It looks like {"name": {"file_name": "data.json"}}.',
        )
    info = DatasetInfo(path, folder, cast("dict[str, Any]", entries), text)
    for name, entry in info.entries.items():
        if not isinstance(entry, dict):
            line = info.line_of(name)
            raise RecipeError(
                f"{path}, line {line}: the entry of {name} is no object.",
                hint='Write {"file_name": "data.json"}.',
                line=line,
            )
    return info


def convert_entry(
    name: str, info: DatasetInfo, report: Report, *, texts: bool
) -> dict[str, Any] | None:
    """One dataset as an item of data.train; None when it cannot be used, which is reported.

    `texts`: the rows are plain texts to go on pre-training with.
    """
    entry: dict[str, Any] = info.entries[name]
    source: dict[str, Any] = {}
    usable = True
    for key, value in entry.items():
        said = f"dataset_info.{name}.{key}"
        if key == "file_name":
            path = info.folder / str(value)
            source["dataset"] = str(path)
            missing = "" if path.exists() else "the file is not there yet"
            report.renamed(said, value, "dataset", missing)
        elif key == "formatting":
            source["format"] = _FORMATS.get(str(value), "auto")
            report.renamed(said, value, "format", _format_reason(str(value), texts=texts))
        elif key == "columns" and isinstance(value, dict):
            _columns(said, cast("dict[str, Any]", value), source, report)
        elif key == "tags" and isinstance(value, dict):
            _tags(said, cast("dict[str, Any]", value), report)
        elif key == "num_samples":
            source["max_samples"] = value
            report.renamed(said, value, "max_samples")
        elif key == "ranking" and value:
            usable = False
            report.not_supported(said, value, f"{_PREFERENCE}; the dataset is left out")
        else:
            _other(said, key, value, "file_name" in entry, report)
    if "dataset" not in source:
        usable = False
    source.setdefault("format", "alpaca")  # what LLaMA-Factory assumes
    if texts:
        source = _as_texts(source)
    return source if usable else None


def _format_reason(value: str, *, texts: bool) -> str:
    if texts:
        return "stage pt reads plain texts: format is text"
    return "" if value in _FORMATS else "unknown format: the rows decide (auto)"


def _columns(said: str, columns: Mapping[str, Any], source: dict[str, Any], report: Report) -> None:
    for column, value in columns.items():
        key = f"{said}.{column}"
        if column in _FIELDS:
            source[_FIELDS[column]] = value
            report.renamed(key, value, _FIELDS[column])
        elif value in _KEPT_NAMES.get(column, ()):
            report.taken(key, value, "a usual name, found by itself")
        elif column in _KEPT_NAMES:
            usual = " or ".join(_KEPT_NAMES[column])
            report.not_supported(key, value, f"name the column {usual}, so that it is found")
        else:
            reason = _COLUMN_REASONS.get(column, "unknown to tunesmith")
            report.not_supported(key, value, reason)


def _tags(said: str, tags: Mapping[str, Any], report: Report) -> None:
    for tag, value in tags.items():
        usual = _TAGS.get(tag, ())
        if value in usual:
            report.taken(f"{said}.{tag}", value, "a usual name, understood by itself")
        else:
            names = f"understood are {', '.join(usual)}" if usual else "unknown to tunesmith"
            report.not_supported(f"{said}.{tag}", value, names)


def _other(said: str, key: str, value: Any, has_file: bool, report: Report) -> None:
    if key in _HUBS:
        instead = "file_name is used" if has_file else "download the file and name it in file_name"
        report.not_supported(said, value, f"datasets from hubs are not supported yet; {instead}")
    elif key == "script_url":
        report.not_supported(said, value, "loading scripts are code of others and are never run")
    elif key == "ranking" or (key == "split" and value == "train"):
        report.taken(said, value, "as here")
    elif key in ("subset", "split", "folder"):
        report.not_supported(said, value, "it belongs to datasets from hubs")
    else:
        report.not_supported(said, value, "unknown to tunesmith")


def _as_texts(source: dict[str, Any]) -> dict[str, Any]:
    kept = ("dataset", "prompt_field", "max_samples")
    return {"format": "text", **{name: source[name] for name in kept if name in source}}
