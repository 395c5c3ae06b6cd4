"""Evaluations: what to find out about a model, and what was found."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from tunesmith.schemas.common import Answer, Request
from tunesmith.schemas.models import ModelName

ScoreName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
Verdict = Literal["promote", "hold", "reject"]
Outcome = Literal["won", "lost", "same"]


class EvaluationCreate(Request):
    """A model to score on rows, beside its base unless `compares` is false."""

    model: ModelName = Field(examples=["ft:starter:default:support:7q8wz2c7"])
    base: ModelName | None = Field(
        None, description="The model to compare with; missing: the one that it rests on."
    )
    compares: bool = Field(True, description="False: score the model alone.")
    dataset: ModelName | None = Field(
        None, description="Name, name@version or id of the rows.", examples=["support-test@2"]
    )
    job_id: str | None = Field(
        None, max_length=100, description="Instead of `dataset`: the test rows of this job."
    )
    split: str = Field("test", pattern=r"^[\w-]{1,40}$", description="Where the rows have splits.")
    scores: list[ScoreName] = Field(
        default_factory=list[str],
        max_length=20,
        description="The primary one first; empty: those that suit the reference answers.",
    )
    max_rows: int | None = Field(None, ge=1, le=1_000_000)
    gate: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="Rules of the verdict, as `gate` of a recipe has them.",
        examples=[{"min_gain": 0.02}],
    )
    project_id: str | None = Field(None, max_length=100)


class EvaluationRead(Answer):
    """An evaluation, how far it is, and what it found."""

    id: str
    project_id: str
    user_id: str
    task_id: str
    state: str = Field(description="Of its task: queued, running, succeeded, failed, cancelled.")
    progress: dict[str, Any]
    error: dict[str, Any] | None
    model_id: str | None
    model: str
    base: str = Field(description="Empty where the model was scored alone.")
    job_id: str | None
    dataset_version_id: str | None
    data: str
    verdict: Verdict | None
    summary: dict[str, Any] = Field(description="Scores, differences with intervals, the reason.")
    created_at: datetime
    finished_at: datetime | None


class AnsweredRead(Answer):
    """What a model answered to a row; `value` is its score, null where the row has none."""

    text: str
    value: float | None
    seconds: float
    finish_reason: str
    error: str = Field(description="Why the request was refused; empty where it was answered.")


class EvaluationRow(Answer):
    """One row: `outcome` is that of the tuned model against its base, null without a base."""

    id: str
    messages: list[Any]
    reference: str
    base: AnsweredRead | None
    tuned: AnsweredRead
    outcome: Outcome | None


class EvaluationRows(Answer):
    """Part of the rows; go on with `skip=<next_skip>`."""

    data: list[EvaluationRow]
    has_more: bool
    next_skip: int | None
    total: int = Field(description="Rows of this outcome.")
    counts: dict[str, int] = Field(description="Rows won, lost and the same, by this score.")
    score: str
