"""LLaMA-Factory's dataset_info.json as datasets to import. Its keys are read in `recipe.convert`.

Loading scripts named there are never run, and nothing is fetched from a hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import DataError, RecipeError
from tunesmith.recipe import Dataset
from tunesmith.recipe.convert.dataset_info import (
    HubDataset,
    ListedDataset,
    read_dataset_info,
    read_entry,
)
from tunesmith.recipe.convert.report import Entry


@dataclass(frozen=True)
class InfoDataset:
    """One dataset of the file, ready to be read, or the reason why it cannot be."""

    name: str
    wanted: Dataset | None  # names the file or folder, and how its rows are read
    problem: str  # why there is nothing to read; empty where `wanted` is
    hub: HubDataset | None
    ranking: bool  # its rows are pairs of a better and a worse answer
    verdicts: tuple[Entry, ...]  # what became of each of its keys


def read_datasets(path: Path) -> tuple[InfoDataset, ...]:
    """All datasets of a dataset_info.json; DataError with the line where it is broken."""
    try:
        info = read_dataset_info(path, path.parent)
    except RecipeError as error:
        raise DataError(error.message, hint=error.hint, **error.details) from None
    return tuple(_dataset(read_entry(name, info), path.parent) for name in info.entries)


def _dataset(listed: ListedDataset, folder: Path) -> InfoDataset:
    problem = _problem(listed, folder)
    wanted = None if problem else Dataset(dataset=str(listed.file), **listed.fields)
    return InfoDataset(listed.name, wanted, problem, listed.hub, listed.ranking, listed.entries)


def _problem(listed: ListedDataset, folder: Path) -> str:
    if listed.file is not None:
        # Links and `..` first: a list of names may only name what lies beside it.
        if not listed.file.resolve().is_relative_to(folder.resolve()):
            return (
                f"{listed.file} lies outside of the folder of the list; import it by its own "
                "name, or put it there"
            )
        return "" if listed.file.exists() else f"there is no file {listed.file}"
    if listed.hub is not None:
        hub = listed.hub
        return f"{hub.id} is on {hub.hub}: download it and name the file in file_name"
    return "it names no file"
