"""Changes of a dataset: rows come in, are edited, mended, scored. Each publishes a version."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import orjson

from tunesmith.data import editing, fixing
from tunesmith.data.check.check import Report
from tunesmith.data.check.inspect import Wanted
from tunesmith.data.editing import rewrite
from tunesmith.data.expression import Condition
from tunesmith.data.importing import import_files as read_files
from tunesmith.data.pool import num_processes
from tunesmith.data.store import Catalog, Reference, Version
from tunesmith.data.store.rows import StoredRow
from tunesmith.data.subject import Files, files_subject
from tunesmith.errors import DataError, InputError
from tunesmith.server.services.datasets import hub, quality, sources
from tunesmith.server.services.datasets.asked import Import
from tunesmith.server.services.datasets.publishing import (
    Bench,
    Make,
    Published,
    publish,
    rehearse,
)
from tunesmith.server.services.datasets.quality import Facts, Operation
from tunesmith.server.services.datasets.reports import CHECK, keep_report
from tunesmith.server.tables import Dataset

# What every row has, whose values come from elsewhere.
_UNCHANGEABLE: Final = frozenset(
    {"id", "line", "file", "kind", "turns", "length", "question_length", "answer_length"}
)


def import_files(bench: Bench, dataset: Dataset, order: Import) -> tuple[Published, Report | None]:
    """The usable rows of files as the next version; what could not be used is kept beside it."""
    reports: list[Report] = []
    opened = hub.opened(bench, order) if order.hub else _sent(bench, order)
    with opened as files:

        def make(catalog: Catalog, newest: Version | None) -> Version | None:
            if order.append and newest is not None:
                version, report = editing.add_files(
                    catalog,
                    newest,
                    files,
                    processes=num_processes(),
                    on_progress=bench.progress,
                )
            else:
                done = read_files(
                    catalog,
                    dataset.folder,
                    files,
                    wanted=Wanted(near=order.near),
                    processes=num_processes(),
                    on_progress=bench.progress,
                    note=order.note,
                )
                version, report = done.version, done.report
            reports.append(report)
            return version

        published = publish(bench, dataset, make)
    report = reports[0] if reports else None
    if report is not None and published.version is not None and not order.append:
        report.subject = f"{dataset.name}@{published.version.number}"
        keep_report(bench.place, dataset, published.version.number, CHECK, report)
    return published, report


def _sent(bench: Bench, order: Import) -> AbstractContextManager[Files]:
    """Files that users have sent."""
    return sources.opened(
        bench.database,
        bench.place,
        bench.caller,
        order.file_ids,
        order.mapping,
        order.encoding,
        members=order.members,
        on_progress=bench.progress,
    )


def edit(
    bench: Bench, dataset: Dataset, operation: Operation, base: int | None
) -> tuple[Published, Facts]:
    """One operation on all rows of the newest version."""
    facts = Facts({})
    published = publish(bench, dataset, _maker(bench, dataset, operation, facts), base=base)
    _name_versions(dataset, facts, published.version.number if published.version else None)
    return published, facts


def mend_rows(
    bench: Bench, dataset: Dataset, changed: Mapping[int, Mapping[str, Any]], removed: Set[int]
) -> Published:
    """One version with some rows changed and others removed, by their ids."""

    def make(catalog: Catalog, newest: Version | None) -> Version | None:
        if newest is None:
            raise _no_rows(dataset)
        beside = editing.columns_beside(newest)

        def change(row: StoredRow) -> StoredRow | None:
            if row.id in removed:
                return None
            if row.id not in changed:
                return row
            new = editing.changed_row(row, dict(changed[row.id]), beside)
            return row if new == row else new

        _refuse_unknown_rows(newest, {*changed, *removed})
        rows = sorted({*changed, *removed})
        told = {"operation": "mend", "rows": rows[:100], "count": len(rows)}
        return rewrite(catalog, newest, change, operation=told, on_progress=bench.progress)

    return publish(bench, dataset, make)


def preview(
    bench: Bench, dataset: Dataset, operation: Operation, base: int | None
) -> tuple[dict[str, Any] | None, Facts]:
    """What the operation would change, as a diff; None where it changes nothing."""
    facts = Facts({})
    told = rehearse(bench, dataset, _maker(bench, dataset, operation, facts), base=base)
    _name_versions(dataset, facts, None)
    return told, facts


def _name_versions(dataset: Dataset, facts: Facts, made: int | None) -> None:
    """Details name versions as users do: the folder of a dataset is no name of theirs."""
    if facts.details is None:
        return
    _, at, number = str(facts.details.get("subject", "")).rpartition("@")
    facts.details["subject"] = f"{dataset.name}{at}{number}"
    facts.details["version"] = None if made is None else f"{dataset.name}@{made}"


def _maker(bench: Bench, dataset: Dataset, operation: Operation, facts: Facts) -> Make:
    def make(catalog: Catalog, newest: Version | None) -> Version | None:
        if newest is None:
            raise _no_rows(dataset)
        return _OPERATIONS[operation["operation"]](bench, catalog, newest, operation, facts)

    return make


def _no_rows(dataset: Dataset) -> DataError:
    return DataError(
        f"Dataset {dataset.name} has no rows yet.",
        hint="Import files first.",
        code="no_rows_yet",
        name=dataset.name,
    )


# ---------------------------------------------------------------- operations


def _change(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    """Rows that say something else: each its own by its id, or all that meet a condition."""
    if operation.get("where"):
        condition, fields = Condition(operation["where"]), operation["fields"]
        return editing.change_where(catalog, version, condition, fields, on_progress=bench.progress)
    wanted: dict[int, dict[str, Any]] = {
        each["row"]: each["fields"] for each in operation["changes"]
    }
    beside = editing.columns_beside(version)
    if operation.get("new_columns"):
        beside = [*beside, *(name for fields in wanted.values() for name in fields)]

    def change(row: StoredRow) -> StoredRow:
        if row.id not in wanted:
            return row
        new = editing.changed_row(row, wanted[row.id], beside)
        return row if new == row else new

    _refuse_unknown_rows(version, wanted)
    told = {"operation": "change", "rows": sorted(wanted)[:100], "count": len(wanted)}
    facts.counts["changed"] = len(wanted)
    return rewrite(catalog, version, change, operation=told, on_progress=bench.progress)


def _remove(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    if operation.get("where"):
        condition = Condition(operation["where"])
        new = editing.remove_where(catalog, version, condition, on_progress=bench.progress)
    else:
        new = editing.remove(catalog, version, operation["rows"], on_progress=bench.progress)
    return _counted_removed(version, new, facts)


def _keep(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    new = editing.keep(catalog, version, Condition(operation["where"]), on_progress=bench.progress)
    return _counted_removed(version, new, facts)


def _counted_removed(version: Version, new: Version | None, facts: Facts) -> Version | None:
    facts.counts["removed"] = version.manifest.rows - new.manifest.rows if new else 0
    return new


def _replace(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    _ = facts
    return editing.replace_text(
        catalog,
        version,
        operation["find"],
        operation["new"],
        where=operation["where"],
        regex=operation["regex"],
        only=Condition(operation["only"]) if operation.get("only") else None,
        on_progress=bench.progress,
    )


def _fix(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    done = fixing.fix(
        catalog, version, operation["only"] or fixing.FIXES, on_progress=bench.progress
    )
    facts.counts |= done.counts
    return done.version


def _add(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    """Rows as they would stand in a file of lines."""
    with tempfile.TemporaryDirectory(prefix="adding-") as folder:
        path = Path(folder) / "added.jsonl"
        with path.open("wb") as file:
            file.writelines(orjson.dumps(row) + b"\n" for row in operation["rows"])
        files = files_subject([path], sources.reading(path.name, {}), None)
        new, report = editing.add_files(
            catalog, version, files, processes=1, on_progress=bench.progress
        )
    facts.counts |= {"added": report.rows_usable, "refused": report.rows_read - report.rows_usable}
    return new


def _roll_back(
    bench: Bench, catalog: Catalog, version: Version, operation: Operation, facts: Facts
) -> Version | None:
    _ = bench, facts
    older = catalog.open(Reference(version.manifest.name, operation["version"]))
    return editing.roll_back(catalog, older)


_OPERATIONS: Final[
    dict[str, Callable[[Bench, Catalog, Version, Operation, Facts], Version | None]]
] = {
    "change": _change,
    "remove": _remove,
    "keep": _keep,
    "replace": _replace,
    "fix": _fix,
    "add": _add,
    "roll_back": _roll_back,
    "score": quality.score,
    "diversity": quality.diversity,
    "augment": quality.augment,
}
OPERATIONS: Final = tuple(_OPERATIONS)


def refuse_odd(operation: Operation) -> None:
    """What can be told of an operation before any row is read."""
    condition = condition_of(operation)
    if condition:
        Condition(condition)
    if operation["operation"] == "augment":
        quality.templates_of(operation)
    for each in operation.get("changes") or ():
        odd = sorted(set(each["fields"]) & _UNCHANGEABLE)
        if odd:
            raise InputError(
                f"'{odd[0]}' of a row cannot be changed.",
                hint="question, answer, system, text, record, and the columns beside can.",
                code="unknown_field",
                field=odd[0],
                param="operation.changes",
            )


def condition_of(operation: Operation) -> str:
    """The condition on rows that an operation has, whatever it is called there."""
    name = "only" if operation["operation"] in ("replace", "fix") else "where"
    condition = operation.get(name)
    return condition if isinstance(condition, str) else ""


def _refuse_unknown_rows(version: Version, wanted: Collection[int]) -> None:
    there = set(version.column("id").tolist())
    unknown = sorted(set(wanted) - there)
    if unknown:
        raise DataError(
            f"The version has no row {', '.join(map(str, unknown[:10]))}; nothing was changed.",
            hint="Rows are named by their id, which they keep through all versions.",
            code="unknown_row",
            param="operation.rows",
            rows=unknown[:10],
        )
