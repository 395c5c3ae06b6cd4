"""What is asked of datasets, and how one is found: shapes that load nothing.

Routes know these; what reads rows, and the libraries for it, is loaded when somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tunesmith.server.tables import Dataset, DatasetVersion


@dataclass(frozen=True)
class NewDataset:
    """What is said about a dataset, beside its rows."""

    name: str
    description: str = ""
    tags: list[str] = field(default_factory=list[str])
    licence: str = ""
    language: str = ""
    role: str = "user"


@dataclass(frozen=True)
class Import:
    """Which files become rows, and how they are read."""

    file_ids: list[str]
    mapping: dict[str, Any]
    encoding: str | None = None
    append: bool = False  # behind the rows that there are, in place of a version without these
    near: bool = True  # search nearly equal rows
    note: str = ""
    members: list[str] = field(default_factory=list[str])  # files of an archive; empty: all
    hub: dict[str, Any] | None = None  # a dataset of a hub, as hub.py reads it; then no files


@dataclass(frozen=True)
class View:
    """Which rows, and in which order. `after` is the id of a row, `offset` counts sorted rows."""

    after: int = 0
    limit: int = 50
    search: str = ""
    where: str = ""
    sort: str = ""
    descending: bool = False
    offset: int = 0


@dataclass(frozen=True)
class Check:
    """What to look for in a version."""

    openai: bool = False
    near: bool = True
    model: str | None = None  # look at tokens too, with its tokenizer
    max_length: int = 1024


@dataclass(frozen=True)
class Stats:
    """Whose tokens to count, and what a training would do."""

    model: str
    max_length: int | None = None
    epochs: int = 1
    batch_size: int = 8


@dataclass(frozen=True)
class MixingPart:
    """One dataset of a mixture, by id or name."""

    dataset: str
    sampling_rate: float = 1.0
    share: float | None = None
    role: str | None = None  # None: that of the dataset
    tokens: int | None = None


@dataclass(frozen=True)
class Found:
    """A dataset with its newest version; None while its first import goes on, or failed."""

    dataset: Dataset
    newest: DatasetVersion | None
    num_versions: int

    @property
    def id(self) -> str:
        return self.dataset.id
