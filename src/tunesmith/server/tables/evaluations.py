"""What was found out about models: scores on rows, and verdicts beside their base."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tunesmith.server.tables.base import Base


class Evaluation(Base):
    """One model scored on rows, or compared with another on the same rows.

    `base` is empty unless two models are compared. The folder of that id holds answers, scores and
    the report; `summary` is what lists show of it. The task says how far it is.
    """

    __tablename__ = "evaluations"
    __table_args__ = (
        CheckConstraint("verdict IN ('promote', 'hold', 'reject')", name="verdict"),
        Index(None, "project_id", "id"),
        Index(None, "model_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"), index=True)
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    model: Mapped[str]
    base: Mapped[str] = mapped_column(default="")
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    dataset_version_id: Mapped[str | None] = mapped_column(
        ForeignKey("dataset_versions.id"), index=True
    )
    data: Mapped[str]  # what people call the rows
    verdict: Mapped[str | None]
    summary: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
