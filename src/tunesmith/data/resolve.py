"""From the name of a dataset in a recipe to the file or folder that it stands for."""

from __future__ import annotations

import difflib
from pathlib import Path

from tunesmith.errors import DataError
from tunesmith.examples import example_directory

BUILTIN = "builtin:"
_BUILTIN_DATASETS = {
    "general": Path("general.jsonl"),
    "shop": Path("customer-service", "train.jsonl"),
}


def is_builtin(name: str) -> bool:
    """True for a dataset that ships with the package; a file of such a name is `./builtin:...`."""
    return name.startswith(BUILTIN)


def resolve_dataset(name: str, base_dir: Path) -> Path:
    """The file or folder of a dataset; relative paths start at `base_dir`."""
    if is_builtin(name):
        return _builtin(name.removeprefix(BUILTIN))
    return base_dir / Path(name).expanduser()


def _builtin(name: str) -> Path:
    if name not in _BUILTIN_DATASETS:
        near = difflib.get_close_matches(name, _BUILTIN_DATASETS, n=1)
        known = ", ".join(BUILTIN + each for each in _BUILTIN_DATASETS)
        raise DataError(
            f"No dataset {BUILTIN}{name} ships with tunesmith.",
            hint=(f"Did you mean {BUILTIN}{near[0]}? " if near else "") + f"There are {known}.",
            code="dataset_not_found",
        )
    return example_directory("") / _BUILTIN_DATASETS[name]
