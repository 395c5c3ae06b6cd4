"""Changes to a dataset: each makes a new version of all its rows, and says what it did."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import orjson

from tunesmith.data.check.check import Report
from tunesmith.data.check.inspect import Wanted, texts_of
from tunesmith.data.check.rows import wrong_in
from tunesmith.data.check.rules import rule_of
from tunesmith.data.conversation import Message, PreferencePair, StoredRecord, Text
from tunesmith.data.convert import Columns, ConvertBy, RowUnusable, messages_row, text_row
from tunesmith.data.expression import Condition, RowValues
from tunesmith.data.importing import read_into, told_sources
from tunesmith.data.messages import is_blank
from tunesmith.data.preferences import judged_messages_row, pair_row
from tunesmith.data.prompts import stored_prompt_row
from tunesmith.data.records import Kind, from_json, kind_of, to_json
from tunesmith.data.store import Catalog, Draft, Version
from tunesmith.data.store.rows import StoredRow, stored_rows, table_of
from tunesmith.data.subject import Files
from tunesmith.data.tokenise import Progress
from tunesmith.errors import DataError, InputError

Where = Literal["question", "answer", "system", "text", "all"]
Change = Callable[[StoredRow], StoredRow | None]  # None removes the row
_ROLES = {"question": "user", "answer": "assistant", "system": "system"}
_TEXTS = {*_ROLES, "text", "record"}
_OWN_NAMES = {
    *("id", "line", "file", "kind", "text", "question", "answer", "turns"),
    *("length", "question_length", "answer_length"),
}
# Where `to_json` puts what makes a record.
_COLUMNS = Columns(
    messages="messages",
    tools="tools",
    text="text",
    chosen="chosen",
    rejected="rejected",
    label="desirable",
)
_CONVERT: dict[Kind, ConvertBy] = {
    "conversation": messages_row,
    "text": text_row,
    "preference_pair": pair_row,
    "unpaired_preference": judged_messages_row,
    "prompt": stored_prompt_row,
}


def rewrite(
    catalog: Catalog,
    version: Version,
    change: Change,
    *,
    operation: dict[str, Any],
    on_progress: Progress,
    note: str = "",
) -> Version | None:
    """A new version with every row changed, or removed where `change` returns None.

    None where no row changed: a version that equals its parent helps nobody.
    """
    with _NextDraft(catalog, version) as (draft, publish):
        total, done, touched = version.manifest.rows, 0, 0
        for batch in version.batches():
            rows = list(stored_rows([batch]))
            changed = [change(row) for row in rows]
            touched += sum(new is not row for new, row in zip(changed, rows, strict=True))
            draft.append(table_of([row for row in changed if row is not None]))
            done += len(rows)
            on_progress("write", done, total)
        if not touched:
            return None
        if not draft.rows:
            raise DataError(
                f"Nothing would be left of the {total} rows of {version.label}.",
                hint="No new version was made.",
                code="nothing_left",
            )
        return publish(operation=operation, note=note)


def remove(
    catalog: Catalog, version: Version, ids: Sequence[int], *, on_progress: Progress
) -> Version | None:
    """Without the rows of these ids; DataError names ids that there are not."""
    wanted = _known_ids(version, ids)
    operation = {"operation": "remove", "rows": sorted(wanted)[:100], "count": len(wanted)}
    return rewrite(
        catalog,
        version,
        lambda row: None if row.id in wanted else row,
        operation=operation,
        on_progress=on_progress,
    )


def remove_where(
    catalog: Catalog, version: Version, condition: Condition, *, on_progress: Progress
) -> Version | None:
    """Without the rows that meet a condition."""
    operation = {"operation": "remove", "where": condition.source}
    beside = columns_beside(version)
    return rewrite(
        catalog,
        version,
        lambda row: None if condition(values_of(row, beside)) else row,
        operation=operation,
        on_progress=on_progress,
    )


def keep(
    catalog: Catalog, version: Version, condition: Condition, *, on_progress: Progress
) -> Version | None:
    """Only the rows that meet a condition."""
    operation = {"operation": "filter", "where": condition.source}
    beside = columns_beside(version)
    return rewrite(
        catalog,
        version,
        lambda row: row if condition(values_of(row, beside)) else None,
        operation=operation,
        on_progress=on_progress,
    )


def change_row(
    catalog: Catalog,
    version: Version,
    number: int,
    fields: dict[str, Any],
    *,
    on_progress: Progress,
) -> Version | None:
    """One row with new texts (question, answer, system, text), columns, or a whole new record."""
    _known_ids(version, [number])
    beside = columns_beside(version)

    def change(row: StoredRow) -> StoredRow:
        return changed_row(row, fields, beside) if row.id == number else row

    operation = {"operation": "change", "row": number, "fields": sorted(fields)}
    return rewrite(catalog, version, change, operation=operation, on_progress=on_progress)


def change_where(
    catalog: Catalog,
    version: Version,
    condition: Condition,
    fields: dict[str, Any],
    *,
    on_progress: Progress,
) -> Version | None:
    """The same new texts or columns in every row that meets a condition."""
    beside = columns_beside(version)

    def change(row: StoredRow) -> StoredRow:
        if not condition(values_of(row, beside)):
            return row
        new = changed_row(row, fields, beside)
        return row if new == row else new

    operation = {"operation": "change", "where": condition.source, "fields": sorted(fields)}
    return rewrite(catalog, version, change, operation=operation, on_progress=on_progress)


def replace_text(
    catalog: Catalog,
    version: Version,
    find: str,
    new: str,
    *,
    where: Where = "all",
    regex: bool = False,
    only: Condition | None = None,
    on_progress: Progress,
) -> Version | None:
    """Find and replace in the texts of all rows, or of those that meet a condition."""
    try:
        pattern = re.compile(find if regex else re.escape(find))
        replacement = new if regex else new.replace("\\", r"\\")
        pattern.sub(replacement, "")
    except (re.error, IndexError) as error:
        raise InputError(f"The pattern `{find}` cannot be used: {error}.") from error
    if not find:
        raise InputError("There is nothing to find in an empty text.")

    beside = columns_beside(version) if only is not None else []

    def change(row: StoredRow) -> StoredRow:
        if only is not None and not only(values_of(row, beside)):
            return row
        return in_texts(row, where, lambda text: pattern.sub(replacement, text))

    operation = {"operation": "replace", "find": find, "new": new, "where": where, "regex": regex}
    if only is not None:
        operation["only"] = only.source
    return rewrite(catalog, version, change, operation=operation, on_progress=on_progress)


def add_files(
    catalog: Catalog, version: Version, files: Files, *, processes: int, on_progress: Progress
) -> tuple[Version, Report]:
    """The rows there are and those of the files behind them."""
    with _NextDraft(catalog, version) as (draft, publish):
        for batch in version.batches():
            draft.append(batch)
        wanted = Wanted(near=False, rows=True)
        report = read_into(
            draft, files, wanted=wanted, processes=processes, on_progress=on_progress
        )
        operation = {
            "operation": "add",
            "files": [path.name for path in files.paths],
            "count": report.rows_usable,
        }
        sources = [*version.manifest.sources, *told_sources(files, report, catalog)]
        return publish(operation=operation, sources=sources), report


def roll_back(catalog: Catalog, version: Version) -> Version:
    """An older version once more, as the newest."""
    newest = catalog.open(version.manifest.name)
    with _NextDraft(catalog, newest) as (draft, publish):
        for batch in version.batches():
            draft.append(batch)
        operation = {"operation": "roll_back", "to": version.manifest.version}
        return publish(operation=operation, sources=version.manifest.sources)


class _NextDraft:
    """A draft behind a version, and the function that publishes it."""

    def __init__(self, catalog: Catalog, version: Version) -> None:
        self._catalog, self._version = catalog, version
        self._context = catalog.draft(
            version.manifest.name, next_id=catalog.open(version.manifest.name).manifest.next_id
        )

    def __enter__(self) -> tuple[Draft, Callable[..., Version]]:
        self._draft = self._context.__enter__()
        return self._draft, self._publish

    def __exit__(self, *problem: Any) -> None:
        self._context.__exit__(*problem)

    def _publish(
        self,
        *,
        operation: dict[str, Any],
        note: str = "",
        sources: list[dict[str, Any]] | None = None,
    ) -> Version:
        manifest = self._version.manifest
        return self._catalog.publish(
            self._draft,
            manifest.name,
            parent=manifest.version,
            note=note,
            operations=[operation],
            sources=manifest.sources if sources is None else sources,
        )


def _known_ids(version: Version, ids: Sequence[int]) -> set[int]:
    wanted = set(ids)
    unknown = np.setdiff1d(np.array(sorted(wanted), np.int64), version.column("id")).tolist()
    if unknown or not wanted:
        shown = ", ".join(map(str, unknown[:10]))
        raise DataError(
            f"{version.label} has no row {shown}." if unknown else "No row is named.",
            hint=f"`tunesmith data show {version.label}` lists rows with their ids.",
            code="unknown_row",
        )
    return wanted


# ---------------------------------------------------------------- one row


def columns_beside(version: Version) -> list[str]:
    """The columns beside the records that any row has."""
    names: dict[str, None] = {}
    for batch in version.batches(["extra"], 65536):
        for text in batch["extra"].unique().drop_null().to_pylist():
            names.update(dict.fromkeys(orjson.loads(text)))
    return list(names)


def values_of(row: StoredRow, beside: Sequence[str] = ()) -> dict[str, Any]:
    """What a condition can ask a row for; columns that only other rows have are None."""
    question, answer, other = texts_of(row.record)
    whole = f"{question}\n{answer}" if other is None else other
    record = row.record
    turns = 0 if isinstance(record, Text) else len(record.messages)
    columns = {**dict.fromkeys(beside), **row.extra}
    own = {
        "id": row.id,
        "line": row.line,
        "file": row.file,
        "kind": row.kind,
        "text": whole,
        "question": question,
        "answer": answer,
        "turns": turns,
        "length": len(whole),
        "question_length": len(question),
        "answer_length": len(answer),
    }
    return RowValues({**columns, **own}, columns)


def shadowed(condition: Condition, beside: Sequence[str]) -> list[str]:
    """Columns that a condition seems to name, while the name stands for something of every row."""
    return sorted(condition.names & set(beside) & _OWN_NAMES)


def changed_row(row: StoredRow, fields: dict[str, Any], beside: Sequence[str]) -> StoredRow:
    """The row with new texts, and new values in the columns beside its record."""
    texts = {name: value for name, value in fields.items() if name in _TEXTS}
    columns = {name: value for name, value in fields.items() if name not in _TEXTS}
    unknown = [name for name in columns if name not in beside]
    if unknown:
        known = ", ".join([*_ROLES, "text", "record", *beside])
        raise InputError(f"A row has no '{unknown[0]}'.", hint=f"Known: {known}.")
    record = changed(row.record, texts) if texts else row.record
    new = row if record == row.record else row.with_record(record)
    extra = {**row.extra, **{name: _alike(v, row.extra.get(name)) for name, v in columns.items()}}
    return new if extra == row.extra else new.with_extra(extra)


def _alike(value: Any, before: Any) -> Any:
    """A text such as 0.5 as a number where a number stood before."""
    if not isinstance(value, str) or isinstance(before, str | None):
        return value
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return read if isinstance(read, int | float | type(before)) else value


def changed(record: StoredRecord, fields: dict[str, Any]) -> StoredRecord:
    """The record with new texts: the last question or answer, the system text, the whole text.

    InputError where the new record could not be imported, or would train an empty answer.
    """
    if "record" in fields:
        return _checked(_record(fields["record"]), None)
    messages = [] if isinstance(record, Text) else list(record.messages)
    for name, text in fields.items():
        known = ("text",) if isinstance(record, Text) else tuple(_ROLES)
        if name not in known:
            raise InputError(f"A row has no '{name}'.", hint=f"Known: {', '.join(known)}, record.")
        if name != "text":
            _set_last(messages, _ROLES[name], str(text))
    if isinstance(record, Text):
        return _checked(Text(str(fields.get("text", record.text))), record)
    return _checked(replace(record, messages=tuple(messages)), record)


def _record(fields: Any) -> StoredRecord:
    try:
        return from_json(fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"This is no record: {error!r} is missing or of another kind.") from error


def _checked(new: StoredRecord, before: StoredRecord | None) -> StoredRecord:
    """The record as an import would read it; faults that it had before are no reason to refuse."""
    faults = _faults(new) - (_faults(before) if before is not None else set())
    for code in sorted(faults):
        rule = rule_of(code)
        raise InputError(f"The row cannot be changed so: {rule.en}.", hint=rule.mend_en, code=code)
    return new


def _faults(record: StoredRecord) -> set[str]:
    """What keeps a record from being imported or learned."""
    try:
        _CONVERT[kind_of(record)](to_json(record), _COLUMNS)
    except RowUnusable as reason:
        return {str(reason)}
    found = set(wrong_in(record))
    if any(m.role == "user" and is_blank(m.content) for m in getattr(record, "messages", ())):
        found.add("empty_question")
    return {code for code in found if rule_of(code).severity == "error"}


def _set_last(messages: list[Message], role: str, text: str) -> None:
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].role == role:
            messages[at] = replace(messages[at], content=text)
            if role == "system" and is_blank(text):
                del messages[at]
            return
    if role == "system":
        messages.insert(0, Message("system", text))
        return
    raise InputError(f"The row has no turn of the {role}.")


def in_texts(row: StoredRow, where: Where, change: Callable[[str], str]) -> StoredRow:
    """The row with every text of a kind changed; the same row where nothing changes."""
    record = row.record
    new: StoredRecord
    if isinstance(record, Text):
        new = Text(change(record.text)) if where in ("text", "all") else record
    else:
        new = replace(record, messages=_turns(record.messages, where, change))
        if isinstance(new, PreferencePair):
            chosen, rejected = (_turns(t, where, change) for t in (new.chosen, new.rejected))
            new = replace(new, chosen=chosen, rejected=rejected)
    return row if new == record else row.with_record(new)


def _turns(
    messages: Sequence[Message], where: Where, change: Callable[[str], str]
) -> tuple[Message, ...]:
    role = _ROLES.get(where)
    return tuple(
        replace(message, content=change(message.content))
        if where == "all" or message.role == role
        else message
        for message in messages
    )
