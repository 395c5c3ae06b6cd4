"""Datasets as users see them: import, look, change, check, export, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.data.diff import diff
from tunesmith.data.exporting import FORMATS
from tunesmith.data.formats import SAMPLE_ROWS, find_layout
from tunesmith.data.mixing import GENERAL_RATIO, DatasetCount, MixingPlan, mixing_plan
from tunesmith.data.preview import RowPreview, preview_row
from tunesmith.data.readers import read_rows
from tunesmith.data.records import to_json
from tunesmith.data.resolve import BUILTIN, is_builtin, resolve_dataset
from tunesmith.data.store import Catalog, Reference, Version
from tunesmith.data.store.catalog import bad_name, is_name
from tunesmith.data.subject import MAX_BYTES
from tunesmith.errors import InputError
from tunesmith.server import clock
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict, NotFound, TooLarge
from tunesmith.server.paging import Page, page
from tunesmith.server.quotas import Limits, refuse_beyond_storage
from tunesmith.server.services.datasets import changes, hub, index, looking, reports, sources
from tunesmith.server.services.datasets.asked import Found, Import, MixingPart, NewDataset
from tunesmith.server.services.datasets.listed import Listed, listed_in
from tunesmith.server.services.datasets.publishing import Bench
from tunesmith.server.services.datasets.renderers import engine_target, renderer_of
from tunesmith.server.services.files import present_file
from tunesmith.server.services.tasks import Tasks
from tunesmith.server.settings import Settings
from tunesmith.server.states import FINAL
from tunesmith.server.tables import (
    Dataset,
    DatasetVersion,
    Job,
    JobDataset,
    Model,
    ModelDataset,
    Task,
)

SMALL_BYTES: Final = 4 << 20  # a change of less is made while its request waits
SMALL_ROWS: Final = 20_000
SPLIT_AT_ONCE: Final = 100_000  # rows
_ALWAYS_TASKS: Final = frozenset({"score", "diversity", "augment"})
_PRESETS: Final[dict[str, tuple[str, str, str]]] = {  # role; what it is, in English and Chinese
    "builtin:shop": ("user", "Customer service of an online shop.", "网店客服问答。"),
    "builtin:general": (
        "general",
        "General questions and answers, to mix with a narrow dataset.",
        "通用问答，用于与单一领域的数据混合。",
    ),
}


@dataclass(frozen=True)
class Change:
    """What came of a change: a version, or the task that will make one; neither: nothing to do."""

    version: DatasetVersion | None = None
    task: Task | None = None
    counts: Mapping[str, Any] | None = None
    diff: Mapping[str, Any] | None = None  # of a preview
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Preset:
    """A dataset that ships with tunesmith, for everybody."""

    name: str
    description: str
    role: str
    rows: int
    bytes: int
    kinds: Mapping[str, int]


class Datasets:
    """One use case a method; what may take long is handed to a task."""

    def __init__(
        self, database: Database, place: DataDir, tasks: Tasks, settings: Settings
    ) -> None:
        self._database, self._place, self._tasks = database, place, tasks
        self.limits, self._settings = Limits.of(settings), settings

    # ------------------------------------------------------------ in

    def detect(
        self,
        caller: Caller,
        file_id: str,
        mapping: Mapping[str, Any],
        encoding: str | None,
        rows: int,
    ) -> dict[str, Any]:
        """What the first rows of a file show, for the choice of columns before an import."""
        if encoding == "auto":
            raise InputError(
                "Guessing an encoding reads the whole file; name it here.",
                hint="Such as gb18030; an import takes auto.",
                code="encoding_not_named",
                param="encoding",
            )
        with self._database.read() as session:
            members = sources.refuse_to_look(self._place, present_file(session, caller, file_id))
        opened = sources.opened(
            self._database, self._place, caller, [file_id], mapping, encoding, members=members
        )
        with opened as files:
            return sources.detect(files, rows)

    def create(
        self, caller: Caller, project_id: str | None, new: NewDataset, order: Import
    ) -> tuple[Dataset, Task]:
        """A dataset whose rows a task will bring in; its name is taken at once."""
        project = caller.chosen(project_id, Role.MEMBER)
        sources.reading(new.name, order.mapping)
        if order.hub is not None:
            hub.refuse_odd(order.hub)
        with self._database.write() as session:
            moment = clock.read(session)
            self._refuse_files(session, caller, order.file_ids, project)
            dataset = index.reserve(session, moment, caller, project, new, self._place)
            params = {"dataset_id": dataset.id, "order": asdict(order)}
            task = self._tasks.add(
                session,
                moment,
                caller,
                "dataset.import",
                params,
                project_id=project,
                target=dataset.id,
            )
        self._tasks.on_submit()
        return dataset, task

    def import_listed(
        self,
        caller: Caller,
        project_id: str | None,
        file_ids: Sequence[str],
        only: Sequence[str],
    ) -> list[Listed]:
        """The datasets of a dataset_info.json, each by a task; what hinders one stands with it."""
        project = caller.chosen(project_id, Role.MEMBER)
        with self._database.read() as session:
            files = [present_file(session, caller, file_id) for file_id in file_ids]
        return [self._begun(caller, project, each) for each in listed_in(self._place, files, only)]

    def _begun(self, caller: Caller, project_id: str, listed: Listed) -> Listed:
        if listed.order is None:
            return listed
        try:
            new = NewDataset(name=listed.name)
            dataset, task = self.create(caller, project_id, new, listed.order)
        except InputError as error:
            return replace(listed, problem=error.message)
        return replace(listed, dataset=dataset, task=task)

    def import_more(self, caller: Caller, dataset_id: str, order: Import) -> Task:
        """Further files as a new version, behind the rows that there are or in their place."""
        sources.reading("files", order.mapping)
        with self._database.read() as session:
            dataset = index.dataset_of(session, caller, dataset_id, Role.MEMBER)
            there = index.newest_bytes(session, dataset) if order.append else 0
            self._refuse_files(session, caller, order.file_ids, dataset.project_id, there)
        return self._submit(caller, dataset, "dataset.import", {"order": asdict(order)})

    def _refuse_files(
        self,
        session: Session,
        caller: Caller,
        file_ids: Sequence[str],
        project_id: str,
        there: int = 0,
    ) -> None:
        """Files that there are not, that are another project's, too many bytes, no room.

        `there`: bytes of the rows that those of the files come behind.
        """
        files = [present_file(session, caller, file_id) for file_id in file_ids]
        for file in files:
            sources.refuse_unreadable(self._place, file)
        foreign = next((file for file in files if file.project_id != project_id), None)
        if foreign is not None:
            raise NotFound(
                f"There is no file {foreign.id} in this project.",
                code="file_not_found",
                id=foreign.id,
            )
        total = sum(file.bytes for file in files)
        if there + total > MAX_BYTES:
            what = "The files and the rows that there are" if there else "The files"
            raise TooLarge(
                f"{what} have {(there + total) / (1 << 30):.1f} GB; one dataset takes "
                f"{MAX_BYTES >> 30} GB at most. Nothing was changed.",
                hint="Split them into several datasets and mix these in the recipe.",
                code="dataset_too_large",
                limit=MAX_BYTES,
            )
        moment = clock.read(session)
        refuse_beyond_storage(session, caller.user_id, self.limits, moment, total)

    # ------------------------------------------------------------ look

    def presets(self, language: str = "en") -> list[Preset]:
        """Datasets that ship with tunesmith; recipes name them as they are named here."""
        return [_preset(name, language) for name in _PRESETS]

    def preset_rows(
        self, name: str, after: int, limit: int
    ) -> tuple[Sequence[dict[str, Any]], int]:
        """Rows of such a dataset, counted from 1, and how many there are."""
        path = _preset_path(name)
        rows = list(islice(read_rows(path), after + limit))
        layout = find_layout([row for _, row in rows[:SAMPLE_ROWS]], _reading(name), path.name)
        shown = [
            {"id": after + at, "line": line, "record": to_json(layout.convert(row))}
            for at, (line, row) in enumerate(rows[after:], start=1)
        ]
        return shown, _preset(name if is_builtin(name) else BUILTIN + name).rows

    def list(
        self,
        caller: Caller,
        *,
        project_id: str | None = None,
        text: str = "",
        role: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Found]:
        """Datasets of one project, or of all that the caller is in, newest first."""
        query = select(Dataset).where(
            Dataset.project_id.in_(caller.viewed(project_id)), Dataset.deleted_at.is_(None)
        )
        if text:
            named = Dataset.name.icontains(text, autoescape=True)
            named |= Dataset.id.startswith(text, autoescape=True)
            query = query.where(named | Dataset.description.icontains(text, autoescape=True))
        if role:
            query = query.where(Dataset.role == role)
        with self._database.read() as session:
            rows = page(session, query, Dataset.id, after=after, limit=limit)
            return Page(_with_versions(session, rows.items), rows.has_more)

    def get(self, caller: Caller, dataset_id: str) -> Found:
        with self._database.read() as session:
            dataset = index.dataset_of(session, caller, dataset_id)
        index.mend(self._database, self._place, dataset)
        with self._database.read() as session:
            return _with_versions(session, [dataset])[0]

    def versions(self, caller: Caller, dataset_id: str) -> Sequence[DatasetVersion]:
        """Newest first."""
        dataset = self.get(caller, dataset_id).dataset
        with self._database.read() as session:
            rows = index.all_versions(session, dataset)
            return [row for row in reversed(rows) if row.deleted_at is None]

    def version(
        self, caller: Caller, dataset_id: str, number: int
    ) -> tuple[DatasetVersion, dict[str, Any]]:
        """A version, and what its manifest says of how it came to be."""
        self.get(caller, dataset_id)
        _, row, version = self._opened(caller, dataset_id, number)
        return row, asdict(version.manifest)

    def rejected(
        self, caller: Caller, dataset_id: str, number: int, after: int, limit: int
    ) -> tuple[Sequence[dict[str, Any]], int]:
        """Rows of the files that could not be used, counted from 1, and how many there are."""
        _, _, version = self._opened(caller, dataset_id, number)
        return looking.rejected(version, after, limit), version.manifest.rejected

    def diff(self, caller: Caller, dataset_id: str, before: int, after: int) -> dict[str, Any]:
        """Rows added, removed and changed between two versions."""
        dataset, _, old = self._opened(caller, dataset_id, before)
        _, _, new = self._opened(caller, dataset_id, after)
        named = {"before": f"{dataset.name}@{before}", "after": f"{dataset.name}@{after}"}
        return diff(old, new).to_json() | named

    def rows(
        self, caller: Caller, dataset_id: str, number: int | None, view: looking.View
    ) -> looking.Page:
        _, _, version = self._opened(caller, dataset_id, number)
        return looking.look(version, view)

    def preview(
        self,
        caller: Caller,
        dataset_id: str,
        number: int | None,
        row: int,
        model: str,
        max_length: int | None,
    ) -> RowPreview:
        """One row as messages and as the tokens that a model gets, learned ones marked."""
        _, _, version = self._opened(caller, dataset_id, number)
        looking.row_of(version, row)
        renderer = renderer_of(
            self._database, self._place, caller, model, hub=self._settings.hub_downloads
        )
        return preview_row(version, row, renderer, max_length=max_length)

    def report(
        self, caller: Caller, dataset_id: str, number: int, *, openai: bool, language: str
    ) -> dict[str, Any]:
        """What the last check of a version found; an import is one, too."""
        dataset, row, _ = self._opened(caller, dataset_id, number)
        kind = reports.kind_of_check(reports.Check(openai=openai))
        told = reports.read_report(self._place, dataset, row.number, kind)
        return told[language]

    def statistics(
        self, caller: Caller, dataset_id: str, number: int, wanted: reports.Stats
    ) -> dict[str, Any]:
        """Statistics that were counted before."""
        dataset, row, _ = self._opened(caller, dataset_id, number)
        kind = reports.kind_of_stats(wanted)
        return reports.read_report(self._place, dataset, row.number, kind)

    def pairs(self, caller: Caller, dataset_id: str, number: int) -> dict[str, Any]:
        """Pairs of nearly equal rows that were looked for before."""
        dataset, row, _ = self._opened(caller, dataset_id, number)
        return reports.read_report(self._place, dataset, row.number, reports.NEAR)

    def mixing(
        self,
        caller: Caller,
        project_id: str | None,
        parts: Sequence[MixingPart],
        general_ratio: float = GENERAL_RATIO,
    ) -> MixingPlan:
        """How many rows of each dataset one epoch draws."""
        project = caller.chosen(project_id, Role.VIEWER)
        with self._database.read() as session:
            counts = [_count(session, caller, project, part) for part in parts]
        return mixing_plan(counts, general_ratio=general_ratio)

    # ------------------------------------------------------------ change

    def update(self, caller: Caller, dataset_id: str, **columns: Any) -> Found:
        """What is said about a dataset, and its name; its versions stay as they are."""
        with self._database.write() as session:
            moment = clock.read(session)
            dataset = index.dataset_of(session, caller, dataset_id, Role.MEMBER)
            name = columns.get("name", dataset.name)
            if name != dataset.name:
                if not is_name(name):
                    raise bad_name(name)
                index.refuse_taken(session, dataset.project_id, name)
            for column, value in columns.items():
                setattr(dataset, column, value)
            audit(
                session,
                moment,
                caller,
                "dataset.update",
                dataset.id,
                project_id=dataset.project_id,
            )
        return self.get(caller, dataset_id)

    def edit(
        self,
        caller: Caller,
        dataset_id: str,
        operation: Mapping[str, Any],
        base: int | None = None,
        *,
        preview: bool = False,
    ) -> Change:
        """One operation as a new version: at once on a small dataset, else by a task.

        `preview` shows what would change, and publishes nothing.
        """
        found = self.get(caller, dataset_id)
        dataset = found.dataset
        caller.require(dataset.project_id, Role.MEMBER)
        changes.refuse_odd(operation)
        if operation.get("model"):
            engine_target(
                self._database,
                self._place,
                caller,
                operation["model"],
                dataset.project_id,
                hub=self._settings.hub_downloads,
            )
        if found.newest is None or _takes_long(found.newest, operation):
            params = {"operation": dict(operation), "base": base, "preview": preview}
            return Change(task=self._submit(caller, dataset, "dataset.edit", params))
        bench = self.bench(caller)
        if preview:
            told, facts = changes.preview(bench, dataset, operation, base)
            return Change(None, None, facts.counts, told, facts.details)
        published, facts = changes.edit(bench, dataset, operation, base)
        return Change(published.version, None, facts.counts, None, facts.details)

    def check(
        self, caller: Caller, dataset_id: str, number: int, wanted: reports.Check, against: str
    ) -> Task:
        """Look for what is wrong in a version; the report is kept."""
        dataset, _, _ = self._opened(caller, dataset_id, number, Role.MEMBER)
        params = {"number": number, "check": asdict(wanted), "against": against}
        return self._submit(caller, dataset, "dataset.check", params)

    def count(self, caller: Caller, dataset_id: str, number: int, wanted: reports.Stats) -> Task:
        """Statistics in tokens of a model; they are kept."""
        dataset, _, _ = self._opened(caller, dataset_id, number, Role.MEMBER)
        params = {"number": number, "stats": asdict(wanted)}
        return self._submit(caller, dataset, "dataset.stats", params)

    def near(self, caller: Caller, dataset_id: str, number: int) -> Task:
        """Look for rows that say nearly the same; what is found is kept."""
        dataset, _, _ = self._opened(caller, dataset_id, number, Role.MEMBER)
        return self._submit(caller, dataset, "dataset.near", {"number": number})

    def verify(self, caller: Caller, dataset_id: str, number: int) -> Task:
        """Compare the files of a version with their checksums."""
        dataset, _, _ = self._opened(caller, dataset_id, number, Role.MEMBER)
        return self._submit(caller, dataset, "dataset.verify", {"number": number})

    def splits(
        self, caller: Caller, dataset_id: str, number: int, wanted: Mapping[str, Any]
    ) -> tuple[dict[str, Any] | None, Task | None]:
        """What a split would hold out: at once on a small dataset, else by a task."""
        dataset, row, version = self._opened(caller, dataset_id, number, Role.MEMBER)
        if row.rows > SPLIT_AT_ONCE:
            params = {"number": number, "splits": dict(wanted)}
            return None, self._submit(caller, dataset, "dataset.splits", params)
        return reports.splits(version, wanted), None

    def export(
        self, caller: Caller, dataset_id: str, number: int, format: str, *, lossy: bool
    ) -> Task:
        """A version as a file to download."""
        if format not in FORMATS:
            raise InputError(
                f"There is no format '{format}'.", hint=f"Known: {', '.join(FORMATS)}."
            )
        dataset, _, _ = self._opened(caller, dataset_id, number, Role.MEMBER)
        params = {"number": number, "format": format, "lossy": lossy}
        return self._submit(caller, dataset, "dataset.export", params)

    # ------------------------------------------------------------ delete

    def delete(self, caller: Caller, dataset_id: str, number: int | None = None) -> None:
        """A version, or the dataset with all of them; Conflict where a job or model needs one."""
        with self._database.write() as session:
            moment = clock.read(session)
            dataset = index.dataset_of(session, caller, dataset_id, Role.MEMBER)
            index.hold(session, dataset)
            rows = _held_versions(session, dataset, number)
            _refuse_needed(session, dataset, rows)
            for row in rows:
                row.deleted_at = moment.wall
            if number is None:
                dataset.deleted_at = moment.wall
            audit(
                session,
                moment,
                caller,
                "dataset.delete",
                dataset.id,
                project_id=dataset.project_id,
                version=number,
            )
        if rows:  # its bytes go later, and its number never comes again
            catalog = Catalog(self._place.root)
            if catalog.versions(dataset.folder):
                catalog.describe(dataset.folder, last_version=max(row.number for row in rows))

    # ------------------------------------------------------------ helpers

    def bench(self, caller: Caller) -> Bench:
        return Bench(self._database, self._place, self.limits, caller, lambda *_: None)

    def _opened(
        self, caller: Caller, dataset_id: str, number: int | None, role: Role = Role.VIEWER
    ) -> tuple[Dataset, DatasetVersion, Version]:
        with self._database.read() as session:
            dataset = index.dataset_of(session, caller, dataset_id, role)
            row = index.version_of(session, dataset, number)
        version = Catalog(self._place.root).open(Reference(dataset.folder, row.number))
        return dataset, row, version

    def _submit(self, caller: Caller, dataset: Dataset, kind: str, params: dict[str, Any]) -> Task:
        return self._tasks.submit(
            caller,
            kind,
            {"dataset_id": dataset.id, **params},
            project_id=dataset.project_id,
            target=dataset.id,
        )


def _takes_long(version: DatasetVersion, operation: Mapping[str, Any]) -> bool:
    is_large = version.bytes > SMALL_BYTES or version.rows > SMALL_ROWS
    has_pattern = operation.get("regex", False) or "matches" in changes.condition_of(operation)
    return is_large or has_pattern or operation["operation"] in _ALWAYS_TASKS


def _with_versions(session: Session, datasets: Sequence[Dataset]) -> list[Found]:
    """Each dataset with its newest version, in two statements for all of them."""
    there = (
        DatasetVersion.dataset_id.in_([dataset.id for dataset in datasets]),
        DatasetVersion.deleted_at.is_(None),
    )
    counted = session.execute(
        select(DatasetVersion.dataset_id, func.count(), func.max(DatasetVersion.number))
        .where(*there)
        .group_by(DatasetVersion.dataset_id)
    )
    known = {dataset: (count, number) for dataset, count, number in counted}
    newest = {
        row.dataset_id: row
        for row in session.scalars(select(DatasetVersion).where(*there))
        if row.number == known[row.dataset_id][1]
    }
    return [
        Found(dataset, newest.get(dataset.id), known.get(dataset.id, (0, 0))[0])
        for dataset in datasets
    ]


def _count(session: Session, caller: Caller, project_id: str, part: MixingPart) -> DatasetCount:
    if is_builtin(part.dataset):
        preset = _preset(part.dataset)
        rows, role = preset.rows, preset.role
    else:
        version_id, _ = index.resolve_for_job(session, caller, project_id, part.dataset)
        version = session.get_one(DatasetVersion, version_id)
        rows, role = version.rows, session.get_one(Dataset, version.dataset_id).role
    return DatasetCount(
        part.dataset,
        rows,
        sampling_rate=part.sampling_rate,
        share=part.share,
        role="general" if (part.role or role) == "general" else "user",
        tokens=part.tokens,
    )


def _held_versions(
    session: Session, dataset: Dataset, number: int | None
) -> Sequence[DatasetVersion]:
    """The versions that go, held: a job that comes now waits, and finds them gone."""
    query = (
        select(DatasetVersion)
        .where(DatasetVersion.dataset_id == dataset.id, DatasetVersion.deleted_at.is_(None))
        .order_by(DatasetVersion.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if number is not None:
        index.version_of(session, dataset, number)
        query = query.where(DatasetVersion.number == number)
    return session.scalars(query).all()


def _refuse_needed(session: Session, dataset: Dataset, rows: Sequence[DatasetVersion]) -> None:
    """Jobs that may still run, and models that somebody still has."""
    numbers = {row.id: row.number for row in rows}
    jobs = session.execute(
        select(Job.id, JobDataset.dataset_version_id)
        .join(JobDataset, JobDataset.job_id == Job.id)
        .where(
            JobDataset.dataset_version_id.in_(numbers),
            Job.status.not_in([status.value for status in FINAL]),
            Job.deleted_at.is_(None),
        )
        .order_by(Job.id)
    ).all()
    models = session.execute(
        select(Model.name, ModelDataset.dataset_version_id)
        .join(ModelDataset, ModelDataset.model_id == Model.id)
        .where(ModelDataset.dataset_version_id.in_(numbers), Model.deleted_at.is_(None))
        .order_by(Model.id)
    ).all()
    users = [f"job {name} uses version {numbers[version]}" for name, version in jobs]
    users += [f"model {name} was made of version {numbers[version]}" for name, version in models]
    if users:
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        raise Conflict(
            f"Dataset {dataset.name} is needed: {'; '.join(users[:5])}{more}. Nothing was deleted.",
            hint="Cancel the jobs, or delete the models, first.",
            code="dataset_in_use",
            name=dataset.name,
            jobs=[name for name, _ in jobs][:100],
            models=[name for name, _ in models][:100],
        )


@cache
def _preset(name: str, language: str = "en") -> Preset:
    path = _preset_path(name)
    role, english, chinese = _PRESETS[name]
    description = chinese if language == "zh" else english
    rows = [row for _, row in read_rows(path)]
    kind = find_layout(rows[:SAMPLE_ROWS], _reading(name), path.name).kind
    return Preset(name, description, role, len(rows), path.stat().st_size, {kind: len(rows)})


def _preset_path(name: str) -> Path:
    name = name if is_builtin(name) else BUILTIN + name
    if name not in _PRESETS:
        raise NotFound(
            f"No dataset {name} ships with tunesmith.",
            hint=f"There are {', '.join(_PRESETS)}.",
            code="dataset_not_found",
            id=name,
        )
    return resolve_dataset(name, Path())


def _reading(name: str) -> Any:
    return sources.reading(name, {})
