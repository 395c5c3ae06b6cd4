"""Stored rows as objects, for what is done row by row: edit, filter, mend, diff, export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa

from tunesmith.data.conversation import StoredRecord
from tunesmith.data.records import from_json, kind_of, to_json
from tunesmith.data.store.version import SCHEMA, Rows, digest_of


@dataclass(frozen=True)
class StoredRow:
    """One row: `text` is its record as JSON, `extra_text` its other columns as JSON."""

    id: int
    file: str
    line: int
    kind: str
    text: str
    extra_text: str | None
    digest: int

    @cached_property
    def record(self) -> StoredRecord:
        return from_json(orjson.loads(self.text))

    @cached_property
    def extra(self) -> dict[str, Any]:
        return orjson.loads(self.extra_text) if self.extra_text else {}

    def with_record(self, record: StoredRecord) -> StoredRow:
        """The same row saying something else."""
        text = orjson.dumps(to_json(record))
        changed = {"kind": kind_of(record), "text": text.decode(), "digest": digest_of(text)}
        return replace(self, **changed)

    def with_extra(self, extra: dict[str, Any]) -> StoredRow:
        """The same row with other columns beside its record."""
        return replace(self, extra_text=orjson.dumps(extra).decode() if extra else None)

    def to_json(self) -> dict[str, Any]:
        """The row as commands and the API show it."""
        shown = {"id": self.id, "file": self.file, "line": self.line, "kind": self.kind}
        beside = {"extra": self.extra} if self.extra_text else {}
        return {**shown, "record": orjson.loads(self.text), **beside}


def stored_rows(batches: Iterable[Rows]) -> Iterator[StoredRow]:
    """The rows of batches, in order."""
    for batch in batches:
        columns = [batch[name].to_pylist() for name in SCHEMA.names]
        for values in zip(*columns, strict=True):
            yield StoredRow(*values)


def table_of(rows: Sequence[StoredRow]) -> Rows:
    """Rows as a batch for a draft."""
    columns = {
        "id": [row.id for row in rows],
        "file": [row.file for row in rows],
        "line": [row.line for row in rows],
        "kind": [row.kind for row in rows],
        "record": [row.text for row in rows],
        "extra": [row.extra_text for row in rows],
        "digest": [row.digest for row in rows],
    }
    return pa.table(columns, schema=SCHEMA)
