"""The training rows behind wrong answers, and the next training with what was changed in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import select

from tunesmith.data.names import parse_reference
from tunesmith.errors import DataError
from tunesmith.evaluation.tracing.trace import Trace, trace
from tunesmith.evaluation.tracing.training_rows import Place
from tunesmith.runs import RunDir
from tunesmith.runs.files import write_atomically
from tunesmith.server.queue import Submitted, body_hash
from tunesmith.server.services.copies import Following
from tunesmith.server.services.datasets import changes, index
from tunesmith.server.services.datasets.publishing import Bench
from tunesmith.server.services.tracing import FILE, RetrainOrder, learned_from
from tunesmith.server.tables import Dataset, DatasetVersion, Evaluation, JobDataset
from tunesmith.server.task_context import TaskContext
from tunesmith.server.task_kinds.datasets import bench_of

Row = dict[str, Any]


def look(context: TaskContext) -> dict[str, Any]:
    """For each wrong answer the training rows that are most like it, with their losses."""
    params, place = context.params, context.platform.place
    evaluation_id, order = params["evaluation_id"], params["order"]
    folder = place.evaluations / evaluation_id
    with context.platform.database.read() as session:
        compares = bool(session.get_one(Evaluation, evaluation_id).base)
    found = trace(
        folder / "tuned" if compares else folder,
        RunDir.open(place.run(params["job_id"])),
        score=order["score"],
        below=order["below"],
        most_failures=order["failures"],
        neighbours=order["neighbours"],
        measure=order["measure"],
        on_progress=lambda activity, done, total: context.progress(done, total, "", activity),
    )
    document = {"evaluation_id": evaluation_id, "job_id": params["job_id"]} | _told(context, found)
    write_atomically(folder / FILE, orjson.dumps(document))
    wanted = ("evaluation_id", "score", "rows", "failed", "training_rows")
    return {name: document[name] for name in wanted}


def _told(context: TaskContext, found: Trace) -> dict[str, Any]:
    """The trace with datasets as users name them, and no place of this machine."""
    told = found.to_json()
    for name in ("evaluation", "run", "rule"):
        del told[name]
    places = _Places(context, found)
    for each in told["traced"]:
        for neighbour in each["neighbours"]:
            neighbour["place"] = places.told(neighbour["place"])
    for suspect in told["suspects"]:
        suspect["place"] = places.told(suspect["place"])
    told["notes"] = [n.replace(f"{context.platform.place.root}/", "") for n in told["notes"]]
    return told


class _Places:
    """Rows by the dataset, its version and their id in it; by file and line where there is none."""

    def __init__(self, context: TaskContext, found: Trace) -> None:
        names = {place.dataset for place in found.rows_by_place}
        folders = {ref.name: ref.version for name in names if (ref := parse_reference(name))}
        with context.platform.database.read() as session:
            rows = session.scalars(select(Dataset).where(Dataset.folder.in_(sorted(folders))))
            self._known = {f"{row.folder}@{folders[row.folder]}": row for row in rows}

    def told(self, place: Row) -> Row:
        at = Place(**place)
        row = self._known.get(at.dataset)
        if row is None:
            return {
                "dataset_id": None, "dataset": at.dataset, "version": None, "row": at.line,
                "file": at.file,
            }  # fmt: skip
        _, _, version = at.dataset.rpartition("@")
        return {
            "dataset_id": row.id, "dataset": row.name, "version": int(version), "row": at.line,
            "file": at.file,
        }  # fmt: skip


def retrain(context: TaskContext) -> dict[str, Any]:
    """Publish what was changed, then submit the job that goes on from the result with it."""
    params, order = context.params, RetrainOrder.of(context.params["order"])
    bench = bench_of(context)
    made = [_mended(bench, order, dataset_id) for dataset_id in order.dataset_ids]
    versions = _newest(context, params["job_id"])
    if not versions:
        raise DataError(
            "Nothing was changed, and there is no newer version of what the job learned from.",
            hint="Change or remove a row that the trace names.",
            code="nothing_newer",
        )
    following = Following(params["model_id"], versions, order.name)
    task_id = context.claimed.task_id
    sent = Submitted(body_hash({"retrain": task_id}), key=f"retrain-{task_id}")
    receipt = context.platform.copies.follow(context.caller, params["job_id"], following, sent)
    return {"evaluation_id": params["evaluation_id"], "job_id": receipt.job.id, "versions": made}


def _mended(bench: Bench, order: RetrainOrder, dataset_id: str) -> str:
    """The name of the version that has the changes of a dataset."""
    dataset = bench.dataset(dataset_id)
    fields: dict[int, dict[str, Any]] = defaultdict(dict)
    for each in order.changes:
        if each.dataset_id == dataset_id:
            fields[each.row] |= each.fields
    removed = {each.row for each in order.removals if each.dataset_id == dataset_id}
    published = changes.mend_rows(bench, dataset, fields, removed)
    if published.version is None:
        raise DataError(
            f"The changes of dataset {dataset.name} say what its rows say already.",
            hint="Change a text, or leave the row out.",
            code="changes_nothing",
            name=dataset.name,
        )
    return f"{dataset.name}@{published.version.number}"


def _newest(context: TaskContext, job_id: str) -> dict[str, str]:
    """The newest version in place of each older one that a job learned from, by id."""
    return dict(_newer(context, job_id))


def _newer(context: TaskContext, job_id: str) -> Iterator[tuple[str, str]]:
    with context.platform.database.read() as session:
        learned = session.scalars(
            select(DatasetVersion)
            .join(JobDataset, JobDataset.dataset_version_id == DatasetVersion.id)
            .where(JobDataset.job_id == job_id, JobDataset.role == "train")
        )
        datasets = {d: session.get_one(Dataset, d) for d in session.scalars(learned_from(job_id))}
        for row in learned.all():
            newest = index.version_of(session, datasets[row.dataset_id])
            if newest.number > row.number:
                yield row.id, newest.id
