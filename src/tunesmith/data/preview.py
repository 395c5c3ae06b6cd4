"""One row as the model sees it: every token, whether it is learned, and where it would be cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from typing import Any

import orjson

from tunesmith.data.conversation import StoredRecord, Text
from tunesmith.data.convert import RowUnusable
from tunesmith.data.formats import SAMPLE_ROWS, Layout, find_layout
from tunesmith.data.readers import Row, read_rows
from tunesmith.data.records import from_json, to_json
from tunesmith.data.renderer import EncodedRow, Rendered, Renderer
from tunesmith.data.sides import all_sides
from tunesmith.data.store import Version
from tunesmith.data.subject import Files, Subject
from tunesmith.errors import DataError


@dataclass(frozen=True)
class PreviewToken:
    """One token; where a character spans several, the first has its text and the others none."""

    id: int
    text: str
    supervised: bool
    special: bool = False


@dataclass(frozen=True)
class PreviewRow:
    """One training row. Tokens from `cut_at` on are cut off; None where nothing is.

    A document is never cut: it is split after every `window` tokens. `answer` says which answer of
    a pair the row holds: chosen or rejected.
    """

    tokens: list[PreviewToken]
    cut_at: int | None
    window: int | None = None
    answer: str = ""


@dataclass(frozen=True)
class RowPreview:
    """A row of the data and the training rows that it becomes."""

    line: int
    file: str
    why: str  # the format, and how it was recognised
    record: dict[str, Any] | None
    rows: list[PreviewRow]
    refused: str | None  # why nothing is learned: a code of a check, or the template's own words

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def preview_row(
    subject: Subject,
    number: int,
    renderer: Renderer,
    *,
    max_length: int | None = None,
    by_line: bool = False,
) -> RowPreview:
    """Row `number` in tokens: counted from 1 in files, the row's id in a version.

    Args:
        by_line: `number` is the one that a check names: the line where there are lines.
    """
    if isinstance(subject, Version):
        line, file, why, record = _stored(subject, number)
        return _rendered(record, renderer, max_length, line=line, file=file, why=why)
    found = _in_files(subject, number, by_line)
    line, file = found.line, found.file
    if isinstance(found, _Unreadable):
        return RowPreview(line, file, found.problem.message, None, [], found.problem.code)
    layout, row = found.layout, found.row
    try:
        record = layout.convert(row)
    except RowUnusable as reason:
        return RowPreview(line, file, layout.why, None, [], str(reason))
    return _rendered(record, renderer, max_length, line=line, file=file, why=layout.why)


def _rendered(
    record: StoredRecord, renderer: Renderer, max_length: int | None, **place: Any
) -> RowPreview:
    rows: list[PreviewRow] = []
    refused = None
    for side in all_sides(record):
        rendered = renderer.render(side.record)
        told = _Told(renderer, max_length, side.answer)
        rows += told.rows(rendered, is_document=isinstance(side.record, Text))
        refused = rendered.refused or refused
    return RowPreview(**place, record=to_json(record), rows=rows, refused=refused)


@dataclass(frozen=True)
class _Told:
    """Makes the rows of one rendered record."""

    renderer: Renderer
    max_length: int | None
    answer: str

    def rows(self, rendered: Rendered, *, is_document: bool) -> list[PreviewRow]:
        encodings = self.renderer.tokenizer.encode_with_offsets([r.text for r in rendered.rows])
        encoded = self.renderer.encode_rendered([rendered])
        told: list[PreviewRow] = []
        for row, text, encoding in zip(encoded, rendered.rows, encodings, strict=True):
            tokens = self._tokens(row, _pieces(text.text, encoding.offsets))
            limit = self.max_length
            cut = limit if limit is not None and len(tokens) > limit else None
            shown = PreviewRow(tokens, cut, answer=self.answer)
            told.append(replace(shown, cut_at=None, window=cut) if is_document else shown)
        return told

    def _tokens(self, row: EncodedRow, pieces: list[str]) -> list[PreviewToken]:
        tokenizer = self.renderer.tokenizer
        special = {tokenizer.token_id(token) for token in tokenizer.special_tokens}
        return [
            PreviewToken(token, piece, bool(target), token in special)
            for token, target, piece in zip(
                row.ids.tolist(), row.targets.tolist(), pieces, strict=True
            )
        ]


def _pieces(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """The text of each token: all that no earlier token has shown, so that nothing is lost."""
    pieces: list[str] = []
    shown = 0
    for _, end in offsets:
        pieces.append(text[shown:end])
        shown = max(shown, end)
    return pieces


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


@dataclass(frozen=True)
class _Found:
    """A row of a file."""

    line: int
    file: str
    row: Row
    layout: Layout


@dataclass(frozen=True)
class _Unreadable:
    """A line of a file that holds no row."""

    line: int
    file: str
    problem: DataError


def _in_files(files: Files, number: int, by_line: bool) -> _Found | _Unreadable:
    seen = 0
    problems: dict[int, DataError] = {}

    def remember(line: int, problem: DataError) -> None:
        problems[line] = problem

    for path in files.paths:
        problems.clear()
        rows = read_rows(path, encoding=files.encoding, on_problem=remember)
        first = list(islice(rows, SAMPLE_ROWS))
        layout = find_layout([row for _, row in first], files.wanted, path.name) if first else None
        for line, row in chain(first, rows):
            seen += 1
            if layout is not None and number == (line if by_line else seen):
                return _Found(line, path.name, row, layout)
        if by_line and number in problems:
            return _Unreadable(number, path.name, problems[number])
    what = "row in line" if by_line else "row"
    raise DataError(
        f"{files.name} has no {what} {number}.",
        hint=f"Its rows are counted from 1 to {seen}."
        if seen
        else "None of its lines can be read; `tunesmith data check` says why.",
    )
