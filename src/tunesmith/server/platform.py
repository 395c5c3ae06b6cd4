"""The parts of the platform, built in order: what an API process or a command holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir, StorageWatch
from tunesmith.server.feed import Feed
from tunesmith.server.known import Known
from tunesmith.server.notices.gateways import NoticeSettings
from tunesmith.server.oidc import Oidc
from tunesmith.server.quotas import Limits
from tunesmith.server.services.advice import Advice
from tunesmith.server.services.audit import Audit
from tunesmith.server.services.checkpoints import Checkpoints
from tunesmith.server.services.copies import Copies
from tunesmith.server.services.deployments import Deployments
from tunesmith.server.services.evaluations import Evaluations
from tunesmith.server.services.files import Files
from tunesmith.server.services.jobs import Jobs
from tunesmith.server.services.logs import JobLogs
from tunesmith.server.services.metrics import JobMetrics
from tunesmith.server.services.models import Models
from tunesmith.server.services.notices import Notices
from tunesmith.server.services.people import People
from tunesmith.server.services.projects import Projects
from tunesmith.server.services.tasks import Tasks
from tunesmith.server.services.tokens import Tokens
from tunesmith.server.services.tracing import Tracing
from tunesmith.server.services.uploads import PartUploads, Pending, TusUploads
from tunesmith.server.services.usage import Usage
from tunesmith.server.services.workers import Workers
from tunesmith.server.settings import Settings

if TYPE_CHECKING:
    from tunesmith.server.services.datasets.registry import Datasets


@dataclass(frozen=True)
class Platform:
    """One service a noun; routes find them here."""

    settings: Settings
    database: Database
    place: DataDir
    storage: StorageWatch
    people: People
    projects: Projects
    tokens: Tokens
    audit: Audit
    tasks: Tasks
    files: Files
    uploads: TusUploads
    part_uploads: PartUploads
    jobs: Jobs
    advice: Advice
    feed: Feed
    copies: Copies
    checkpoints: Checkpoints
    metrics: JobMetrics
    logs: JobLogs
    models: Models
    deployments: Deployments
    evaluations: Evaluations
    tracing: Tracing
    oidc: Oidc
    notices: Notices
    workers: Workers
    usage: Usage

    @cached_property
    def datasets(self) -> Datasets:
        """Made when somebody asks: what reads rows takes long to load, and a start waits for it."""
        from tunesmith.server.services.datasets.registry import Datasets

        return Datasets(self.database, self.place, self.tasks, self.settings)

    def close(self) -> None:
        self.database.close()


def build_platform(settings: Settings) -> Platform:
    """The services of an installation; its database must be migrated."""
    database = Database(settings.database, timeout=settings.database_timeout)
    known = Known()
    tasks, people = Tasks(database), People(database, known)
    place, limits = DataDir(settings.data_dir), Limits.of(settings)
    files = Files(database, place, limits)
    notices = Notices(database, NoticeSettings.of(settings))
    jobs = Jobs(database, settings, tasks, notices)
    pending = Pending(database, place, settings)
    evaluations = Evaluations(database, place, tasks, settings)
    return Platform(
        settings=settings,
        database=database,
        place=place,
        storage=StorageWatch(settings.data_dir),
        people=people,
        projects=Projects(database, known),
        tokens=Tokens(database, known),
        audit=Audit(database),
        tasks=tasks,
        files=files,
        uploads=TusUploads(pending, files, settings),
        part_uploads=PartUploads(pending, files, settings),
        jobs=jobs,
        advice=Advice(database, settings),
        feed=Feed(database),
        copies=Copies(database, jobs, place),
        checkpoints=Checkpoints(database),
        metrics=JobMetrics(database),
        logs=JobLogs(database, place),
        models=Models(database, tasks, settings),
        deployments=Deployments(database, settings),
        evaluations=evaluations,
        tracing=Tracing(database, place, tasks, evaluations),
        oidc=Oidc(database, people, settings),
        notices=notices,
        workers=Workers(database, place),
        usage=Usage(database, place, limits),
    )
