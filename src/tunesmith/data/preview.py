"""One row as the model sees it: every token, whether it is learned, and where it would be cut."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any

import orjson

from tunesmith.data.conversation import PreferencePair, StoredRecord, UnpairedPreference
from tunesmith.data.convert import RowUnusable
from tunesmith.data.formats import SAMPLE_ROWS, find_layout
from tunesmith.data.readers import Row, read_rows
from tunesmith.data.records import from_json, to_json
from tunesmith.data.renderer import EncodedRow, Renderer
from tunesmith.data.store import Version
from tunesmith.data.subject import Files, Subject
from tunesmith.errors import DataError


@dataclass(frozen=True)
class PreviewToken:
    """One token; `text` holds a replacement character where a character spans several tokens."""

    id: int
    text: str
    supervised: bool
    special: bool = False


@dataclass(frozen=True)
class PreviewRow:
    """One training row. Tokens from `cut_at` on are cut off; None where nothing is."""

    tokens: list[PreviewToken]
    cut_at: int | None


@dataclass(frozen=True)
class RowPreview:
    """A row of the data and the training rows that it becomes."""

    line: int
    file: str
    why: str  # the format, and how it was recognised
    record: dict[str, Any] | None
    rows: list[PreviewRow]
    refused: str | None  # why there are no rows

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def preview_row(
    subject: Subject, number: int, renderer: Renderer, *, max_length: int | None = None
) -> RowPreview:
    """Row `number` in tokens: counted from 1 in files, the row's id in a version."""
    if isinstance(subject, Version):
        line, file, why, record = _stored(subject, number)
    else:
        line, file, why, row, convert = _in_files(subject, number)
        try:
            record = convert(row)
        except RowUnusable as reason:
            return RowPreview(line, file, why, None, [], str(reason))
    return _rendered(record, renderer, max_length, line=line, file=file, why=why)


def _rendered(
    record: StoredRecord, renderer: Renderer, max_length: int | None, **place: Any
) -> RowPreview:
    told = to_json(record)
    if isinstance(record, PreferencePair | UnpairedPreference):
        return RowPreview(**place, record=told, rows=[], refused="preference_row")
    rendered = renderer.render(record)
    rows = [_tokens(row, renderer, max_length) for row in renderer.encode_rendered([rendered])]
    return RowPreview(**place, record=told, rows=rows, refused=rendered.refused)


def _tokens(row: EncodedRow, renderer: Renderer, max_length: int | None) -> PreviewRow:
    special = {renderer.tokenizer.token_id(t) for t in renderer.tokenizer.special_tokens}
    tokens = [
        PreviewToken(token, renderer.tokenizer.decode([token]), bool(target), token in special)
        for token, target in zip(row.ids.tolist(), row.targets.tolist(), strict=True)
    ]
    is_cut = max_length is not None and len(tokens) > max_length
    return PreviewRow(tokens, max_length if is_cut else None)


def _stored(version: Version, number: int) -> tuple[int, str, str, StoredRecord]:
    for batch in version.batches(["id", "file", "line", "record"]):
        ids = batch["id"].to_pylist()
        if number in ids:
            at = ids.index(number)
            line, file = batch["line"][at].as_py(), batch["file"][at].as_py()
            return line, file, version.label, from_json(orjson.loads(batch["record"][at].as_py()))
    raise DataError(
        f"{version.label} has no row {number}.",
        hint=f"`tunesmith data show {version.label}` lists rows with their ids.",
    )


def _in_files(files: Files, number: int) -> tuple[int, str, str, Row, Any]:
    seen = 0
    for path in files.paths:
        rows = read_rows(path, encoding=files.encoding, on_problem=lambda _line, _error: None)
        first = list(islice(rows, SAMPLE_ROWS))
        if not first:
            continue
        layout = find_layout([row for _, row in first], files.wanted, path.name)
        for line, row in chain(first, rows):
            seen += 1
            if seen == number:
                return line, path.name, layout.why, row, layout.convert
    raise DataError(
        f"{files.name} has no row {number}.",
        hint=f"Its rows are counted from 1 to {seen}."
        if seen
        else "None of its lines can be read; `tunesmith data check` says why.",
    )
