"""Check a dataset: read it once in pieces, look at each row, then at all of them together.

    subject -> pieces (several processes, inspect.py) -> gathered facts -> report

The report is bounded: exact counts, the first 100 places of each finding. Memory grows by some
tens of bytes a row, never with the size of the texts.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.check.duplicates import NearDuplicates, exact_duplicates, leaking
from tunesmith.data.check.findings import PLACES_KEPT, Findings, Place
from tunesmith.data.check.inspect import (
    CLASS_ROWS,
    Facts,
    Piece,
    Source,
    Wanted,
    add_unreadable,
    inspect_block,
    inspect_stored,
)
from tunesmith.data.check.languages import LANGUAGES
from tunesmith.data.check.openai_rules import MIN_LINES
from tunesmith.data.formats import SAMPLE_ROWS, find_layout
from tunesmith.data.pool import in_order
from tunesmith.data.readers import NOTICES, Block, parse_block, read_blocks
from tunesmith.data.store import Version
from tunesmith.data.subject import Files, Subject
from tunesmith.data.tokenise import Progress
from tunesmith.errors import DataError

MIN_ROWS = 100
_SMALL = 8 << 20  # bytes; starting processes takes longer than reading less than this
_MAX_CLASSES = 50
_UNBALANCED = 4  # times as many rows of one class as of another
_RARE_LANGUAGE = 0.02
_FEW = 0.02  # of all rows: more are no outliers
Ints = npt.NDArray[np.int64]


@dataclass
class Report:
    """What a check found; `to_json` is what `--json`, the API and the console show."""

    subject: str
    sources: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    rows_read: int = 0
    rows_usable: int = 0
    bytes: int = 0
    characters: int = 0
    languages: dict[str, int] = field(default_factory=dict[str, int])
    findings: Findings = field(default_factory=Findings)

    @property
    def errors(self) -> int:
        return self.findings.counts()["error"]

    def to_json(self, language: str = "en") -> dict[str, Any]:
        return {
            "subject": self.subject,
            "sources": self.sources,
            "rows_read": self.rows_read,
            "rows_usable": self.rows_usable,
            "bytes": self.bytes,
            "characters": self.characters,
            "languages": self.languages,
            "counts": self.findings.counts(),
            "findings": [finding.to_json(language) for finding in self.findings],
        }


def check(
    subject: Subject,
    wanted: Wanted,
    *,
    processes: int,
    on_progress: Progress,
    against: Subject | None = None,
) -> Report:
    """Everything that can be found without a tokenizer. `against` is checked for leakage."""
    wanted = replace(wanted, leakage=against is not None)
    with Gathered(subject.name, wanted) as gathered:
        for piece in pieces_of(subject, wanted, gathered.report, processes, on_progress):
            gathered.add(piece)
        report = gathered.finish(on_progress)
        if against is not None:
            _leakage(gathered, against, processes, on_progress)
        return report


# ---------------------------------------------------------------- pieces


def pieces_of(
    subject: Subject, wanted: Wanted, report: Report, processes: int, on_progress: Progress
) -> Iterator[Piece]:
    """Every row of a subject, inspected; adds what the files are to the report."""
    total = subject.size
    processes = processes if total > _SMALL else 1
    done = 0
    made = (
        _of_version(subject, wanted, report, processes)
        if isinstance(subject, Version)
        else _of_files(subject, wanted, report, processes)
    )
    for piece in made:
        done += piece.size
        on_progress("read", min(done, total), total)
        yield piece


def _of_version(
    version: Version, wanted: Wanted, report: Report, processes: int
) -> Iterator[Piece]:
    report.sources.append({"source": version.label, "format": "version", "why": "published"})
    yield from in_order(
        partial(inspect_stored, wanted=wanted), version.batches(), processes=processes
    )


def _of_files(files: Files, wanted: Wanted, report: Report, processes: int) -> Iterator[Piece]:
    wanted = replace(wanted, encoding=files.encoding)
    aside = [{"source": name, "format": "", "why": f"not read: {why}"} for name, why in files.aside]
    report.sources += aside
    for path in files.paths:
        unread = _Unread(path.name, wanted)
        blocks = read_blocks(path, encoding=files.encoding, on_problem=unread.add)
        first = next(blocks, None)
        if first is None:
            yield unread.take()
            continue
        source = _source(path, first, files)
        told = {"source": path.name, "format": "", "why": "no readable row"}
        if source is not None:
            told |= {"format": source.layout.format, "why": source.layout.why}
        report.sources.append(told)
        inspect = partial(_unreadable_only, name=path.name, wanted=wanted)
        if source is not None:
            inspect = partial(inspect_block, source=source, wanted=wanted)
        for piece in in_order(inspect, _chained(first, blocks), processes=processes):
            yield piece
            if unread:
                yield unread.take()
        yield unread.take()


def _chained(first: Block, rest: Iterator[Block]) -> Iterator[Block]:
    yield first
    yield from rest


def _source(path: Path, first: Block, files: Files) -> Source | None:
    """The file as its first rows show it; None when none of them can be read."""
    rows = [row for _, row in parse_block(first, lambda _line, _error: None)[:SAMPLE_ROWS]]
    if not rows:
        return None
    layout = find_layout(rows, files.wanted, path.name)
    names = [frozenset(row) for row in rows]
    return Source(path.name, layout, frozenset().union(*names), names[0].intersection(*names))


def _unreadable_only(block: Block, name: str, wanted: Wanted) -> Piece:
    unread = _Unread(name, wanted)
    rows = parse_block(block, unread.add)
    piece = unread.take()
    piece.read += len(rows)
    piece.size = block.size
    return piece


class _Unread:
    """Lines that hold no row, as the reader of the file reports them."""

    def __init__(self, name: str, wanted: Wanted) -> None:
        self._name = name
        self._wanted = wanted
        self._piece = _empty_piece()

    def __bool__(self) -> bool:
        return bool(self._piece.read)

    def add(self, line: int, error: DataError) -> None:
        self._piece.read += line > 0 and error.code not in NOTICES  # 0 is the file as a whole
        found, rejected = self._piece.findings, self._piece.rejected
        add_unreadable(found, rejected, self._name, line, error, self._wanted)

    def take(self) -> Piece:
        """What came up since the last time."""
        piece, self._piece = self._piece, _empty_piece()
        return piece


def _empty_piece() -> Piece:
    none = np.zeros(0, np.int64)
    facts = Facts(
        lines=none,
        ids=None,
        files=none.astype(np.uint16),
        names=[],
        digests=none.astype(np.uint64),
        lengths=none.astype(np.int32),
        languages=none.astype(np.uint8),
        keys=None,
    )
    return Piece(0, 0, Findings(), facts)


# ---------------------------------------------------------------- all rows together


class Gathered:
    """Facts of all pieces, and what they show together. Keys of near duplicates go to disk."""

    def __init__(self, name: str, wanted: Wanted) -> None:
        self.report = Report(name)
        self.wanted = wanted
        self._open = ExitStack()
        self.near: NearDuplicates | None = None
        self._names: dict[str, int] = {}
        self._facts: list[Facts] = []
        self._classes: Counter[str] | None = Counter()
        self._first_of: dict[str, list[int]] = {}  # the first rows of each class

    def __enter__(self) -> Gathered:
        if self.wanted.near:
            folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="tunesmith-"))
            self.near = self._open.enter_context(NearDuplicates(Path(folder)))
        return self

    def __exit__(self, *problem: object) -> None:
        self._open.close()

    def add(self, piece: Piece) -> None:
        report, facts = self.report, piece.facts
        report.rows_read += piece.read
        report.rows_usable += len(facts.lines)
        report.bytes += piece.size
        report.findings.merge(piece.findings)
        if not len(facts.lines):
            return
        if self.near is not None and facts.keys is not None:
            self.near.add(facts.keys)
        numbers = [self._names.setdefault(name, len(self._names)) for name in facts.names]
        facts.files = np.array(numbers, np.uint16)[facts.files]
        facts.keys = None
        self._count_classes(facts)
        self._facts.append(facts)

    def _count_classes(self, facts: Facts) -> None:
        if self._classes is not None:
            self._classes.update(facts.short_answers)
            before = sum(len(each.lines) for each in self._facts)
            for answer, rows in facts.first_of.items():
                known = self._first_of.setdefault(answer, [])
                known += [before + row for row in rows[: CLASS_ROWS - len(known)]]
            if len(self._classes) > 20 * _MAX_CLASSES:  # no classification
                self._classes, self._first_of = None, {}
        facts.short_answers, facts.first_of = Counter(), {}

    def finish(self, on_progress: Progress) -> Report:
        """Find what only all rows show, and complete the report."""
        report = self.report
        lengths, languages = self.column("lengths"), self.column("languages")
        report.characters = int(lengths.sum())
        counts = np.bincount(languages, minlength=len(LANGUAGES))
        report.languages = {
            name: int(count) for name, count in zip(LANGUAGES, counts, strict=True) if count
        }
        self._duplicates(on_progress)
        self._add("length_outlier", *_long_rows(lengths))
        self._add("mixed_languages", _rare_language(languages, counts))
        self._class_balance()
        if report.rows_read < MIN_ROWS:
            report.findings.count("too_few_rows", 1)
            report.findings.set_detail("too_few_rows", rows=report.rows_read)
        if self.wanted.openai and report.rows_read < MIN_LINES:
            report.findings.count("invalid_n_examples", 1)
            report.findings.set_detail("invalid_n_examples", rows=report.rows_read)
        return report

    def add_shared(self, code: str, rows: Ints, theirs: Ints, other: Gathered) -> None:
        """A finding of these rows, each with the one that it equals in another dataset."""
        pairs = zip(rows[:PLACES_KEPT].tolist(), theirs[:PLACES_KEPT].tolist(), strict=True)
        places = {row: other.place(their) for row, their in pairs}
        self._add(code, rows, {"other": other.report.subject}, places)

    def _duplicates(self, on_progress: Progress) -> None:
        first, again = exact_duplicates(self.column("digests"))
        pairs = zip(again[:PLACES_KEPT].tolist(), first[:PLACES_KEPT].tolist(), strict=True)
        self._add("duplicate", again, same_as={row: self.place(of) for row, of in pairs})
        if self.near is None:
            return
        exact = set(again.tolist())
        groups = self.near.groups(partial(on_progress, "match"))
        near = {later: earlier for earlier, later in groups if later not in exact}
        rows = np.array(sorted(near), np.int64)
        pairs = {row: self.place(near[row]) for row in rows[:PLACES_KEPT].tolist()}
        self._add("near_duplicate", rows, same_as=pairs)

    def _class_balance(self) -> None:
        classes, rows = self._classes, self.report.rows_usable
        if not classes or not 2 <= len(classes) <= _MAX_CLASSES or classes.total() < 0.8 * rows:
            return
        common = classes.most_common()
        most = common[0][1]
        if classes.total() < 5 * len(classes) or most < _UNBALANCED * common[-1][1]:
            return
        rare = {answer: count for answer, count in common if count * _UNBALANCED <= most}
        rows = sorted(row for answer in rare for row in self._first_of.get(answer, ()))
        findings = self.report.findings
        for row in rows[:PLACES_KEPT]:
            findings.add("class_imbalance", self.place(row))
        findings.count("class_imbalance", sum(rare.values()) - len(rows[:PLACES_KEPT]))
        findings.set_detail("class_imbalance", classes=dict(common))

    def _add(
        self,
        code: str,
        rows: Ints,
        detail: dict[str, Any] | None = None,
        same_as: dict[int, Place] | None = None,
    ) -> None:
        if not len(rows):
            return
        findings = self.report.findings
        for row in rows[: findings.room(code)].tolist():
            other = same_as.get(row) if same_as else None
            text = f"= {_told(other)}" if other else ""
            findings.add(code, self.place(row, text))
            rows = rows[1:]
        findings.count(code, len(rows))
        if detail:
            findings.set_detail(code, **detail)

    def place(self, row: int, text: str = "") -> Place:
        for facts in self._facts:
            if row < len(facts.lines):
                name = list(self._names)[facts.files[row]]
                number = None if facts.ids is None else int(facts.ids[row])
                return Place(name, int(facts.lines[row]), number, excerpt=text)
            row -= len(facts.lines)
        raise IndexError(row)

    def column(self, name: str) -> npt.NDArray[Any]:
        parts = [getattr(facts, name) for facts in self._facts]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _told(place: Place) -> str:
    where = f"{place.file}: {place.line}"
    return where if place.row is None else f"row {place.row} ({where})"


def _long_rows(lengths: npt.NDArray[np.int32]) -> tuple[Ints, dict[str, Any]]:
    """Rows whose length lies far outside, by the quartiles of its logarithm (Tukey's fences)."""
    if len(lengths) < MIN_ROWS:
        return np.zeros(0, np.int64), {}
    logs = np.log(np.maximum(lengths, 1))
    low, high = np.percentile(logs, [25, 75])
    limit = float(np.exp(high + 3 * max(high - low, 0.3)))
    rows = np.flatnonzero(lengths > limit)
    if len(rows) > _FEW * len(lengths):  # a second kind of rows, such as chapters among headings
        rows = rows[:0]
    return rows, {"longer_than": round(limit), "unit": "characters"}


def _rare_language(languages: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64]) -> Ints:
    """Rows in a language that less than two of a hundred rows have."""
    rare = [
        number
        for number, name in enumerate(LANGUAGES)
        if name not in ("none", "other") and 0 < counts[number] < _RARE_LANGUAGE * len(languages)
    ]
    return np.flatnonzero(np.isin(languages, rare))


def _leakage(gathered: Gathered, against: Subject, processes: int, on_progress: Progress) -> None:
    """Rows that the other dataset holds as well, nearly, or with another answer."""
    with Gathered(against.name, gathered.wanted) as other:
        for piece in pieces_of(against, gathered.wanted, other.report, processes, on_progress):
            other.add(piece)
        seen = np.zeros(gathered.report.rows_usable, np.bool_)
        for code, mine, theirs in _shared(gathered, other):
            new = ~seen[mine]
            seen[mine] = True
            gathered.add_shared(code, mine[new], theirs[new], other)


def _shared(gathered: Gathered, other: Gathered) -> Iterator[tuple[str, Ints, Ints]]:
    """(code, rows, the row of the other dataset for each), the plainest cases first."""
    for column in ("digests", "plain"):
        theirs, mine = leaking(other.column(column), gathered.column(column))
        yield "leakage", mine, theirs
    if gathered.near is not None and other.near is not None:
        border = gathered.report.rows_usable
        gathered.near.absorb(other.near)
        partners = gathered.near.across(border)
        mine = np.flatnonzero(partners >= 0)
        yield "leakage_near", mine, partners[mine] - border
    theirs, mine = leaking(other.column("asked"), gathered.column("asked"))
    asked = gathered.column("asked")[mine] != 0
    yield "leakage_question", mine[asked], theirs[asked]
