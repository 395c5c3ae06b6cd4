"""Files, uploads, datasets with versions, models with lineage: an index of the data directory."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from tunesmith.server.tables.base import Base


class File(Base):
    """A file as it was sent, stored under its id; its name is text to show, never a path."""

    __tablename__ = "files"
    __table_args__ = (
        CheckConstraint("state IN ('uploaded', 'processed', 'error')", name="state"),
        Index(None, "project_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int]
    sha256: Mapped[str]
    state: Mapped[str] = mapped_column(default="uploaded")
    state_details: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class Upload(Base):
    """A file on its way: by offset (`tus`), or in parts that are joined (`parts`)."""

    __tablename__ = "uploads"
    __table_args__ = (
        CheckConstraint("kind IN ('tus', 'parts')", name="kind"),
        CheckConstraint("state IN ('pending', 'completed', 'cancelled', 'expired')", name="state"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    kind: Mapped[str]
    filename: Mapped[str]
    purpose: Mapped[str]
    mime_type: Mapped[str] = mapped_column(default="")
    bytes: Mapped[int]
    received_bytes: Mapped[int] = mapped_column(default=0)
    sha256: Mapped[str | None]  # as promised by the sender
    state: Mapped[str] = mapped_column(default="pending")
    file_seconds: Mapped[int | None]  # how long its file will be kept
    file_id: Mapped[str | None] = mapped_column(ForeignKey("files.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class UploadPart(Base):
    """One part of an upload in parts."""

    __tablename__ = "upload_parts"

    id: Mapped[str] = mapped_column(primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), index=True)
    bytes: Mapped[int]
    created_at: Mapped[datetime]


class Dataset(Base):
    """A dataset; `folder` is its name in the data directory, which all projects share."""

    __tablename__ = "datasets"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'general')", name="role"),
        Index(  # a name is free again once its dataset was deleted
            "uq_datasets_name",
            "project_id",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    folder: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(default="")
    tags: Mapped[list[str]] = mapped_column(default=list)
    licence: Mapped[str] = mapped_column(default="")
    language: Mapped[str] = mapped_column(default="")
    role: Mapped[str] = mapped_column(default="user")
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class DatasetVersion(Base):
    """A published version; its manifest on the disk is the truth, this row finds it."""

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    number: Mapped[int]
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("dataset_versions.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    rows: Mapped[int]
    bytes: Mapped[int]
    content: Mapped[str]  # SHA-256 over the digests of the rows
    kinds: Mapped[dict[str, Any]] = mapped_column(default=dict)
    note: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Model(Base):
    """A model that can be trained on or used: a preset, an import, the result of a job.

    Lineage: `base` is what the weights rest on, `parent_id` the model that a job started from,
    `job_id`, `recipe` and `ModelDataset` how it came to be. A job has one result: the index below
    refuses a second one; models made of its checkpoints name the checkpoint.
    """

    __tablename__ = "models"
    __table_args__ = (
        CheckConstraint("kind IN ('base', 'adapter', 'full')", name="kind"),
        Index(
            "uq_models_result_of_job",
            "job_id",
            unique=True,
            sqlite_where=text("checkpoint_id IS NULL"),
            postgresql_where=text("checkpoint_id IS NULL"),
        ),
        # A name is one model's in its project; one that everybody may use shares it with none such.
        Index(
            "uq_models_name",
            "project_id",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "uq_models_shared_name",
            "name",
            unique=True,
            sqlite_where=text("project_id IS NULL AND deleted_at IS NULL"),
            postgresql_where=text("project_id IS NULL AND deleted_at IS NULL"),
        ),
        Index(None, "project_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]  # Qwen/Qwen3-0.6B, ft:...
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))  # None: everybody's
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    kind: Mapped[str]
    source: Mapped[str]  # hub, modelscope, github, folder, job
    base: Mapped[str]
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    checkpoint_id: Mapped[str | None] = mapped_column(ForeignKey("checkpoints.id"), unique=True)
    recipe: Mapped[dict[str, Any] | None]
    task: Mapped[str] = mapped_column(default="text generation")
    description: Mapped[str] = mapped_column(default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)  # size, context, methods
    bytes: Mapped[int] = mapped_column(default=0)
    manifest_sha256: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class ModelDataset(Base):
    """The dataset versions that a model was trained on."""

    __tablename__ = "model_datasets"

    model_id: Mapped[str] = mapped_column(
        ForeignKey("models.id", ondelete="CASCADE"), primary_key=True
    )
    dataset_version_id: Mapped[str] = mapped_column(
        ForeignKey("dataset_versions.id"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(primary_key=True)  # train, validation, test
