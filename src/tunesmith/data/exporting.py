"""Any version as a file that other programs read.

    jsonl      the rows as the store keeps them: record, other columns, where they come from
    openai     {"messages": [...], "tools": [...]}; preference pairs and texts in OpenAI's forms
    sharegpt   {"conversations": [{"from", "value"}], "system", "tools"}
    alpaca     {"instruction", "input", "output", "history", "system"}
    csv, xlsx  question, answer, system, history (JSON) or text, and the other columns
    parquet    as csv, typed

Cells that a spreadsheet would take for a formula begin with an apostrophe in csv and xlsx
(OWASP, CSV injection); the other formats hold the texts unchanged.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from tunesmith.data.check.inspect import Wanted
from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    StoredRecord,
    Text,
    UnpairedPreference,
)
from tunesmith.data.importing import import_files
from tunesmith.data.pool import num_processes
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow, stored_rows
from tunesmith.data.subject import Subject
from tunesmith.data.tokenise import Progress
from tunesmith.errors import DataError, InputError

ExportFormat = Literal["jsonl", "csv", "xlsx", "parquet", "alpaca", "sharegpt", "openai"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
SUFFIXES = {"alpaca": ".json", "sharegpt": ".json", "openai": ".jsonl"}
XLSX_ROWS = 1_048_575  # a sheet has one row more, for the names
_XLSX_CELL = 32_767  # characters
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_BATCH = 4096
Write = Callable[[Version, Iterable[StoredRow], Path], None]


def export(version: Version, format: ExportFormat, path: Path, *, on_progress: Progress) -> int:
    """Write a version to a new file, which appears when it is complete; the number of rows."""
    _make_room(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _WRITERS[format](version, _counted(version, on_progress), draft)
        draft.rename(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    return version.manifest.rows


def export_subject(
    subject: Subject, format: ExportFormat, path: Path, *, on_progress: Progress
) -> tuple[int, int]:
    """The same for files too, by way of a version for the moment; (rows, rows left out)."""
    if isinstance(subject, Version):
        return export(subject, format, path, on_progress=on_progress), 0
    _make_room(path)
    with tempfile.TemporaryDirectory(prefix=".tunesmith-", dir=path.parent) as folder:
        done = import_files(
            Catalog(Path(folder)),
            "rows",
            subject,
            wanted=Wanted(near=False),
            processes=num_processes(),
            on_progress=on_progress,
        )
        rows = export(done.version, format, path, on_progress=on_progress)
        return rows, done.version.manifest.rejected


def _make_room(path: Path) -> None:
    if path.exists():
        raise InputError(
            f"{path} exists already.", hint="Name another file with --out; nothing was written."
        )
    path.parent.mkdir(parents=True, exist_ok=True)


def _counted(version: Version, on_progress: Progress) -> Iterator[StoredRow]:
    total = version.manifest.rows
    for number, row in enumerate(stored_rows(version.batches()), start=1):
        yield row
        if number % _BATCH == 0 or number == total:
            on_progress("write", number, total)


# ---------------------------------------------------------------- JSON


def _json_lines(convert: Callable[[StoredRow], Any]) -> Write:
    def write(_: Version, rows: Iterable[StoredRow], path: Path) -> None:
        with path.open("wb") as file:
            file.writelines(orjson.dumps(convert(row)) + b"\n" for row in rows)

    return write


def _json_array(convert: Callable[[StoredRow], Any]) -> Write:
    def write(_: Version, rows: Iterable[StoredRow], path: Path) -> None:
        with path.open("wb") as file:
            before = b"[\n"
            for row in rows:
                file.write(before + orjson.dumps(convert(row)))
                before = b",\n"
            file.write(b"\n]\n")

    return write


def as_openai(row: StoredRow) -> dict[str, Any]:
    """The row as a line of OpenAI's fine-tuning files."""
    record = row.record
    match record:
        case Text():
            return {"prompt": "", "completion": record.text}
        case PreferencePair():
            given: dict[str, Any] = {"messages": _openai_messages(record.messages)}
            if record.tools:
                given["tools"] = list(record.tools)
            return {
                "input": given,
                "preferred_output": _openai_messages(record.chosen),
                "non_preferred_output": _openai_messages(record.rejected),
            }
        case Conversation() | UnpairedPreference():
            line: dict[str, Any] = {"messages": _openai_messages(record.messages)}
            if record.tools:
                line["tools"] = list(record.tools)
            if isinstance(record, UnpairedPreference):
                line["label"] = record.desirable
            return line


def _openai_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [_openai_message(message) for message in messages]


def _openai_message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        told["reasoning_content"] = message.reasoning
    for name in ("name", "weight", "tool_call_id"):
        value = getattr(message, name)
        if value is not None:
            told[name] = value
    if message.tool_calls:
        told["tool_calls"] = [
            {
                **({"id": call.id} if call.id else {}),
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return told


def _arguments(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()


_FROM = {"user": "human", "assistant": "gpt", "tool": "observation", "system": "system"}


def as_sharegpt(row: StoredRow) -> dict[str, Any]:
    """The row with turns of `from` and `value`, the system text beside them."""
    record = _turns_only(row, "sharegpt")
    system = [m.content for m in record.messages[:1] if m.role == "system"]
    told: dict[str, Any] = {
        "conversations": [
            turn for m in record.messages[len(system) :] for turn in _sharegpt_turns(m)
        ]
    }
    if system:
        told["system"] = system[0]
    if record.tools:
        told["tools"] = orjson.dumps(list(record.tools)).decode()
    if isinstance(record, PreferencePair):
        told["chosen"], told["rejected"] = (
            {"from": "gpt", "value": "\n".join(m.content for m in answer)}
            for answer in (record.chosen, record.rejected)
        )
    if isinstance(record, UnpairedPreference):
        told["label"] = record.desirable
    return told


def _sharegpt_turns(message: Message) -> Iterator[dict[str, str]]:
    if message.content or not message.tool_calls:
        yield {"from": _FROM[message.role], "value": message.content}
    if message.tool_calls:
        calls = [{"name": c.name, "arguments": c.arguments} for c in message.tool_calls]
        value = calls[0] if len(calls) == 1 else calls
        yield {"from": "function_call", "value": orjson.dumps(value).decode()}


def as_alpaca(row: StoredRow) -> dict[str, Any]:
    """The row as instruction and output, earlier turns as pairs."""
    record = _turns_only(row, "alpaca")
    system, history, question, answer = _pairs(record)
    told: dict[str, Any] = {"instruction": question, "input": "", "output": answer}
    if history:
        told["history"] = history
    if system:
        told["system"] = system
    if isinstance(record, PreferencePair):
        del told["output"]
        told["chosen"], told["rejected"] = (
            "\n".join(m.content for m in a) for a in (record.chosen, record.rejected)
        )
    if isinstance(record, UnpairedPreference):
        told["kto_tag"] = record.desirable
    return told


def _turns_only(row: StoredRow, format: str) -> Conversation | PreferencePair | UnpairedPreference:
    if isinstance(row.record, Text):
        raise DataError(
            f"Row {row.id} is plain text; {format} holds questions and answers only.",
            hint="Export with --format jsonl, csv or parquet.",
            code="format_cannot_hold",
        )
    return row.record


def _pairs(
    record: Conversation | PreferencePair | UnpairedPreference,
) -> tuple[str, list[list[str]], str, str]:
    """(system, earlier [question, answer] pairs, last question, last answer)."""
    system = "\n".join(m.content for m in record.messages if m.role == "system")
    pairs: list[list[str]] = []
    for message in record.messages:
        if message.role == "user":
            pairs.append([message.content, ""])
        elif message.role != "system":
            if not pairs:
                pairs.append(["", ""])
            pairs[-1][1] = "\n".join(filter(None, [pairs[-1][1], _told(message)]))
    *history, last = pairs or [["", ""]]
    return system, history, last[0], last[1]


def _told(message: Message) -> str:
    """A turn as text; calls of tools as JSON."""
    calls = [{"name": c.name, "arguments": c.arguments} for c in message.tool_calls]
    return "\n".join(filter(None, [message.content, *(orjson.dumps(c).decode() for c in calls)]))


# ---------------------------------------------------------------- tables


def as_cells(row: StoredRow) -> dict[str, str]:
    """The row as named cells of text."""
    record: StoredRecord = row.record
    extra = {name: _cell(value) for name, value in row.extra.items()}
    if isinstance(record, Text):
        return {"text": record.text, **extra}
    system, history, question, answer = _pairs(record)
    cells = {"question": question, "answer": answer, "system": system}
    cells["history"] = orjson.dumps(history).decode() if history else ""
    if isinstance(record, PreferencePair):
        del cells["answer"]
        cells["chosen"], cells["rejected"] = (
            "\n".join(m.content for m in a) for a in (record.chosen, record.rejected)
        )
    if isinstance(record, UnpairedPreference):
        cells["kto_tag"] = str(record.desirable).lower()
    if record.tools:
        cells["tools"] = orjson.dumps(list(record.tools)).decode()
    return {**extra, **cells}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def harmless(cell: str) -> str:
    """The cell with an apostrophe before what a spreadsheet would calculate."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _names(rows: Iterable[dict[str, str]]) -> list[str]:
    """Columns that hold something in any row, the usual ones first."""
    usual = ("question", "answer", "text", "chosen", "rejected", "kto_tag", "system", "history")
    filled: dict[str, None] = {}
    for row in rows:
        filled.update(dict.fromkeys(name for name, cell in row.items() if cell))
    return [n for n in usual if n in filled] + [n for n in filled if n not in usual]


def _columns(version: Version) -> list[str]:
    """The columns of a version, from a first pass over its rows."""
    return _names(as_cells(row) for row in stored_rows(version.batches()))


def _write_csv(version: Version, rows: Iterable[StoredRow], path: Path) -> None:
    names = _columns(version)
    # The mark at the beginning tells Excel that the file is UTF-8.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([harmless(name) for name in names])
        for row in rows:
            cells = as_cells(row)
            writer.writerow([harmless(cells.get(name, "")) for name in names])


def _write_xlsx(version: Version, rows: Iterable[StoredRow], path: Path) -> None:
    from openpyxl import Workbook
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    if version.manifest.rows > XLSX_ROWS:
        raise DataError(
            f"{version.label} has {version.manifest.rows} rows; a sheet holds {XLSX_ROWS}.",
            hint="Export with --format csv or parquet.",
            code="format_cannot_hold",
        )
    names = _columns(version)
    book = Workbook(write_only=True)
    sheet = book.create_sheet(version.manifest.name[:31])
    sheet.append([harmless(name) for name in names])
    for row in rows:
        cells = as_cells(row)
        longest = max(names, key=lambda name: len(cells.get(name, "")))
        if len(cells.get(longest, "")) >= _XLSX_CELL:
            raise DataError(
                f"Row {row.id}: '{longest}' has {len(cells[longest])} characters; a cell of a "
                f"sheet holds {_XLSX_CELL}.",
                hint="Export with --format csv or parquet.",
                code="format_cannot_hold",
            )
        texts = (ILLEGAL_CHARACTERS_RE.sub("", cells.get(name, "")) for name in names)
        sheet.append([harmless(text) for text in texts])
    book.save(path)


def _write_parquet(version: Version, rows: Iterable[StoredRow], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = _columns(version)
    schema = pa.schema([(name, pa.large_string()) for name in names])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        batch: list[dict[str, str]] = []
        for row in rows:
            cells = as_cells(row)
            batch.append({name: cells.get(name, "") for name in names})
            if len(batch) == _BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))


_WRITERS: dict[ExportFormat, Write] = {
    "jsonl": _json_lines(StoredRow.to_json),
    "openai": _json_lines(as_openai),
    "sharegpt": _json_array(as_sharegpt),
    "alpaca": _json_array(as_alpaca),
    "csv": _write_csv,
    "xlsx": _write_xlsx,
    "parquet": _write_parquet,
}
