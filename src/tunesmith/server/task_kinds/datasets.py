"""What takes long with datasets: import, edit, check, count, export."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete

from tunesmith.data.exporting import SUFFIXES, export
from tunesmith.data.store import Version
from tunesmith.server.services.datasets import changes, index, reports
from tunesmith.server.services.datasets.asked import Import
from tunesmith.server.services.datasets.publishing import Bench, Published
from tunesmith.server.services.datasets.renderers import engine_target, renderer_of
from tunesmith.server.services.files import NewFile
from tunesmith.server.tables import Dataset, DatasetVersion
from tunesmith.server.task_context import TaskContext

_EXPORT_LIFETIME: Final = timedelta(days=7)


def import_files(context: TaskContext) -> dict[str, Any]:
    """Files into a version; a dataset that got none by it is as if it had never been begun."""
    bench = bench_of(context)
    dataset = bench.dataset(context.params["dataset_id"])
    try:
        published, report = changes.import_files(bench, dataset, Import(**context.params["order"]))
    except BaseException:
        _forget_empty(bench, dataset)
        raise
    told = _told(published)
    if report is not None:
        told |= {
            "rows_read": report.rows_read,
            "rows_usable": report.rows_usable,
            "counts": report.findings.counts(),
            "sources": report.sources,
        }
    return told


def edit(context: TaskContext) -> dict[str, Any]:
    """A change, or (preview) what it would change."""
    bench, params = bench_of(context), context.params
    dataset = bench.dataset(params["dataset_id"])
    operation = _with_target(context, dataset, params["operation"])
    if params.get("preview"):
        told, facts = changes.preview(bench, dataset, operation, params["base"])
        named = {"dataset_id": dataset.id, "name": dataset.name, "version": None}
        return named | {"counts": facts.counts, "details": facts.details, "diff": told}
    published, facts = changes.edit(bench, dataset, operation, params["base"])
    return _told(published) | {"counts": facts.counts, "details": facts.details}


def _with_target(
    context: TaskContext, dataset: Dataset, operation: dict[str, Any]
) -> dict[str, Any]:
    """The operation, with what the engine is given for its model."""
    if not operation.get("model"):
        return operation
    platform = context.platform
    target = engine_target(
        platform.database,
        platform.place,
        context.caller,
        operation["model"],
        dataset.project_id,
        hub=platform.settings.hub_downloads,
    )
    return operation | {"target": target}


def check(context: TaskContext) -> dict[str, Any]:
    bench, params = bench_of(context), context.params
    dataset, row, version = bench.opened(params["dataset_id"], params["number"])
    wanted = reports.Check(**params["check"])
    renderer = _renderer(context, wanted.model) if wanted.model else None
    against = _other(context, bench, dataset, params["against"]) if params["against"] else None
    report = reports.check(bench, dataset, version, wanted, renderer, against)
    return {
        "dataset_id": dataset.id,
        "version": row.number,
        "rows_read": report.rows_read,
        "counts": report.findings.counts(),
    }


def stats(context: TaskContext) -> dict[str, Any]:
    bench, params = bench_of(context), context.params
    dataset, _, version = bench.opened(params["dataset_id"], params["number"])
    wanted = reports.Stats(**params["stats"])
    return reports.stats(bench, dataset, version, wanted, _renderer(context, wanted.model))


def near(context: TaskContext) -> dict[str, Any]:
    bench, params = bench_of(context), context.params
    dataset, row, version = bench.opened(params["dataset_id"], params["number"])
    found = reports.near(bench, dataset, version)
    told = {name: found[name] for name in ("rows", "near", "exact")}
    return {"dataset_id": dataset.id, "version": row.number, **told}


def splits(context: TaskContext) -> dict[str, Any]:
    params = context.params
    _, _, version = bench_of(context).opened(params["dataset_id"], params["number"])
    return reports.splits(version, params["splits"])


def verify(context: TaskContext) -> dict[str, Any]:
    """Every file as it was published; DataError names the first that is not."""
    bench, params = bench_of(context), context.params
    dataset, row, version = bench.opened(params["dataset_id"], params["number"])
    context.progress(0, None, "", "verify")
    version.verify()
    files = len(version.manifest.files)
    return {"dataset_id": dataset.id, "version": row.number, "files": files}


def export_version(context: TaskContext) -> dict[str, Any]:
    """A version as a file of the project, which ends after some days."""
    bench, params = bench_of(context), context.params
    dataset, row, version = bench.opened(params["dataset_id"], params["number"])
    files, format = context.platform.files, params["format"]
    path = files.draft_path()
    try:
        done = export(version, format, path, lossy=params["lossy"], on_progress=bench.progress)
        name = f"{dataset.name}-{row.number}-{format}{SUFFIXES.get(format, f'.{format}')}"
        new = NewFile(dataset.project_id, name, "user_data", _EXPORT_LIFETIME)
        file = files.adopt(context.caller, path, new)
    finally:
        path.unlink(missing_ok=True)
    return {"file_id": file.id, "filename": file.filename, "bytes": file.bytes, **asdict(done)}


def bench_of(context: TaskContext) -> Bench:
    def progress(activity: str, done: int, total: int) -> None:
        context.progress(done, total or None, activity=activity)

    platform = context.platform
    return Bench(
        platform.database,
        platform.place,
        platform.datasets.limits,
        context.caller,
        progress,
        context.claimed.task_id,
    )


def _renderer(context: TaskContext, model: str) -> Any:
    platform = context.platform
    hub = platform.settings.hub_downloads
    return renderer_of(platform.database, platform.place, context.caller, model, hub=hub)


def _other(context: TaskContext, bench: Bench, dataset: Dataset, name: str) -> Version:
    """The version that rows are compared with, by name in the same project."""
    with bench.database.read() as session:
        _, reference = index.resolve_for_job(session, context.caller, dataset.project_id, name)
    return bench.catalog().open(reference)


def _forget_empty(bench: Bench, dataset: Dataset) -> None:
    """A first import that failed leaves nothing, so its name is free again."""
    index.mend(bench.database, bench.place, dataset)
    with bench.database.write() as session:
        index.hold(session, dataset)
        if not index.all_versions(session, dataset):
            session.execute(delete(Dataset).where(Dataset.id == dataset.id))


def _told(published: Published) -> dict[str, Any]:
    row: DatasetVersion | None = published.version
    told: dict[str, Any] = {"dataset_id": published.dataset.id, "name": published.dataset.name}
    if row is None:
        return told | {"version": None, "version_id": None}
    return told | {"version": row.number, "version_id": row.id, "rows": row.rows}
