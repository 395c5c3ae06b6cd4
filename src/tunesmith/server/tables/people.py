"""Users, their tokens, projects and what a member may do there, and who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from tunesmith.server.tables.base import Base


class User(Base):
    """Somebody who may log in. A limit that is None is the installation's (settings.py)."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    oidc_subject: Mapped[str | None] = mapped_column(unique=True)
    is_admin: Mapped[bool] = mapped_column(default=False)
    language: Mapped[str] = mapped_column(default="en")
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    quota_running_jobs: Mapped[int | None]
    quota_device_hours: Mapped[float | None]
    quota_storage_bytes: Mapped[int | None]
    credit_cents: Mapped[int | None]  # None: not charged


class Token(Base):
    """An API key: shown once, stored as a hash; `prefix` lets people recognise it."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    prefix: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Project(Base):
    """What a team shares: datasets, jobs, models, a queue. `weight` is its share of the devices."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(default="")
    weight: Mapped[float] = mapped_column(default=1.0)
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]


class Membership(Base):
    """A user in a project."""

    __tablename__ = "memberships"
    __table_args__ = (CheckConstraint("role IN ('admin', 'member', 'viewer')", name="role"),)

    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    project_id: Mapped[str] = mapped_column(
        ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str]
    created_at: Mapped[datetime]


class AuditEntry(Base):
    """Who did what to which thing; only ever added. Names no row by key, so it outlives them."""

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(primary_key=True)
    time: Mapped[datetime]
    user_id: Mapped[str | None] = mapped_column(index=True)
    token_id: Mapped[str | None]
    project_id: Mapped[str | None] = mapped_column(index=True)
    action: Mapped[str]
    target: Mapped[str] = mapped_column(default="", index=True)
    request_id: Mapped[str] = mapped_column(default="")
    address: Mapped[str] = mapped_column(default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class UsedSignIn(Base):
    """An answer of the identity provider that has counted: none counts twice, on any server."""

    __tablename__ = "used_sign_ins"

    id: Mapped[str] = mapped_column(primary_key=True)  # SHA-256 of its state
    expires_at: Mapped[datetime]  # then no cookie fits it any more
