"""Models that answer: deployments, the processes that hold their bases, what they were asked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from tunesmith.server.tables.base import Base


class Serving(Base):
    """A process of one worker that holds one base model and answers for many deployments.

    `base` is what it was started with: the id of a model, `starter`, or an id of a hub. `secret` is
    the key that its address asks for; it dies with the process.
    """

    __tablename__ = "servings"

    id: Mapped[str] = mapped_column(primary_key=True)
    worker_id: Mapped[str] = mapped_column(ForeignKey("workers.id", ondelete="CASCADE"), index=True)
    base: Mapped[str]
    address: Mapped[str]
    secret: Mapped[str]
    memory_bytes: Mapped[int]  # as estimated before it was started
    started_at: Mapped[datetime]


class Deployment(Base):
    """A model that people may ask. Its status changes in server/deployments/states.py only.

    `base` says which process it needs; `model_id` is empty for a base that has no row, as `starter`
    has none. `adapter_id` names the model whose files the process loads on top. Readings of the
    lease clock: `heard_lease` is when the worker last said something, `used_lease` when it was
    last asked.
    """

    __tablename__ = "deployments"
    __table_args__ = (
        CheckConstraint("status IN ('stopped', 'starting', 'ready', 'failed')", name="status"),
        Index(
            "uq_deployments_name",
            "project_id",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(None, "project_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]  # what requests call `model`
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"), index=True)
    adapter_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    base: Mapped[str]
    status: Mapped[str] = mapped_column(default="stopped")
    reason: Mapped[str] = mapped_column(default="")
    error: Mapped[dict[str, Any] | None]
    serving_id: Mapped[str | None] = mapped_column(
        ForeignKey("servings.id", ondelete="SET NULL"), index=True
    )
    num_failures: Mapped[int] = mapped_column(default=0)  # in a row
    autostart: Mapped[bool] = mapped_column(default=True)
    idle_seconds: Mapped[int]  # after that long without a request it stops; 0: never
    keeps_requests: Mapped[bool] = mapped_column(default=True)
    overrides_gate: Mapped[bool] = mapped_column(default=False)  # deployed though it did not pass
    num_requests: Mapped[int] = mapped_column(default=0)
    used_at: Mapped[datetime | None]
    used_lease: Mapped[float]
    heard_lease: Mapped[float]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class AskedRequest(Base):
    """One request to a deployment. Texts are kept only where deployment and request allow it."""

    __tablename__ = "asked_requests"
    __table_args__ = (Index(None, "deployment_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    time: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str]  # chat, completion
    status_code: Mapped[int]
    finish_reason: Mapped[str] = mapped_column(default="")
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    completion_tokens: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float]
    first_token_seconds: Mapped[float | None]
    question: Mapped[list[Any] | None]
    answer: Mapped[str | None]
