"""What only a tokenizer shows: templates that refuse rows, nothing to learn, rows that are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.check.check import Report
from tunesmith.data.check.findings import Findings, Place
from tunesmith.data.lengths import Lengths, measure
from tunesmith.data.renderer import Renderer
from tunesmith.data.store import Version
from tunesmith.data.subject import Subject
from tunesmith.data.tokenise import Progress

Mask = npt.NDArray[np.bool_]
_RENDERED = ("template_refused", "no_trainable_tokens")


def check_tokens(
    subject: Subject,
    renderer: Renderer,
    max_length: int,
    report: Report,
    *,
    cache_dir: Path,
    on_progress: Progress,
) -> None:
    """Add to a report what the rows are as tokens of one model."""
    lengths = measure(
        subject, renderer, cache_dir=cache_dir, on_progress=on_progress, max_length=max_length
    )
    places = _Places(subject, lengths)
    for tally in lengths.tallies:
        for reason in _RENDERED:
            _refused(report.findings, reason, tally, places)
    over = (lengths.lengths > max_length) & ~lengths.documents
    if over.any():
        _overlong(report.findings, lengths, over, max_length, places)


def _overlong(
    findings: Findings, lengths: Lengths, over: Mask, max_length: int, places: _Places
) -> None:
    """Rows of the data with a part that is cut; an error where no part has anything to learn."""
    kept = lengths.kept_at(max_length)
    lost = np.where(over, lengths.lengths - max_length, 0)
    # A conversation may become several training rows, which lie one after the other.
    first = np.ones(len(lengths), np.bool_)
    first[1:] = np.diff(lengths.lines) != 0
    first[1:] |= np.diff(lengths.sources.astype(np.int64)) != 0
    starts = np.flatnonzero(first)
    learned = np.add.reduceat(kept, starts)
    gone = np.add.reduceat(lost, starts)
    longest = np.maximum.reduceat(lengths.lengths, starts)
    for at in np.flatnonzero(np.add.reduceat(over, starts, dtype=np.int64)).tolist():
        code = "overlong" if learned[at] else "no_trainable_tokens_after_truncation"
        if findings.room(code):
            text = f"{longest[at]} tokens: {gone[at]} lost at the end"
            findings.add(code, places.of(int(starts[at]), text))
        else:
            findings.count(code, 1)
    labels = int((lengths.label_counts - kept)[over].sum(dtype=np.int64))
    findings.set_detail(
        "overlong",
        max_length=max_length,
        tokens_lost=int(lost.sum(dtype=np.int64)),
        label_tokens_lost=labels,
        side="end",
    )


def _refused(findings: Findings, reason: str, tally: dict[str, Any], places: _Places) -> None:
    lines = tally["dropped"].get(reason)
    if lines is None:
        return
    for line in lines["lines"]:
        findings.add(reason, places.at(tally["source"], line, lines.get("example", "")))
    findings.count(reason, lines["count"] - len(lines["lines"]))


class _Places:
    """Lines of files, or ids of stored rows: readers give these as the line of a stored row."""

    def __init__(self, subject: Subject, lengths: Lengths) -> None:
        self._stored = isinstance(subject, Version)
        self._lengths = lengths

    def of(self, row: int, text: str) -> Place:
        source = self._lengths.tallies[int(self._lengths.sources[row])]["source"]
        return self.at(source, int(self._lengths.lines[row]), text)

    def at(self, source: str, line: int, text: str) -> Place:
        if self._stored:
            return Place("", 0, line, excerpt=text)
        return Place(source, line, excerpt=text)
