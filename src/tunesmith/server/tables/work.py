"""Jobs and what happens to them: attempts, events, checkpoints, workers, devices."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from tunesmith.server.tables.base import Base

STATUSES = (
    "validating_files",
    "queued",
    "starting",
    "running",
    "pausing",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
)


class Job(Base):
    """A training. Only states.transition() changes `status` and what hangs on it.

    `attempt` counts claims and is the fencing token; `tries` counts those since a user last
    started the job, and is bounded. `lease_until` and `heard_at` are readings of the lease clock.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status IN {STATUSES!r}", name="status"),
        CheckConstraint("intent IN ('pause', 'stop', 'cancel')", name="intent"),
        Index(None, "project_id", "id"),
        Index(None, "status", "project_id", "priority", "position"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    labels: Mapped[dict[str, Any] | None]  # metadata of the OpenAI API
    recipe: Mapped[dict[str, Any]]
    request: Mapped[dict[str, Any] | None]  # as it came, for the API that must show it again
    base: Mapped[str]
    # Without foreign keys: models and checkpoints point at jobs, and no table can come first twice.
    base_model_id: Mapped[str | None]
    checkpoint_id: Mapped[str | None]  # where a branch goes on from
    parent_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id")
    )  # retried, cloned, branched

    # in the queue
    priority: Mapped[int] = mapped_column(default=0)
    position: Mapped[float] = mapped_column(default=0.0)
    num_devices: Mapped[int] = mapped_column(default=1)
    flavour: Mapped[str] = mapped_column(default="")  # of the device; empty: any
    flavour_name: Mapped[str] = mapped_column(default="")  # as it was chosen, with its price
    price_cents_per_hour: Mapped[float] = mapped_column(default=0.0)  # as it was ordered
    expected: Mapped[dict[str, Any] | None]  # the estimate it was ordered by: services/estimates.py
    queued_lease: Mapped[float | None]

    # state
    status: Mapped[str] = mapped_column(default="validating_files")
    reason: Mapped[str] = mapped_column(default="")
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    # the claim
    attempt: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)
    worker_id: Mapped[str | None] = mapped_column(ForeignKey("workers.id"), index=True)
    lease_until: Mapped[float | None]
    heard_at: Mapped[float | None]
    intent: Mapped[str | None]
    intent_by: Mapped[str | None]
    intent_lease: Mapped[float | None]

    # what its events said last
    event_count: Mapped[int] = mapped_column(default=0)
    shipped_attempt: Mapped[int] = mapped_column(default=0)
    shipped_seq: Mapped[int] = mapped_column(default=0)
    shipped_offset: Mapped[int] = mapped_column(default=0)
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int | None]
    loss: Mapped[float | None]
    trained_tokens: Mapped[int | None]
    eta_seconds: Mapped[float | None]
    peak_memory_bytes: Mapped[int | None]  # of one device


class JobDataset(Base):
    """Dataset versions of a job: while it lives, they may not be deleted."""

    __tablename__ = "job_datasets"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    dataset_version_id: Mapped[str] = mapped_column(
        ForeignKey("dataset_versions.id"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(primary_key=True)  # train, validation, test


class Attempt(Base):
    """One claim of a job by one worker; `outcome` is empty while it lasts."""

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "user_id", "claimed_at"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[str] = mapped_column(ForeignKey("workers.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    devices: Mapped[list[int]]
    claimed_at: Mapped[datetime]
    claimed_lease: Mapped[float]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(default="")  # the status it ended in
    reason: Mapped[str] = mapped_column(default="")
    device_seconds: Mapped[float] = mapped_column(default=0.0)
    charged_cents: Mapped[int] = mapped_column(default=0)


class CreditHold(Base):
    """Credit of a user that is held for a job which waits or runs; gone once it stopped."""

    __tablename__ = "credit_holds"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    cents: Mapped[int]


class Event(Base):
    """What happened to a job, in order; only ever added. Numbers of a job have no gaps.

    Events of the engine have its (attempt, seq); those of the platform have no seq. Steps are
    metric points and share the numbering.
    """

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("job_id", "attempt", "seq"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    seq: Mapped[int | None]
    type: Mapped[str]
    level: Mapped[str] = mapped_column(default="info")  # info, warn, error
    message: Mapped[str] = mapped_column(default="")
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]


class MetricPoint(Base):
    """One optimizer step of a job: in a file of its own on SQLite, so without a foreign key."""

    __tablename__ = "points"
    __table_args__ = {"schema": "metrics", "sqlite_with_rowid": False}  # noqa: RUF012

    job_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int]
    seq: Mapped[int]
    step: Mapped[int]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Checkpoint(Base):
    """A verified checkpoint of a job; its folder is checkpoints/step-... of the run."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("job_id", "step"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    step: Mapped[int]
    bytes: Mapped[int] = mapped_column(default=0)
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class CheckpointPermission(Base):
    """Another project that may use a checkpoint."""

    __tablename__ = "checkpoint_permissions"
    __table_args__ = (UniqueConstraint("checkpoint_id", "project_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]


class Submission(Base):
    """A request that made a job, so that the same request again finds it."""

    __tablename__ = "submissions"
    __table_args__ = (
        UniqueConstraint("user_id", "key"),
        Index(None, "user_id", "body_sha256", "created_at"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    key: Mapped[str | None]
    body_sha256: Mapped[str]
    # Made by a retry whose original has not come yet: that one is still on its way.
    is_ahead: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime]


class Worker(Base):
    """A process that runs jobs; it keeps its row over restarts, by name."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    host: Mapped[str] = mapped_column(default="")
    backend: Mapped[str] = mapped_column(default="local")
    version: Mapped[str] = mapped_column(default="")
    accepts_jobs: Mapped[bool] = mapped_column(default=True)
    registered_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    lease_until: Mapped[float]


class Device(Base):
    """A GPU, or the CPU of a machine without one; `job_id` is who has it."""

    __tablename__ = "devices"

    worker_id: Mapped[str] = mapped_column(
        ForeignKey("workers.id", ondelete="CASCADE"), primary_key=True
    )
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(default="")
    flavour: Mapped[str] = mapped_column(default="")
    memory_bytes: Mapped[int | None]
    missing_since: Mapped[datetime | None]  # configured, but not found any more
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)


class LeaseClock(Base):
    """One row: the clock that leases are counted in (clock.py)."""

    __tablename__ = "lease_clock"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seconds: Mapped[float]
    wall: Mapped[datetime]
