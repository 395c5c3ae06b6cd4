"""Deployments: models that answer, and what they were asked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from tunesmith.schemas.common import Answer, Request, Text
from tunesmith.schemas.models import ModelName

DeploymentStatus = Literal["stopped", "starting", "ready", "failed"]
IdleSeconds = Annotated[
    int,
    Field(
        ge=0,
        le=30 * 86_400,
        description="Stop after this long without a question; 0: never.",
        examples=[900],
    ),
]


class DeploymentCreate(Request):
    """A model, checkpoint or adapter that people should be able to ask."""

    model: ModelName = Field(
        description="Name or id of a model or checkpoint.",
        examples=["ft:starter:default:support:7q8wz2c7d4e"],
    )
    name: ModelName | None = Field(
        None, description="What requests call `model`; the model's own name where it is missing."
    )
    project_id: str | None = Field(None, max_length=100)
    autostart: bool = Field(True, description="Start by itself when somebody asks.")
    idle_seconds: IdleSeconds | None = None
    keeps_requests: bool = Field(True, description="Keep questions and answers to look at.")
    starts: bool = Field(True, description="Start now.")
    overrides_gate: bool = Field(
        False,
        description="Deploy a model whose verdict is not `promote`: admins of the project only.",
    )
    override_reason: Text = Field(
        "",
        description="Why the verdict is overridden; it stands in the audit.",
        examples=["Urgent"],
    )


class DeploymentUpdate(Request):
    """What changes; what is missing stays."""

    autostart: bool | None = Field(None, examples=[True])
    idle_seconds: IdleSeconds | None = None
    keeps_requests: bool | None = None


class DeploymentRead(Answer):
    """A deployment and how it is."""

    id: str
    name: str
    project_id: str
    user_id: str
    model_id: str | None
    base: str
    status: DeploymentStatus
    reason: str
    error: dict[str, Any] | None
    autostart: bool
    idle_seconds: int
    keeps_requests: bool
    overrides_gate: bool
    num_requests: int
    used_at: datetime | None
    created_at: datetime
    changed_at: datetime


class AskedRead(Answer):
    """One request; `question` and `answer` are empty where they were not kept."""

    id: str
    deployment_id: str
    user_id: str
    time: datetime
    kind: str
    status_code: int
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    first_token_seconds: float | None
    question: list[Any] | None
    answer: str | None
