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
    over = np.flatnonzero((lengths.lengths > max_length) & ~_documents(subject, lengths))
    if not len(over):
        return
    kept = lengths.kept_at(max_length)
    lost = int((lengths.lengths[over] - max_length).sum(dtype=np.int64))
    labels = int((lengths.label_counts[over] - kept[over]).sum(dtype=np.int64))
    for row in over.tolist():
        code = "overlong" if kept[row] else "no_trainable_tokens_after_truncation"
        tokens = int(lengths.lengths[row])
        text = f"{tokens} tokens: {tokens - max_length} lost at the end"
        if report.findings.room(code):
            report.findings.add(code, places.of(row, text))
        else:
            report.findings.count(code, 1)
    facts = {"max_length": max_length, "tokens_lost": lost, "label_tokens_lost": labels}
    report.findings.set_detail("overlong", **facts, side="end")


def _documents(subject: Subject, lengths: Lengths) -> npt.NDArray[np.bool_]:
    """Rows of plain text: pre-training splits them into windows and loses nothing."""
    if isinstance(subject, Version):
        return np.full(len(lengths), subject.manifest.kinds.keys() == {"text"})
    is_text = np.array([tally["format"] == "text" for tally in lengths.tallies], np.bool_)
    return is_text[lengths.sources]


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
