"""A batch of rows to tokens: convert, render, encode. Works in any process, on any batch alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.conversation import Conversation, Record
from tunesmith.data.convert import RowUnusable, to_learn
from tunesmith.data.formats import Layout
from tunesmith.data.readers import Row
from tunesmith.data.renderer import EncodedRow, Rendered, Renderer


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

    def records(self) -> list[list[EncodedRow]]:
        """The rows of each record."""
        ends = np.cumsum(self.lengths)
        spans = zip((ends - self.lengths).tolist(), ends.tolist(), strict=True)
        rows = [EncodedRow(self.ids[a:b], self.targets[a:b]) for a, b in spans]
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
    as_documents: bool  # each record as one text in which everything is learned

    def __call__(self, batch: Sequence[tuple[int, Row]]) -> Encoded:
        usable = _Usable()
        for line, row in batch:
            usable.take(line, row, self.layout)
        render = self.renderer.render_document if self.as_documents else self.renderer.render
        rendered = [render(record) for record in usable.records]
        grouped: list[list[EncodedRow]] = [[] for _ in rendered]
        for row in self.renderer.encode_rendered(rendered):
            grouped[row.record].append(row)
        return _packed(len(batch), usable, rendered, grouped)


@dataclass
class _Usable:
    """Rows that became records, and those that did not."""

    lines: list[int] = field(default_factory=list[int])
    records: list[Record] = field(default_factory=list[Record])
    dropped: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])

    def take(self, line: int, row: Row, layout: Layout) -> None:
        try:
            record = to_learn(layout.convert(row))
        except RowUnusable as reason:
            self.dropped.append((str(reason), line, ""))
            return
        self.lines.append(line)
        self.records.append(record)


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
            reason, example = _why_nothing(rendered[at])
            dropped.append((reason, usable.lines[at], example))
    rows = [row for at in kept for row in grouped[at]]
    return Encoded(
        rows_read=rows_read,
        untrained=sum(each.untrained for each in rendered),
        dropped=dropped,
        lines=[usable.lines[at] for at in kept],
        has_tools=[_has_tools(usable.records[at]) for at in kept],
        rows_a_record=[len(grouped[at]) for at in kept],
        lengths=np.array([len(row.ids) for row in rows], np.int64),
        ids=_joined([row.ids for row in rows], np.uint32),
        targets=_joined([row.targets for row in rows], np.uint8),
    )


def _joined(parts: list[npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _has_tools(record: Record) -> bool:
    return isinstance(record, Conversation) and bool(record.tools)


def _why_nothing(rendered: Rendered) -> tuple[str, str]:
    if rendered.refused is not None:
        return "template_refused", rendered.refused
    return "no_trainable_tokens", ""
