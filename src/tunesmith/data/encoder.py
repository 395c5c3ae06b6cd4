"""A batch of rows to tokens: convert, render, encode. Works in any process, on any batch alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from tunesmith.data.conversation import Conversation, Prompt
from tunesmith.data.convert import RowUnusable
from tunesmith.data.formats import Layout
from tunesmith.data.prompts import as_prompt, fields_beside
from tunesmith.data.readers import Row
from tunesmith.data.records import to_json
from tunesmith.data.renderer import EncodedRow, Rendered, Renderer
from tunesmith.data.sides import Side, View, sides_of
from tunesmith.data.store.version import STORED_RECORD
from tunesmith.errors import DataError


@dataclass(frozen=True)
class Encoded:
    """The tokens of a batch. Rows lie one after the other, so that few objects are handed over."""

    rows_read: int
    untrained: int  # answers that could not be trained
    dropped: list[tuple[str, int, str]]  # (reason, line, example)
    lines: list[int]  # of each record that has rows
    has_tools: list[bool]
    rows_a_record: list[int]
    lengths: npt.NDArray[np.int64]
    ids: npt.NDArray[np.uint32]
    targets: npt.NDArray[np.uint8]
    splits: npt.NDArray[np.int64]
    desirable: npt.NDArray[np.bool_]
    margins: npt.NDArray[np.float64]
    notes: tuple[bytes, ...] = ()  # of questions

    def records(self) -> list[list[EncodedRow]]:
        """The rows of each record."""
        ends = np.cumsum(self.lengths)
        facts = (ends - self.lengths, ends, self.splits, self.desirable, self.margins)
        rows = [
            EncodedRow(self.ids[start:end], self.targets[start:end], 0, *judged)
            for start, end, *judged in zip(*(fact.tolist() for fact in facts), strict=True)
        ]
        if self.notes:
            pairs = zip(rows, self.notes, strict=True)
            rows = [replace(row, note=note) for row, note in pairs]
        taken, grouped = 0, list[list[EncodedRow]]()
        for count in self.rows_a_record:
            grouped.append(rows[taken : taken + count])
            taken += count
        return grouped


@dataclass(frozen=True)
class Encoder:
    """Encodes batches of numbered rows of one file."""

    renderer: Renderer
    layout: Layout
    view: View

    def __call__(self, batch: Sequence[tuple[int, Row]]) -> Encoded:
        if self.view == "prompts":
            return self._prompts(batch)
        usable = _Usable(self.view)
        for line, row in batch:
            usable.take(line, row, self.layout)
        documents = self.view == "documents"
        render = self.renderer.render_document if documents else self.renderer.render
        rendered = [render(side.record) for side in usable.sides]
        encoded: list[list[EncodedRow]] = [[] for _ in rendered]
        for row in self.renderer.encode_rendered(rendered):
            encoded[row.record].append(row)
        return _packed(len(batch), usable, rendered, self._grouped(usable, encoded))

    def _prompts(self, batch: Sequence[tuple[int, Row]]) -> Encoded:
        """Questions as the model is asked, each with its record beside it."""
        found: list[tuple[int, Prompt, EncodedRow]] = []
        dropped: list[tuple[str, int, str]] = []
        for line, row in batch:
            try:
                beside = {} if STORED_RECORD in row else fields_beside(row, self.layout.used)
                prompt = as_prompt(self.layout.convert(row), beside)
                asked = Conversation(prompt.messages, prompt.tools)
                ids = np.array(self.renderer.prompt_ids(asked), np.uint32)
            except RowUnusable as reason:
                dropped.append((str(reason), line, ""))
            except DataError as refused:
                dropped.append(("template_refused", line, refused.message))
            else:
                note = orjson.dumps(to_json(prompt), default=str)
                nothing = np.zeros(len(ids), np.uint8)
                found.append((line, prompt, EncodedRow(ids, nothing, note=note)))
        rows = [row for _, _, row in found]
        return Encoded(
            rows_read=len(batch),
            untrained=0,
            dropped=dropped,
            lines=[line for line, _, _ in found],
            has_tools=[bool(prompt.tools) for _, prompt, _ in found],
            rows_a_record=[1] * len(found),
            lengths=np.array([len(row.ids) for row in rows], np.int64),
            ids=_joined([row.ids for row in rows], np.uint32),
            targets=_joined([row.targets for row in rows], np.uint8),
            splits=np.zeros(len(rows), np.int64),
            desirable=np.ones(len(rows), np.bool_),
            margins=np.zeros(len(rows), np.float64),
            notes=tuple(row.note for row in rows),
        )

    def _grouped(self, usable: _Usable, encoded: list[list[EncodedRow]]) -> list[list[EncodedRow]]:
        """The rows of each record: those of its sides, joined where the two make a pair."""
        grouped: list[list[EncodedRow]] = []
        for first, count in zip(usable.starts, usable.counts, strict=True):
            sides = usable.sides[first : first + count]
            rows = encoded[first : first + count]
            if self.view in ("answers", "documents") or (self.view == "all" and count == 1):
                grouped.append(rows[0])
            elif any(len(each) != 1 for each in rows):
                # An answer that its template renders in several rows cannot be judged as one.
                grouped.append([])
            elif self.view == "judged":
                named = zip(sides, rows, strict=True)
                grouped.append([replace(row, desirable=side.desirable) for side, (row,) in named])
            else:
                grouped.append([_joined_sides(rows[0][0], rows[1][0], sides[0].margin)])
        return grouped


@dataclass
class _Usable:
    """Rows that became records, and those that did not."""

    view: View
    lines: list[int] = field(default_factory=list[int])
    sides: list[Side] = field(default_factory=list[Side])
    starts: list[int] = field(default_factory=list[int])  # of each record in `sides`
    counts: list[int] = field(default_factory=list[int])
    dropped: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])

    def take(self, line: int, row: Row, layout: Layout) -> None:
        try:
            sides = sides_of(layout.convert(row), self.view)
        except RowUnusable as reason:
            self.dropped.append((str(reason), line, ""))
            return
        self.lines.append(line)
        self.starts.append(len(self.sides))
        self.counts.append(len(sides))
        self.sides += sides

    def has_tools(self, at: int) -> bool:
        record = self.sides[self.starts[at]].record
        return isinstance(record, Conversation) and bool(record.tools)


def _packed(
    rows_read: int,
    usable: _Usable,
    rendered: Sequence[Rendered],
    grouped: Sequence[Sequence[EncodedRow]],
) -> Encoded:
    dropped = list(usable.dropped)
    kept: list[int] = []
    for at, rows in enumerate(grouped):
        if rows:
            kept.append(at)
        else:
            first = usable.starts[at]
            reason, example = _why_nothing(rendered[first : first + usable.counts[at]])
            dropped.append((reason, usable.lines[at], example))
    rows = [row for at in kept for row in grouped[at]]
    return Encoded(
        rows_read=rows_read,
        untrained=sum(each.untrained for each in rendered),
        dropped=dropped,
        lines=[usable.lines[at] for at in kept],
        has_tools=[usable.has_tools(at) for at in kept],
        rows_a_record=[len(grouped[at]) for at in kept],
        lengths=np.array([len(row.ids) for row in rows], np.int64),
        ids=_joined([row.ids for row in rows], np.uint32),
        targets=_joined([row.targets for row in rows], np.uint8),
        splits=np.array([row.split for row in rows], np.int64),
        desirable=np.array([row.desirable for row in rows], np.bool_),
        margins=np.array([row.margin for row in rows], np.float64),
    )


def _joined(parts: list[npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _joined_sides(chosen: EncodedRow, rejected: EncodedRow, margin: float) -> EncodedRow:
    """One row of both sides, the better one first."""
    return EncodedRow(
        np.concatenate([chosen.ids, rejected.ids]),
        np.concatenate([chosen.targets, rejected.targets]),
        chosen.record,
        len(chosen.ids),
        margin=margin,
    )


def _why_nothing(rendered: Sequence[Rendered]) -> tuple[str, str]:
    for side in rendered:
        if side.refused is not None:
            return "template_refused", side.refused
    if any(len(side.rows) > 1 for side in rendered):
        return "answer_in_several_rows", ""
    return "no_trainable_tokens", ""
