"""Subscriptions to what happens to jobs and deployments, and what was sent for them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tunesmith.schemas.common import Answer, Request

_PLAIN = r"^[^\x00-\x1f\x7f]*$"
Address = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=_PLAIN)]
Channel = Annotated[str, StringConstraints(min_length=1, max_length=20, pattern=_PLAIN)]
EventName = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=_PLAIN)]
Events = Annotated[list[EventName], Field(min_length=1, max_length=20)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PLAIN)]
Language = Annotated[str, StringConstraints(max_length=20, pattern=_PLAIN)]
RobotSecret = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PLAIN)]
_TOLD = ["job.succeeded", "job.failed"]


class SubscriptionCreate(Request):
    """Where to tell what. Without `job_id`: of all jobs and deployments of the project."""

    channel: Channel = Field(
        description="mail, sms, wecom, dingtalk, feishu, slack, webhook.", examples=["webhook"]
    )
    address: Address = Field(examples=["https://hooks.example.com/tunesmith"])
    events: Events = Field(default_factory=lambda: list(_TOLD), examples=[_TOLD])
    project_id: Id | None = None
    job_id: Id | None = None
    language: Language | None = Field(None, description="Empty: that of the request.")
    secret: RobotSecret | None = Field(
        None, description="Of a DingTalk or Feishu robot that signs; a webhook's is made here."
    )


class SubscriptionUpdate(Request):
    """What is named is changed. Turned on again, nothing of what was missed is sent."""

    events: Events | None = Field(None, examples=[_TOLD])
    address: Address | None = None
    language: Language | None = Field(None, examples=["zh"])
    enabled: bool | None = Field(None, examples=[True])


class SubscriptionRead(Answer):
    """A subscription; the address is masked."""

    id: str
    user_id: str
    project_id: str
    job_id: str | None
    channel: str
    address: str
    events: list[str]
    language: str
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: str


class SubscriptionSecret(SubscriptionRead):
    """`secret` verifies what a webhook gets. It is shown in this answer and nowhere else."""

    secret: str | None


class TryRead(Answer):
    """One try to deliver a notice."""

    number: int
    time: datetime
    seconds: float
    outcome: str
    status_code: int | None
    error: str


class SentNoticeRead(Answer):
    """A notice of a subscription, with all that was tried to deliver it."""

    id: str
    event: str
    job_id: str | None
    state: Literal["pending", "sent", "failed"]
    created_at: datetime
    sent_at: datetime | None
    next_try_at: datetime | None
    tries: list[TryRead]
