"""Files into a published version: read and checked in one pass, nothing half-published."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tunesmith.data import cache
from tunesmith.data.check.check import Gathered, Report, pieces_of
from tunesmith.data.check.inspect import Wanted
from tunesmith.data.check.rules import rule_of
from tunesmith.data.store import Catalog, Draft, Version
from tunesmith.data.subject import Files
from tunesmith.data.tokenise import Progress
from tunesmith.errors import DataError


@dataclass(frozen=True)
class Imported:
    """The new version, and what its check found."""

    version: Version
    report: Report


def import_files(
    catalog: Catalog,
    name: str,
    files: Files,
    *,
    wanted: Wanted,
    processes: int,
    on_progress: Progress,
    note: str = "",
) -> Imported:
    """The files as the next version of a dataset; rows that cannot be used are kept beside."""
    known = catalog.versions(name)
    parent = catalog.open(name) if known else None
    first_id = parent.manifest.next_id if parent else 1
    with catalog.draft(name, next_id=first_id) as draft:
        report = read_into(
            draft, files, wanted=wanted, processes=processes, on_progress=on_progress
        )
        version = catalog.publish(
            draft,
            name,
            parent=parent.manifest.version if parent else None,
            note=note,
            operations=[{"operation": "import", "files": [path.name for path in files.paths]}],
            sources=told_sources(files, report, catalog),
        )
    return Imported(version, report)


class NothingUsable(DataError):
    """No row of the files can be imported; `report` says why, in the process that read them."""

    code = "no_usable_rows"
    report: Report | None = None

    @classmethod
    def of(cls, report: Report) -> NothingUsable:
        error = cls(
            f"None of the {report.rows_read} rows can be used; nothing was imported. "
            f"{_reasons(report)}",
            hint=_hint(report),
            rows=report.rows_read,
        )
        error.report = report
        return error


def read_into(
    draft: Draft, files: Files, *, wanted: Wanted, processes: int, on_progress: Progress
) -> Report:
    """Append the usable rows of files to a draft, with the next ids; the report of their check."""
    wanted = replace(wanted, rows=True)
    before = draft.rows
    with Gathered(files.name, wanted) as gathered:
        for piece in pieces_of(files, wanted, gathered.report, processes, on_progress):
            gathered.add(piece)
            draft.reject(piece.rejected)
            if piece.rows is not None:
                draft.append_new(piece.rows[: _room(files, draft.rows - before)])
            if _room(files, draft.rows - before) == 0:
                break
        report = gathered.finish(on_progress)
    if draft.rows == before:
        raise NothingUsable.of(report)
    return report


def _room(files: Files, rows: int) -> int | None:
    """How many rows are still wanted; None for all."""
    limit = files.wanted.max_samples
    return None if limit is None else max(0, limit - rows)


def told_sources(files: Files, report: Report, catalog: Catalog) -> list[dict[str, Any]]:
    """What the manifest says about the files: size, hash, and the format found in them."""
    by_name = {source["source"]: source for source in report.sources}
    hashes = catalog.root.parent / "cache"
    return [
        {
            "file": path.name,
            "bytes": path.stat().st_size,
            "sha256": cache.file_digest(path, hashes),
            **{key: by_name.get(path.name, {}).get(key, "") for key in ("format", "why")},
        }
        for path in files.paths
    ]


def _hint(report: Report) -> str:
    if "not_utf8" in report.findings:
        return "Add --encoding auto, or the name of the encoding, such as --encoding gb18030."
    return "`tunesmith data check` shows every line."


def _reasons(report: Report) -> str:
    """What is wrong, in words: errors alone where there are some."""
    told = [(rule_of(finding.code), finding) for finding in report.findings if finding.places]
    wrong = [each for each in told if each[0].severity == "error"] or told
    return " ".join(
        f"{rule.en}: {finding.count}, the first in line {finding.places[0].line} ({finding.code})."
        for rule, finding in wrong[:5]
    )
