"""The rows that a model is asked: a prompt, the reference answer, and the columns beside them.

A row becomes a record as in training. The reference is the last answer of the record, the prompt
all that stands before it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    Prompt,
    StoredRecord,
    Text,
    ToolCall,
    UnpairedPreference,
)
from tunesmith.data.convert import RowUnusable
from tunesmith.data.formats import SAMPLE_ROWS, find_layout
from tunesmith.data.readers import read_rows
from tunesmith.data.records import to_json
from tunesmith.data.store import Version
from tunesmith.data.store.rows import stored_rows
from tunesmith.data.subject import Files, find_subject
from tunesmith.errors import DataError
from tunesmith.recipe import Dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

SPLIT_COLUMN = "split"
_SPLIT_NAMES = {
    "test": ("test", "heldout", "held_out"),
    "validation": ("validation", "valid", "val", "dev"),
    "train": ("train", "training"),
}


@dataclass(frozen=True)
class TestRow:
    """One row to ask. `messages` is empty where the row is plain text: then nothing is asked.

    The reference of a pair is its better answer; `pair` has both.
    """

    __test__ = False  # no test of pytest's

    id: str
    messages: list[dict[str, Any]]
    reference: str
    tools: list[dict[str, Any]]
    extra: dict[str, Any]
    pair: PreferencePair | None = None

    @property
    def question(self) -> str:
        """The last thing that was said before the answer."""
        return str(self.messages[-1].get("content") or "") if self.messages else ""

    @property
    def digest(self) -> str:
        """Stands for what is asked and what is expected."""
        told: list[Any] = [self.messages, self.tools, self.reference]
        if self.pair is not None:
            told.append(to_json(self.pair))
        return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


@dataclass(frozen=True)
class TestSet:
    """The rows of one dataset, and what was left out."""

    __test__ = False

    name: str
    rows: list[TestRow]
    skipped: dict[str, int]
    split: str  # which rows these are: the split, or `all`

    @property
    def digest(self) -> str:
        """Stands for all rows, in order."""
        told = "".join(row.id + row.digest for row in self.rows)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def is_plain(self) -> bool:
        return all(not row.messages for row in self.rows)


def read_test_set(
    data: str, *, split: str = "test", wanted: Dataset | None = None, max_rows: int | None = None
) -> TestSet:
    """The rows of a file, a dataset, or a run, whose test rows the training never saw.

    Args:
        split: Rows to take, where the data has splits: a run's test rows, the files or the column
            of that name. `all` takes every row.
    """
    wanted = wanted or Dataset(dataset=data)
    if (listed := Path(data).expanduser() / "data" / "test_rows.json").is_file():
        found, used = _of_run(listed), "test"
    elif (Path(data).expanduser() / "recipe.yaml").is_file():
        raise DataError(
            f"The run {data} has no test rows.",
            hint="Name a dataset with --data, or train with data.test in the recipe.",
            code="no_test_rows",
        )
    else:
        found, used = _of_data(data, wanted, split)
    rows, skipped = _test_rows(found, max_rows)
    if not rows and not skipped and used == "test":
        raise DataError(
            f"{data} has no test rows.",
            hint="Those that equal a row of the training are taken out of a test set, as they "
            "would only show what was learned by heart. Name other rows with --data.",
            code="no_test_rows",
        )
    if not rows:
        reasons = ", ".join(f"{reason} {count}" for reason, count in skipped.items())
        raise DataError(
            f"{data} has no row to ask{f': {reasons}' if reasons else ''}.",
            hint="A row needs an answer to compare with; `tunesmith data check` shows every line.",
            code="no_test_rows",
        )
    return TestSet(data, rows, dict(skipped), used)


@dataclass(frozen=True)
class _Found:
    """A row of the data: its name, its record or why it has none, its other columns."""

    id: str
    record: StoredRecord | None
    extra: Mapping[str, Any]
    reason: str = ""


def _of_data(data: str, wanted: Dataset, split: str) -> tuple[Iterator[_Found], str]:
    subject = find_subject(data, wanted, "auto")
    if isinstance(subject, Version):
        found = (_Found(f"#{r.id}", r.record, r.extra) for r in stored_rows(subject.batches()))
        return _of_split(found, split)
    chosen = _files_of_split(subject, split)
    if chosen is not None:
        return _of_files(chosen, wanted), split
    return _of_split(_of_files(subject.paths, wanted), split)


def _files_of_split(files: Files, split: str) -> list[Path] | None:
    """The files that carry the split in their name; None where the names tell no split."""
    names = _SPLIT_NAMES.get(split, (split,))
    chosen = [path for path in files.paths if path.name.lower().split(".")[0] in names]
    return chosen if chosen and len(chosen) < len(files.paths) else None


def _of_split(found: Iterator[_Found], split: str) -> tuple[Iterator[_Found], str]:
    """Rows whose column `split` says so; all rows where there is no such column."""
    first = list(islice(found, SAMPLE_ROWS))
    rows = chain(first, found)
    if split == "all" or not any(SPLIT_COLUMN in each.extra for each in first):
        return rows, "all"
    names = _SPLIT_NAMES.get(split, (split,))
    return (r for r in rows if str(r.extra.get(SPLIT_COLUMN, "")).lower() in names), split


def _of_files(paths: Sequence[Path], wanted: Dataset) -> Iterator[_Found]:
    for path in paths:
        prefix = f"{path.name}:" if len(paths) > 1 else ""
        yield from _of_file(path, wanted, prefix, None)


def _of_file(
    path: Path, wanted: Dataset, prefix: str, lines: frozenset[int] | None
) -> Iterator[_Found]:
    """The rows of one file, of all lines or of some."""
    broken: list[int] = []
    rows = read_rows(path, encoding="auto", on_problem=lambda line, _: broken.append(line))
    first = list(islice(rows, SAMPLE_ROWS))
    if not first:
        return
    layout = find_layout([row for _, row in first], wanted, path.name)
    for line, row in chain(first, rows):
        if lines is not None and line not in lines:
            continue
        name = f"{prefix}{line}"
        extra = {key: value for key, value in row.items() if key not in layout.used}
        try:
            yield _Found(name, layout.convert(row), extra)
        except RowUnusable as reason:
            yield _Found(name, None, extra, str(reason))
    for line in broken:
        if lines is None or line in lines:
            yield _Found(f"{prefix}{line}", None, {}, "unreadable")


def _of_run(listed: Path) -> Iterator[_Found]:
    """The rows that a run set apart, from the files that they stand in."""
    told = orjson.loads(listed.read_bytes())
    files = told["files"]
    for each in files:
        path = Path(each["file"])
        _check_unchanged(path, each["sha256"])
        lines = frozenset(row["line"] for row in told["rows"] if row["file"] == each["file"])
        prefix = f"{path.name}:" if len(files) > 1 else ""
        # Test rows that have a dataset of their own bring the fields of that section as well.
        wanted = {k: v for k, v in each["dataset"].items() if k in Dataset.model_fields}
        yield from _of_file(path, Dataset(**wanted), prefix, lines)


def _check_unchanged(path: Path, sha256: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"The test rows of the run lie in {path}, which cannot be read: {error.strerror}.",
            hint="Bring the file back, or name another dataset with --data.",
            code="test_rows_gone",
        ) from error
    if found != sha256:
        raise DataError(
            f"{path} has changed since the training, so its test rows are not known any more.",
            hint="Bring the file back as it was, or name another dataset with --data.",
            code="test_rows_changed",
        )


def _test_rows(found: Iterator[_Found], max_rows: int | None) -> tuple[list[TestRow], Counter[str]]:
    rows: list[TestRow] = []
    skipped: Counter[str] = Counter()
    for each in found:
        if each.record is None:
            skipped[each.reason] += 1
            continue
        if max_rows is not None and len(rows) >= max_rows:
            skipped["beyond_max_rows"] += 1
            continue
        try:
            rows.append(row_of(each.id, each.record, each.extra))
        except RowUnusable as reason:
            skipped[str(reason)] += 1
    return rows, skipped


def row_of(id: str, record: StoredRecord, extra: Mapping[str, Any]) -> TestRow:
    """The row that a record becomes; RowUnusable where there is nothing to compare with."""
    if isinstance(record, Text):
        return TestRow(id, [], record.text, [], dict(extra))
    if isinstance(record, Prompt):
        raise RowUnusable("no_answer")
    messages, tools = _conversation(record)
    last = max((n for n, m in enumerate(messages) if m.role == "assistant"), default=None)
    if last is None:
        raise RowUnusable("no_answer")
    if last == 0:
        raise RowUnusable("empty_question")
    reference = reference_of(messages[last])
    if not reference.strip():
        raise RowUnusable("empty_answer")
    asked = [for_request(message) for message in messages[:last]]
    pair = record if isinstance(record, PreferencePair) else None
    return TestRow(id, asked, reference, [dict(tool) for tool in tools], dict(extra), pair)


def _conversation(
    record: Conversation | PreferencePair | UnpairedPreference,
) -> tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...]]:
    if isinstance(record, PreferencePair):
        return (*record.messages, *record.chosen), record.tools
    if isinstance(record, UnpairedPreference) and not record.desirable:
        raise RowUnusable("undesirable_answer")
    return record.messages, record.tools


def reference_of(message: Message) -> str:
    """The text of an answer; its calls as JSON where it calls tools and says nothing."""
    if message.content.strip() or not message.tool_calls:
        return message.content
    return calls_text([(call.name, call.arguments) for call in message.tool_calls])


def calls_text(calls: Sequence[tuple[str, Any]]) -> str:
    """Tool calls as one JSON text, the same for the same calls."""
    told = [{"name": name, "arguments": _parsed(arguments)} for name, arguments in calls]
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()


def _parsed(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments


def for_request(message: Message) -> dict[str, Any]:
    """A turn as the chat endpoints of OpenAI take it."""
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            _call(call, number) for number, call in enumerate(message.tool_calls)
        ]
    for name in ("name", "tool_call_id"):
        if value := getattr(message, name):
            fields[name] = value
    if message.role == "tool" and "tool_call_id" not in fields:
        fields["tool_call_id"] = "call_0"
    return fields


def _call(call: ToolCall, number: int) -> dict[str, Any]:
    arguments = call.arguments
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    name = {"name": call.name, "arguments": text}
    return {"id": call.id or f"call_{number}", "type": "function", "function": name}
