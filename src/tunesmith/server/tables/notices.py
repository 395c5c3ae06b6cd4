"""Who wants to be told of what, what they are told, and each try to tell it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tunesmith.server.tables.base import Base


class Subscription(Base):
    """Events of a job, or of all jobs of a project, to one address.

    `secret` signs webhooks, or messages to a DingTalk or Feishu robot that wants that; `old_secret`
    signs beside it for a while after a rotation. `failing_since` is empty while deliveries work.
    """

    __tablename__ = "subscriptions"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    project_id: Mapped[str] = mapped_column(
        ForeignKey("projects.id", ondelete="CASCADE"), index=True
    )
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), index=True
    )
    events: Mapped[list[str]]
    channel: Mapped[str]  # mail, sms, wecom, dingtalk, feishu, slack, webhook
    address: Mapped[str]  # sealed, as are the secrets (sealing.py); never shown whole
    secret: Mapped[str | None]
    old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None]
    language: Mapped[str] = mapped_column(default="en")
    created_at: Mapped[datetime]
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str] = mapped_column(default="")  # user, gone, failing


class Notice(Base):
    """One message to one subscriber, written in the transaction of what it tells.

    `lease_until` is a reading of the lease clock: until then, one process is sending it.
    `num_tries` is also the token of that process.
    """

    __tablename__ = "notices"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'sent', 'failed')", name="state"),
        Index(None, "state", "next_try_at"),
        Index(None, "subscription_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    subscription_id: Mapped[str] = mapped_column(ForeignKey("subscriptions.id", ondelete="CASCADE"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    event: Mapped[str]
    body: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default="pending")
    num_tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    lease_until: Mapped[float | None]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class Delivery(Base):
    """One try to deliver a notice; never what the other side wrote, only its status."""

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint("outcome IN ('sent', 'retry', 'failed', 'disabled')", name="outcome"),
    )

    notice_id: Mapped[str] = mapped_column(
        ForeignKey("notices.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time: Mapped[datetime]
    seconds: Mapped[float]
    outcome: Mapped[str]
    status_code: Mapped[int | None]
    error: Mapped[str] = mapped_column(default="")
