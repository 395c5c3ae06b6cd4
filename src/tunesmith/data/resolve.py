"""From the name of a dataset to the file or folder that it stands for.

shop.jsonl           a file or folder, relative to the recipe
shop, shop@3         a dataset of the data directory: its newest version, or the third
builtin:general      rows that ship with the package
"""

from __future__ import annotations

import difflib
from pathlib import Path

from tunesmith.data.names import BUILTIN, BUILTIN_DATASETS, is_builtin
from tunesmith.data.store import Catalog, Version, parse_reference
from tunesmith.errors import DataError
from tunesmith.examples import example_directory


def resolve_dataset(name: str, base_dir: Path) -> Path:
    """The file or folder of a dataset; relative paths start at `base_dir`."""
    if is_builtin(name):
        return _builtin(name.removeprefix(BUILTIN))
    path = base_dir / Path(name).expanduser()
    version = None if path.exists() else find_version(name)
    return version.directory if version else path


def find_version(name: str) -> Version | None:
    """The version that `name` or `name@3` stands for; None where no dataset has the name.

    DataError when there is such a dataset without such a version, and for `name@3` of none.
    """
    reference, catalog = parse_reference(name), Catalog()
    if reference is None or not (reference.version or catalog.versions(reference.name)):
        return None
    return catalog.open(reference)


def _builtin(name: str) -> Path:
    if name not in BUILTIN_DATASETS:
        near = difflib.get_close_matches(name, BUILTIN_DATASETS, n=1)
        known = ", ".join(BUILTIN + each for each in BUILTIN_DATASETS)
        raise DataError(
            f"No dataset {BUILTIN}{name} ships with tunesmith.",
            hint=(f"Did you mean {BUILTIN}{near[0]}? " if near else "") + f"There are {known}.",
            code="dataset_not_found",
        )
    return example_directory("") / BUILTIN_DATASETS[name]
