"""One piece of a dataset: rows to records, what is wrong with each, and facts about all of them.

Runs in a process of its own, so everything that goes in or out can be pickled. What needs other
rows (duplicates, lengths, classes) is decided in check.py from the facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from tunesmith.data.check.buffers import Strings, pc, rows_of
from tunesmith.data.check.duplicates import band_keys
from tunesmith.data.check.findings import Findings, Place
from tunesmith.data.check.languages import language_of, script_counts
from tunesmith.data.check.openai_rules import Purpose, wrong_for_openai
from tunesmith.data.check.rows import wrong_in
from tunesmith.data.check.texts import Texts, excerpt, find_in_texts, stands_in
from tunesmith.data.conversation import Message, PreferencePair, StoredRecord, Text
from tunesmith.data.convert import RowUnusable
from tunesmith.data.encodings import SAMPLE, guess_encoding
from tunesmith.data.formats import Layout
from tunesmith.data.readers import NOTICES, Block, Row, parse_block
from tunesmith.data.readers.sources import file_type
from tunesmith.data.records import from_json, kind_of, to_json
from tunesmith.data.store.version import Rows, digest_of
from tunesmith.errors import DataError

CLASS_ROWS = 10  # places kept of each class
SHORT_ANSWER = 40  # characters; answers of a classification are not longer
_KEPT_OF_REJECTED = 2000  # characters of a row that could not be used


@dataclass(frozen=True)
class Wanted:
    """What to find out about each row."""

    near: bool = True  # MinHash keys
    rows: bool = False  # the rows in the form of the store
    openai: Purpose | None = None  # OpenAI's own rules as well
    leakage: bool = False  # what rows of another dataset are compared with
    encoding: str | None = None  # that the files are read with


@dataclass(frozen=True)
class Source:
    """A file as its first rows show it."""

    name: str
    layout: Layout
    columns: frozenset[str]  # of the first rows
    always: frozenset[str]  # in every one of them


@dataclass
class Facts:
    """Columns of small facts, one entry a usable row."""

    lines: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64] | None  # of stored rows
    files: npt.NDArray[np.uint16]  # positions in `names`
    names: list[str]
    digests: npt.NDArray[np.uint64]
    lengths: npt.NDArray[np.int32]  # characters of the whole row
    languages: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint64] | None
    plain: npt.NDArray[np.uint64] | None = None  # digests without case, spaces and marks
    asked: npt.NDArray[np.uint64] | None = None  # those of the questions; 0 where there is none
    short_answers: Counter[str] = field(default_factory=Counter[str])
    first_of: dict[str, list[int]] = field(default_factory=dict[str, list[int]])  # rows of each


@dataclass
class Piece:
    """What came out of one piece."""

    read: int  # rows and unreadable lines
    size: int  # bytes of the source
    findings: Findings
    facts: Facts
    rows: Rows | None = None  # without ids
    rejected: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@dataclass
class _Records:
    """Usable rows of a piece, column by column."""

    files: list[str] = field(default_factory=list[str])
    lines: list[int] = field(default_factory=list[int])
    ids: list[int] | None = None
    records: list[StoredRecord] = field(default_factory=list[StoredRecord])
    json: list[bytes] = field(default_factory=list[bytes])
    extras: list[bytes | None] = field(default_factory=list[bytes | None])

    def add(self, file: str, line: int, layout: Layout, row: Row) -> None:
        """Convert a row and take it in; RowUnusable leaves everything as it was."""
        record = layout.convert(row)
        try:
            json = orjson.dumps(to_json(record))
            extra = _extra(row, layout.used)
        except orjson.JSONEncodeError as error:
            raise RowUnusable("nested_too_deep") from error
        self.files.append(file)
        self.lines.append(line)
        self.records.append(record)
        self.json.append(json)
        self.extras.append(extra)

    def place(self, at: int, where: str = "", text: str = "") -> Place:
        row = None if self.ids is None else self.ids[at]
        return Place(self.files[at], self.lines[at], row, where, text)


def inspect_block(block: Block, source: Source, wanted: Wanted) -> Piece:
    """Rows of a file."""
    findings = Findings()
    rejected: list[dict[str, Any]] = []
    unreadable: list[tuple[int, DataError]] = []
    rows = parse_block(block, lambda line, error: unreadable.append((line, error)))
    for line, error in _with_guesses(block, unreadable):
        add_unreadable(findings, rejected, source.name, line, error, wanted)
    found = _Records()
    for line, row in rows:
        _look_at_columns(findings, source, line, row)
        if wanted.openai:
            for code, where in wrong_for_openai(row, wanted.openai):
                findings.add(code, Place(source.name, line, None, where))
        try:
            found.add(source.name, line, source.layout, row)
        except RowUnusable as reason:
            text = _written(row)
            findings.add(str(reason), Place(source.name, line, excerpt=_short(text)))
            rejected.append(_rejected(source.name, line, str(reason), text[:_KEPT_OF_REJECTED]))
    rejected.sort(key=lambda entry: entry["line"])
    digests = np.array([digest_of(json) for json in found.json], np.uint64)
    facts = _look_at(found, digests, findings, wanted)
    table = _table(found, digests) if wanted.rows else None
    lost = sum(error.code not in NOTICES for _, error in unreadable)
    return Piece(len(rows) + lost, block.size, findings, facts, table, rejected)


def inspect_stored(rows: Rows, wanted: Wanted) -> Piece:
    """Rows of a published version."""
    findings = Findings()
    found = _Records(
        files=rows["file"].to_pylist(),
        lines=rows["line"].to_pylist(),
        ids=rows["id"].to_pylist(),
    )
    found.json = [text.encode() for text in rows["record"].to_pylist()]
    found.records = [from_json(orjson.loads(text)) for text in found.json]
    digests = rows["digest"].to_numpy()
    size = sum(map(len, found.json))
    return Piece(len(rows), size, findings, _look_at(found, digests, findings, wanted))


def add_unreadable(
    findings: Findings,
    rejected: list[dict[str, Any]],
    file: str,
    line: int,
    error: DataError,
    wanted: Wanted,
) -> None:
    """Count a line that holds no row, or what should be known about one that does."""
    code = _code_of(error, line, file, wanted)
    message = _told(error)
    findings.add(code, Place(file, line, excerpt=message))
    if code not in NOTICES:
        rejected.append(_rejected(file, line, code, message))


def _code_of(error: DataError, line: int, file: str, wanted: Wanted) -> str:
    """The rule of what a reader tells; of single lines it names only the usual faults."""
    if error.code == "not_utf8" and wanted.encoding == "auto":
        return "mixed_encodings"
    if error.code != DataError.code or not line:
        return error.code
    if file_type(Path(file)) in (".csv", ".tsv"):
        return "invalid_csv"
    return "data_type" if wanted.openai else "no_object"


def _told(error: DataError) -> str:
    """The message without its place; of undecodable bytes the place in the line stays."""
    if "byte" not in error.details:
        return error.message.partition(": ")[2] or error.message
    guess = error.details.get("encoding")
    like = f"; it looks like {guess}" if guess else ""
    return f"invalid {'UTF-8' if guess else 'text'} at byte {error.details['byte']}{like}"


def _with_guesses(
    block: Block, unreadable: list[tuple[int, DataError]]
) -> Iterator[tuple[int, DataError]]:
    """The problems; lines that are not UTF-8 each with a guess of their own at the encoding."""
    lines: list[bytes] = []
    for line, error in unreadable:
        if error.code == "not_utf8" and isinstance(block.payload, bytes):
            lines = lines or block.payload.split(b"\n")
            sample = lines[line - block.first_line][:SAMPLE]
            error.details["encoding"] = guess_encoding(sample)
        yield line, error


def _rejected(file: str, line: int, reason: str, text: str) -> dict[str, Any]:
    return {"file": file, "line": line, "reason": reason, "text": text}


def _look_at_columns(findings: Findings, source: Source, line: int, row: Row) -> None:
    names = row.keys()
    if names == source.columns:
        return
    for code, odd in (
        ("missing_field", source.always - names),
        ("unknown_field", names - source.columns),
    ):
        if odd:
            findings.add(code, Place(source.name, line, field=", ".join(sorted(odd)[:5])))


def _written(row: Row) -> str:
    """A row for the report; what JSON cannot write is shown as Python would."""
    try:
        return orjson.dumps(row, default=str).decode("utf-8", "replace")
    except orjson.JSONEncodeError:
        return ascii(row)


def _extra(row: Row, used: frozenset[str]) -> bytes | None:
    """The columns that are no part of the record."""
    if row.keys() <= used:
        return None
    rest = {name: value for name, value in row.items() if name not in used}
    return orjson.dumps(rest, default=str)


def _table(found: _Records, digests: npt.NDArray[np.uint64]) -> Rows:
    return pa.table(
        {
            "file": pa.array(found.files, pa.string()),
            "line": pa.array(found.lines, pa.int64()),
            "kind": pa.array([kind_of(record) for record in found.records], pa.string()),
            "record": _json_column(found.json),
            "extra": pa.array(found.extras, pa.large_binary()).cast(pa.large_string()),
            "digest": pa.array(digests, pa.uint64()),
        }
    )


def _json_column(texts: Sequence[bytes]) -> Any:
    """A column of texts that are UTF-8 for certain, without another look at each."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    content = pa.py_buffer(b"".join(texts))
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(offsets), content)


# ---------------------------------------------------------------- texts of a row


def texts_of(record: StoredRecord) -> tuple[str, str, str | None]:
    """(questions, answers, the whole), the turns of each one below the other.

    The whole is None where it is just the question above the answer.
    """
    if isinstance(record, Text):
        return "", "", record.text
    turns: Sequence[Message] = record.messages
    if isinstance(record, PreferencePair):
        turns = (*turns, *record.chosen, *record.rejected)
    if len(turns) == 2 and turns[0].role == "user" and turns[1].role == "assistant":
        return turns[0].content, turns[1].content, None
    questions = "\n".join([m.content for m in turns if m.role == "user"])
    answers = "\n".join([m.content for m in turns if m.role == "assistant"])
    return questions, answers, "\n".join([m.content for m in turns])


def _look_at(
    found: _Records, digests: npt.NDArray[np.uint64], findings: Findings, wanted: Wanted
) -> Facts:
    """Check records and texts; the facts that the whole dataset is judged by."""
    for at, record in enumerate(found.records):
        for code, where in wrong_in(record).items():
            findings.add(code, found.place(at, where))
    parts = [texts_of(record) for record in found.records]
    texts = _columns_of(parts)
    counts = script_counts(*rows_of(texts.whole))
    for code, mask in find_in_texts(texts, counts).items():
        hits = np.flatnonzero(mask)
        kept = hits[: findings.room(code)]
        for at in kept:
            findings.add(code, found.place(int(at), *_where(code, *parts[at])))
        findings.count(code, len(hits) - len(kept))
    names = list(dict.fromkeys(found.files))
    number = {name: position for position, name in enumerate(names)}
    return Facts(
        lines=np.array(found.lines, np.int64),
        ids=None if found.ids is None else np.array(found.ids, np.int64),
        files=np.array([number[name] for name in found.files], np.uint16),
        names=names,
        digests=digests,
        lengths=pc.utf8_length(texts.whole).to_numpy().astype(np.int32),
        languages=language_of(texts.whole, counts),
        keys=band_keys(texts.whole) if wanted.near else None,
        plain=_plain_digests(texts.whole) if wanted.leakage else None,
        asked=_plain_digests(texts.questions) if wanted.leakage else None,
        short_answers=Counter(a for _, a, _ in parts if 0 < len(a) <= SHORT_ANSWER),
        first_of=_first_rows(parts),
    )


def _first_rows(parts: Sequence[tuple[str, str, str | None]]) -> dict[str, list[int]]:
    """The first rows of each short answer."""
    first: dict[str, list[int]] = {}
    for row, (_, answer, _) in enumerate(parts):
        if 0 < len(answer) <= SHORT_ANSWER:
            rows = first.setdefault(answer, [])
            if len(rows) < CLASS_ROWS:
                rows.append(row)
    return first


def _plain_digests(texts: Strings) -> npt.NDArray[np.uint64]:
    """Digests of texts without what does not matter to their meaning; 0 for an empty one."""
    plain = pc.replace_substring_regex(pc.utf8_lower(texts), r"[\s\p{P}]+", "")
    return np.array([digest_of(t.encode()) if t else 0 for t in plain.to_pylist()], np.uint64)


def _columns_of(parts: Sequence[tuple[str, str, str | None]]) -> Texts:
    """The texts of all rows as columns; most rows are a question and an answer, joined here."""
    question = pa.array([each[0] for each in parts], pa.large_string())
    answer = pa.array([each[1] for each in parts], pa.large_string())
    whole = pc.binary_join_element_wise(question, answer, pa.scalar("\n", pa.large_string()))
    others = [each[2] for each in parts]
    if any(other is not None for other in others):
        whole = pc.coalesce(pa.array(others, pa.large_string()), whole)
    return Texts(question, answer, whole)


def _where(code: str, question: str, answer: str, other: str | None) -> tuple[str, str]:
    """(field, excerpt) of what was found in a row's texts."""
    whole = f"{question}\n{answer}" if other is None else other
    for name, text in (("answer", answer), ("question", question)):
        if stands_in(code, text):
            return name, excerpt(code, text)
    of_the_row = stands_in(code, whole) or not answer
    return ("text", excerpt(code, whole)) if of_the_row else ("answer", excerpt(code, answer))


def _short(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
