"""Datasets: files become rows in versions, which are looked at, changed, checked and exported."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response

from tunesmith.api.dependencies import SOUGHT, After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.listed import listed
from tunesmith.api.stats_zh import in_chinese
from tunesmith.data.check.rules import RULES
from tunesmith.schemas.common import Listed
from tunesmith.schemas.datasets import (
    CheckVersion,
    CountTokens,
    DatasetCreate,
    DatasetRead,
    DatasetStarted,
    DatasetUpdate,
    Detect,
    Detected,
    Edit,
    Edited,
    ExportVersion,
    FilesToRead,
    HubDatasetCreate,
    ImportListed,
    ImportMore,
    ListedAnswer,
    ListedRead,
    MixingRead,
    MixingRequest,
    NearRead,
    PresetRead,
    PreviewRead,
    RoleOfDataset,
    RowsPage,
    SplitAnswer,
    SplitRequest,
    SplitsRead,
    VersionDetails,
    VersionRead,
)
from tunesmith.schemas.recipes import KeyRead
from tunesmith.schemas.tasks import TaskRead
from tunesmith.server.services.datasets.asked import (
    Check,
    Found,
    Import,
    MixingPart,
    NewDataset,
    Stats,
    View,
)

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=CallerFirst)
Number = Annotated[int, Path(ge=1, le=10**6, description="Of the version.")]
_ABOUT = {"name", "description", "tags", "licence", "language", "role"}


@router.post("", status_code=202)
def create_dataset(body: DatasetCreate, caller: CallerDep, platform: PlatformDep) -> DatasetStarted:
    """Make a dataset of files that were sent before; a task brings the rows in."""
    dataset, task = platform.datasets.create(
        caller, body.project_id, NewDataset(**body.model_dump(include=_ABOUT)), _import(body)
    )
    return DatasetStarted(
        dataset=_read(Found(dataset, None, 0)), task=TaskRead.model_validate(task)
    )


@router.post("/import-hub", status_code=202)
def import_from_hub(
    body: HubDatasetCreate, caller: CallerDep, platform: PlatformDep
) -> DatasetStarted:
    """A dataset of a hub by its id; a task fetches its files and brings the rows in."""
    new: dict[str, Any] = body.model_dump(include=_ABOUT)
    new["name"] = body.name or body.hub_id.rpartition("/")[2]
    order = Import(
        file_ids=[],
        mapping=body.mapping.model_dump(exclude_none=True),
        encoding=body.encoding,
        near=body.near,
        note=body.note or f"{body.hub_id} of Hugging Face",
        hub=body.model_dump(include={"hub_id", "revision", "files", "split"}),
    )
    dataset, task = platform.datasets.create(caller, body.project_id, NewDataset(**new), order)
    return DatasetStarted(
        dataset=_read(Found(dataset, None, 0)), task=TaskRead.model_validate(task)
    )


@router.post("/detect")
def detect_format(body: Detect, caller: CallerDep, platform: PlatformDep) -> Detected:
    """Format, columns and first records of a file, for the choice of columns."""
    found = platform.datasets.detect(
        caller, body.file_id, body.mapping.model_dump(), body.encoding, body.rows
    )
    for row in found["rows"]:
        rule = RULES.get(row["refused"] or "")
        if rule is not None:
            row["reason"] = rule.zh if caller.language == "zh" else rule.en
    return Detected.model_validate(found)


@router.post("/import-info", status_code=202)
def import_listed(body: ImportListed, caller: CallerDep, platform: PlatformDep) -> ListedAnswer:
    """The datasets that a dataset_info.json lists, each by a task, with a verdict on every key."""
    found = platform.datasets.import_listed(caller, body.project_id, body.file_ids, body.only)
    return ListedAnswer(
        data=[
            ListedRead(
                name=each.name,
                problem=each.problem,
                verdicts=[KeyRead.model_validate(verdict) for verdict in each.verdicts],
                dataset_id=each.dataset.id if each.dataset else None,
                task=TaskRead.model_validate(each.task) if each.task else None,
            )
            for each in found
        ]
    )


@router.post("/mixing-plan")
def plan_mixing(body: MixingRequest, caller: CallerDep, platform: PlatformDep) -> MixingRead:
    """How many rows of each dataset one epoch draws, by rates or by shares."""
    parts = [MixingPart(**each.model_dump()) for each in body.datasets]
    plan = platform.datasets.mixing(caller, body.project_id, parts, body.general_ratio)
    return MixingRead.model_validate(plan)


@router.get("/presets")
def list_presets(caller: CallerDep, platform: PlatformDep) -> Listed[PresetRead]:
    """Datasets that ship with tunesmith, for everybody."""
    rows = [PresetRead.model_validate(each) for each in platform.datasets.presets(caller.language)]
    return Listed(data=rows, has_more=False)


@router.get("/presets/{name}/rows")
def list_preset_rows(
    name: str,
    _: CallerDep,
    platform: PlatformDep,
    after: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Limit = 50,
) -> RowsPage:
    rows, total = platform.datasets.preset_rows(name, after, limit)
    last = after + len(rows)
    more = last < total
    return RowsPage(data=list(rows), has_more=more, next_after=last if more else None, total=total)


@router.get("")
def list_datasets(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Annotated[str | None, Query(max_length=100)] = None,
    text: Annotated[str, Query(max_length=200, description=SOUGHT)] = "",
    role: RoleOfDataset | None = None,
    after: After = None,
    limit: Limit = 100,
) -> Listed[DatasetRead]:
    page = platform.datasets.list(
        caller, project_id=project_id, text=text, role=role, after=after, limit=limit
    )
    return listed(page, DatasetRead, _read)


@router.get("/{dataset_id}")
def get_dataset(dataset_id: str, caller: CallerDep, platform: PlatformDep) -> DatasetRead:
    return _read(platform.datasets.get(caller, dataset_id))


@router.patch("/{dataset_id}")
def update_dataset(
    dataset_id: str, body: DatasetUpdate, caller: CallerDep, platform: PlatformDep
) -> DatasetRead:
    """What is said about it, and its name; versions stay as they are."""
    changes = body.model_dump(exclude_none=True)
    return _read(platform.datasets.update(caller, dataset_id, **changes))


@router.delete("/{dataset_id}", status_code=204)
def delete_dataset(dataset_id: str, caller: CallerDep, platform: PlatformDep) -> None:
    """With all its versions; refused while a job or a model needs one of them."""
    platform.datasets.delete(caller, dataset_id)


@router.post("/{dataset_id}/import", status_code=202)
def import_files(
    dataset_id: str, body: ImportMore, caller: CallerDep, platform: PlatformDep
) -> TaskRead:
    """Further files as the next version, by a task."""
    task = platform.datasets.import_more(caller, dataset_id, _import(body, append=body.append))
    return TaskRead.model_validate(task)


@router.post("/{dataset_id}/edit", responses={202: {"model": Edited}})
def edit_dataset(
    dataset_id: str, body: Edit, caller: CallerDep, platform: PlatformDep, response: Response
) -> Edited:
    """One operation as the next version: at once (200), or by a task on a large dataset (202)."""
    operation = body.operation.model_dump(exclude_none=False)
    done = platform.datasets.edit(caller, dataset_id, operation, body.base, preview=body.preview)
    response.status_code = 200 if done.task is None else 202
    return Edited(
        version=VersionRead.model_validate(done.version) if done.version else None,
        task=TaskRead.model_validate(done.task) if done.task else None,
        counts=dict(done.counts or {}),
        diff=dict(done.diff) if done.diff else None,
        details=dict(done.details) if done.details else None,
    )


@router.get("/{dataset_id}/diff")
def diff_versions(
    dataset_id: str,
    caller: CallerDep,
    platform: PlatformDep,
    before: Annotated[int, Query(ge=1, le=10**6)],
    after: Annotated[int, Query(ge=1, le=10**6)],
) -> dict[str, Any]:
    """Rows added, removed and changed: all counts, the first hundred of each."""
    return platform.datasets.diff(caller, dataset_id, before, after)


@router.get("/{dataset_id}/versions")
def list_versions(dataset_id: str, caller: CallerDep, platform: PlatformDep) -> Listed[VersionRead]:
    """All of them, newest first."""
    rows = platform.datasets.versions(caller, dataset_id)
    return Listed(data=[VersionRead.model_validate(row) for row in rows], has_more=False)


@router.get("/{dataset_id}/versions/{number}")
def get_version(
    dataset_id: str, number: Number, caller: CallerDep, platform: PlatformDep
) -> VersionDetails:
    row, manifest = platform.datasets.version(caller, dataset_id, number)
    told = VersionRead.model_validate(row).model_dump()
    beside = ("operations", "sources", "rejected")
    return VersionDetails(**told, **{name: manifest[name] for name in beside})


@router.delete("/{dataset_id}/versions/{number}", status_code=204)
def delete_version(
    dataset_id: str, number: Number, caller: CallerDep, platform: PlatformDep
) -> None:
    """Refused while a job or a model needs it."""
    platform.datasets.delete(caller, dataset_id, number)


@router.get("/{dataset_id}/versions/{number}/rows")
def list_rows(
    dataset_id: str,
    number: Number,
    caller: CallerDep,
    platform: PlatformDep,
    after: Annotated[int, Query(ge=0, le=2**53, description="Id of a row.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    search: Annotated[str, Query(max_length=1000, description="Text in a row.")] = "",
    where: Annotated[str, Query(max_length=10_000, description="A condition.")] = "",
    sort: Annotated[str, Query(max_length=1000, description="A column.")] = "",
    descending: bool = False,
    offset: Annotated[int, Query(ge=0, le=10**6, description="With an order.")] = 0,
) -> RowsPage:
    """Rows by id; or in the order of a column, by offset."""
    view = View(after, limit, search, where, sort, descending, offset)
    page = platform.datasets.rows(caller, dataset_id, number, view)
    return RowsPage(
        data=page.rows, has_more=page.has_more, next_after=page.next_after, total=page.total
    )


@router.get("/{dataset_id}/versions/{number}/rejected")
def list_rejected(
    dataset_id: str,
    number: Number,
    caller: CallerDep,
    platform: PlatformDep,
    after: Annotated[int, Query(ge=0, le=10**9, description="How many were seen.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> RowsPage:
    """Rows of the files that could not be used: file, line, reason, and what was there."""
    rows, total = platform.datasets.rejected(caller, dataset_id, number, after, limit)
    last = after + len(rows)
    more = bool(rows) and last < total
    return RowsPage(data=list(rows), has_more=more, next_after=last if more else None, total=total)


@router.get("/{dataset_id}/versions/{number}/rows/{row}/preview")
def preview_row(
    dataset_id: str,
    number: Number,
    row: Annotated[int, Path(ge=1, le=2**53)],
    caller: CallerDep,
    platform: PlatformDep,
    model: Annotated[str, Query(max_length=200)] = "starter",
    max_length: Annotated[int | None, Query(ge=1, le=2**24)] = None,
) -> PreviewRead:
    """One row as messages and as the tokens that a model gets, learned ones marked."""
    shown = platform.datasets.preview(caller, dataset_id, number, row, model, max_length)
    return PreviewRead.model_validate(shown)


@router.post("/{dataset_id}/versions/{number}/check", status_code=202)
def check_version(
    dataset_id: str, number: Number, body: CheckVersion, caller: CallerDep, platform: PlatformDep
) -> TaskRead:
    """Look for what is wrong, by a task; then read the report."""
    wanted = Check(body.profile == "openai", body.near, body.model, body.max_length)
    task = platform.datasets.check(caller, dataset_id, number, wanted, body.against)
    return TaskRead.model_validate(task)


@router.get("/{dataset_id}/versions/{number}/report")
def get_report(
    dataset_id: str,
    number: Number,
    caller: CallerDep,
    platform: PlatformDep,
    profile: Literal["", "openai"] = "",
    language: Literal["en", "zh"] | None = None,
) -> dict[str, Any]:
    """What the last check found; an import is one, too."""
    return platform.datasets.report(
        caller,
        dataset_id,
        number,
        openai=profile == "openai",
        language=language or caller.language,
    )


@router.post("/{dataset_id}/versions/{number}/stats", status_code=202)
def count_tokens(
    dataset_id: str, number: Number, body: CountTokens, caller: CallerDep, platform: PlatformDep
) -> TaskRead:
    """Lengths, histograms, the recommended max_length, what an epoch costs: by a task."""
    wanted = Stats(**body.model_dump())
    return TaskRead.model_validate(platform.datasets.count(caller, dataset_id, number, wanted))


@router.get("/{dataset_id}/versions/{number}/stats")
def get_statistics(
    dataset_id: str,
    number: Number,
    caller: CallerDep,
    platform: PlatformDep,
    model: Annotated[str, Query(max_length=200)] = "starter",
    max_length: Annotated[int | None, Query(ge=1, le=2**24)] = None,
    epochs: Annotated[int, Query(ge=1, le=10_000)] = 1,
    batch_size: Annotated[int, Query(ge=1, le=2**20)] = 8,
) -> dict[str, Any]:
    """Statistics that were counted before with the same settings."""
    wanted = Stats(model, max_length, epochs, batch_size)
    found = platform.datasets.statistics(caller, dataset_id, number, wanted)
    return in_chinese(found) if caller.language == "zh" else found


@router.post("/{dataset_id}/versions/{number}/near", status_code=202)
def search_near(
    dataset_id: str, number: Number, caller: CallerDep, platform: PlatformDep
) -> TaskRead:
    """Look for rows that say nearly the same, by a task; then read the pairs."""
    return TaskRead.model_validate(platform.datasets.near(caller, dataset_id, number))


@router.get("/{dataset_id}/versions/{number}/near")
def list_near_pairs(
    dataset_id: str, number: Number, caller: CallerDep, platform: PlatformDep
) -> NearRead:
    """Pairs that the last search found, each with both texts."""
    return NearRead.model_validate(platform.datasets.pairs(caller, dataset_id, number))


@router.post("/{dataset_id}/versions/{number}/splits", responses={202: {"model": SplitAnswer}})
def preview_splits(
    dataset_id: str,
    number: Number,
    body: SplitRequest,
    caller: CallerDep,
    platform: PlatformDep,
    response: Response,
) -> SplitAnswer:
    """What validation and test would hold out: at once (200), or by a task (202)."""
    splits, task = platform.datasets.splits(caller, dataset_id, number, body.model_dump())
    response.status_code = 200 if task is None else 202
    return SplitAnswer(
        splits=SplitsRead.model_validate(splits) if splits else None,
        task=TaskRead.model_validate(task) if task else None,
    )


@router.post("/{dataset_id}/versions/{number}/verify", status_code=202)
def verify_version(
    dataset_id: str, number: Number, caller: CallerDep, platform: PlatformDep
) -> TaskRead:
    """Compare its files with their checksums, by a task."""
    return TaskRead.model_validate(platform.datasets.verify(caller, dataset_id, number))


@router.post("/{dataset_id}/versions/{number}/export", status_code=202)
def export_version(
    dataset_id: str, number: Number, body: ExportVersion, caller: CallerDep, platform: PlatformDep
) -> TaskRead:
    """A file to download, made by a task; its id is in the result."""
    task = platform.datasets.export(caller, dataset_id, number, body.format, lossy=body.lossy)
    return TaskRead.model_validate(task)


def _import(body: FilesToRead, *, append: bool = False) -> Import:
    return Import(
        file_ids=body.file_ids,
        mapping=body.mapping.model_dump(exclude_none=True),
        encoding=body.encoding,
        append=append,
        near=body.near,
        note=body.note,
    )


def _read(found: Found) -> DatasetRead:
    row = found.dataset
    columns = {name: getattr(row, name) for name in (*_ABOUT, "id", "project_id", "user_id")}
    return DatasetRead(
        **columns,
        created_at=row.created_at,
        state="empty" if found.newest is None else "published",
        num_versions=found.num_versions,
        newest=VersionRead.model_validate(found.newest) if found.newest else None,
    )
