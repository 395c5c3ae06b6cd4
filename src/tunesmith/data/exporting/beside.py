"""The columns beside the records: which there are, and under which names a format takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tunesmith.data.exporting.forms import ExportFormat, Form
from tunesmith.data.first_rows import LABELS
from tunesmith.data.store import Version

TABLES: tuple[ExportFormat, ...] = ("csv", "xlsx", "parquet")
_SCALARS = (str, int, float, bool)


def types_beside(version: Version) -> dict[str, set[type]]:
    """The columns that any row has, each with the types of its values."""
    found: dict[str, set[type]] = {}
    for batch in version.batches(["extra"], 65536):
        for text in batch["extra"].unique().drop_null().to_pylist():
            for name, value in orjson.loads(text).items():
                kinds = found.setdefault(name, set())
                if value is not None:
                    kinds.add(_type(value))
    return found


def _type(value: Any) -> type:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 63:
        return object  # no integer of a table
    return type(value)


@dataclass
class Beside:
    """The columns that a format takes, with their names there."""

    names: dict[str, str] = field(default_factory=dict[str, str])
    types: dict[str, type] = field(default_factory=dict[str, type])  # by new name; of parquet
    left_out: list[str] = field(default_factory=list[str])
    renamed: dict[str, str] = field(default_factory=dict[str, str])
    as_text: list[str] = field(default_factory=list[str])

    @classmethod
    def of(
        cls,
        columns: Mapping[str, set[type]],
        format: ExportFormat,
        form: Form,
        *,
        judged: bool,
    ) -> Beside:
        """Names that an import takes for something else get others."""
        if format == "openai":  # whose lines have no other keys
            return cls(left_out=list(columns))
        made = cls()
        taken = {*form.reserved} - (set() if judged else _harmless_labels(columns)) | form.own
        for column, kinds in columns.items():
            wanted = " ".join(column.split()) if format in TABLES else column
            name = _free_name(wanted, taken)
            taken.add(name.strip().lower())
            made.names[column] = name
            if name != column:
                made.renamed[column] = name
            if format in TABLES:
                made._note_type(column, name, kinds, format)
        return made

    def _note_type(self, column: str, name: str, kinds: set[type], format: str) -> None:
        only = next(iter(kinds)) if len(kinds) == 1 else str if not kinds else object
        if format != "parquet":
            only = only if only is str else object
        self.types[name] = only if only in _SCALARS else object
        if self.types[name] is object:
            self.as_text.append(column)

    def values(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """A row's other columns as the format takes them."""
        told: dict[str, Any] = {}
        for column, value in extra.items():
            if name := self.names.get(column):
                as_text = self.types.get(name) is object
                told[name] = as_cell(value) if as_text and value is not None else value
        return told


def as_cell(value: Any) -> str:
    """A value as text: JSON for what is none."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _harmless_labels(columns: Mapping[str, set[type]]) -> set[str]:
    """Columns named as judgements are that hold something else, such as the number of a class."""
    return {
        name
        for name in LABELS[1:]
        if not any(bool in kinds for c, kinds in columns.items() if c.strip().lower() == name)
    }


def _free_name(wanted: str, taken: set[str]) -> str:
    """The name, or one with a number behind it."""
    name, number = wanted or "column", 2
    while name.strip().lower() in taken:
        name, number = f"{wanted or 'column'}_{number}", number + 1
    return name
