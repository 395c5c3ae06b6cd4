"""One published version of a dataset: a folder of Parquet files and a manifest, written last.

    0003/
      manifest.json        what it is and where it comes from; files with sizes and SHA-256
      part-00000.parquet   id, file, line, kind, record, extra, digest
      rejected/rows.jsonl  rows of the source that could not become records, with the reason

A published version never changes. It appears by one rename of a finished draft, so a process that
is killed or interrupted leaves no version behind, only a draft that the next one removes.

`id` names a row for as long as it lives in the dataset, through all versions; `file` and `line` say
where it came from; `record` is JSON as data/records.py writes it; `extra` holds the columns of the
source that are no part of the record, as JSON; `digest` is a 64-bit hash of the record.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.data.names import VERSION_MANIFEST as MANIFEST
from tunesmith.errors import DataError, RunFailed

REJECTED = "rejected/rows.jsonl"
STORED_RECORD = "tunesmith:record"  # the column under which readers hand out a stored record
ROWS_A_PART = 200_000
BYTES_A_PART = 256 << 20
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("record", pa.large_string(), nullable=False),
        pa.field("extra", pa.large_string()),
        pa.field("digest", pa.uint64(), nullable=False),
    ],
    metadata={"tunesmith": "rows"},
)
Rows: TypeAlias = Any  # pa.Table; pyarrow has no types


def is_stored(schema: Any) -> bool:
    """Whether a Parquet file is a part of a published version."""
    return (schema.metadata or {}).get(b"tunesmith") == b"rows"


@dataclass(frozen=True)
class Manifest:
    """What a version is and how it came to be."""

    name: str
    version: int
    created: str  # ISO 8601, UTC
    rows: int
    content: str  # SHA-256 over the digests of the rows in order
    next_id: int  # the id that the next new row gets
    kinds: dict[str, int]
    parent: int | None = None
    note: str = ""
    operations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sources: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    rejected: int = 0
    bytes: int = 0  # of text, before compression
    files: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@dataclass(frozen=True)
class Version:
    """A published version, opened for reading."""

    directory: Path
    manifest: Manifest

    @classmethod
    def open(cls, directory: Path) -> Version:
        """Read the manifest; DataError when the folder holds no complete version."""
        path = directory / MANIFEST
        try:
            manifest = Manifest(**orjson.loads(path.read_bytes()))
        except (OSError, orjson.JSONDecodeError, TypeError) as error:
            raise DataError(
                f"{directory.name} of dataset {directory.parent.name} is not complete: {error}",
                hint="Import the data again, or remove the folder.",
                code="version_incomplete",
            ) from error
        return cls(directory, manifest)

    @property
    def label(self) -> str:
        """`name@3`, as people and recipes write it."""
        return f"{self.manifest.name}@{self.manifest.version}"

    @property
    def name(self) -> str:
        return self.label

    @property
    def size(self) -> int:
        """Bytes of text."""
        return self.manifest.bytes

    @property
    def parts(self) -> list[Path]:
        return [self.directory / file["name"] for file in self.manifest.files if _is_part(file)]

    @property
    def rejected(self) -> Path:
        return self.directory / REJECTED

    def batches(self, columns: Sequence[str] | None = None, rows: int = 4096) -> Iterator[Rows]:
        """The rows in order, some thousands at a time."""
        for part in self.parts:
            try:
                with pq.ParquetFile(part) as file:
                    for batch in file.iter_batches(
                        rows, columns=list(columns) if columns else None
                    ):
                        yield pa.Table.from_batches([batch])
            except (pa.ArrowInvalid, OSError) as error:
                raise DataError(
                    f"{self.label}: {part.name} cannot be read ({error}).",
                    hint="`tunesmith data verify` compares the files with their checksums.",
                    code="version_broken",
                ) from error

    def column(self, name: str) -> npt.NDArray[Any]:
        """One small column of all rows."""
        parts = [batch[name].to_numpy() for batch in self.batches([name], 65536)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def verify(self) -> None:
        """Compare every file with its checksum; DataError names the first that differs."""
        for file in self.manifest.files:
            path = self.directory / file["name"]
            if not path.is_file() or _checksum(path) != file["sha256"]:
                raise DataError(
                    f"{self.label}: {file['name']} is missing or was changed after publishing.",
                    hint="Use another version, or import the data again.",
                    code="version_broken",
                    file=file["name"],
                )


def _is_part(file: dict[str, Any]) -> bool:
    return str(file["name"]).endswith(".parquet")


class Draft:
    """A version in the making: rows are appended, then all of it appears at once, or nothing."""

    def __init__(self, folder: Path, *, name: str, next_id: int = 1) -> None:
        self._folder = folder
        self._name = name
        self._next_id = next_id
        self._content = hashlib.sha256()
        self._kinds: dict[str, int] = {}
        self._writer: pq.ParquetWriter | None = None
        self._part_rows = self._part_bytes = 0
        self._parts: list[dict[str, Any]] = []
        self._rejected = 0
        self.rows = 0
        self.bytes = 0
        folder.mkdir(parents=True)

    def append(self, rows: Rows) -> None:
        """Add rows that have their ids already."""
        if not len(rows):
            return
        rows = rows.select(SCHEMA.names).cast(SCHEMA)
        with _FullDisk(self._folder):
            self._open_part().write_table(rows)
        size = rows["record"].nbytes
        self.rows += len(rows)
        self.bytes += size
        self._part_rows += len(rows)
        self._part_bytes += size
        digests = rows["digest"].to_numpy()
        self._content.update(np.ascontiguousarray(digests).tobytes())
        for counted in rows["kind"].value_counts().to_pylist():
            kind = counted["values"]
            self._kinds[kind] = self._kinds.get(kind, 0) + counted["counts"]
        self._next_id = max(self._next_id, int(rows["id"].to_numpy().max()) + 1)
        if self._part_rows >= ROWS_A_PART or self._part_bytes >= BYTES_A_PART:
            self._close_part()

    def append_new(self, rows: Rows) -> None:
        """Add rows and give them the next ids."""
        ids = pa.array(np.arange(self._next_id, self._next_id + len(rows)), pa.int64())
        self.append(rows.append_column("id", ids))

    def reject(self, entries: Sequence[dict[str, Any]]) -> None:
        """Keep rows that could not become records: file, line, reason, and what was there."""
        if entries:
            self._rejected += len(entries)
            (self._folder / REJECTED).parent.mkdir(exist_ok=True)
            with _FullDisk(self._folder), (self._folder / REJECTED).open("ab") as file:
                file.writelines(orjson.dumps(entry) + b"\n" for entry in entries)

    def publish(
        self,
        final: Path,
        *,
        created: str,
        parent: int | None = None,
        note: str = "",
        operations: Sequence[dict[str, Any]] = (),
        sources: Sequence[dict[str, Any]] = (),
    ) -> Version:
        """Write the manifest and give the draft its final name in one step."""
        self._close_part()
        files = list(self._parts)
        if self._rejected:
            path = self._folder / REJECTED
            files.append(
                {"name": REJECTED, "bytes": path.stat().st_size, "sha256": _checksum(path)}
            )
        manifest = Manifest(
            name=self._name,
            version=int(final.name),
            created=created,
            rows=self.rows,
            content=self._content.hexdigest(),
            next_id=self._next_id,
            kinds=self._kinds,
            parent=parent,
            note=note,
            operations=list(operations),
            sources=list(sources),
            rejected=self._rejected,
            bytes=self.bytes,
            files=files,
        )
        with _FullDisk(self._folder):
            _write_synced(self._folder / MANIFEST, orjson.dumps(asdict(manifest), option=_PRETTY))
        self._folder.rename(final)
        return Version(final, manifest)

    def discard(self) -> None:
        """Remove what was written."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open_part(self) -> pq.ParquetWriter:
        if self._writer is None:
            path = self._folder / f"part-{len(self._parts):05d}.parquet"
            self._parts.append({"name": path.name})
            self._part_rows = self._part_bytes = 0
            settings: dict[str, Any] = {
                "compression_level": 1,
                "use_dictionary": ["file", "kind"],
                "write_statistics": ["id"],
            }
            self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd", **settings)
        return self._writer

    def _close_part(self) -> None:
        if self._writer is None:
            return
        with _FullDisk(self._folder):
            self._writer.close()
        self._writer = None
        path = self._folder / self._parts[-1]["name"]
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self._parts[-1] |= {
            "rows": self._part_rows,
            "bytes": path.stat().st_size,
            "sha256": _checksum(path),
        }


_PRETTY = orjson.OPT_INDENT_2


def digest_of(record: bytes) -> int:
    """64 bits that stand for a record."""
    return int.from_bytes(hashlib.blake2b(record, digest_size=8).digest(), "little")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


class _FullDisk:
    """`with _FullDisk(folder):` says in plain words that the disk is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFailed(
                f"No disk space left in {self._folder.parent}; nothing was published.",
                hint="Free some space and try again; earlier versions are as they were.",
                code="disk_full",
            ) from error
