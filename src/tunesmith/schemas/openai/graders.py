"""Running and checking graders."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tunesmith.evaluation.graders import Grader
from tunesmith.schemas.common import Answer, Request

_EXAMPLE: dict[str, Any] = {
    "type": "string_check",
    "name": "same",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


class GraderRun(Request):
    """One answer to grade; `item` is the row that it belongs to."""

    grader: Grader = Field(examples=[_EXAMPLE])
    model_sample: str = Field(max_length=1_000_000, examples=["yes"])
    item: Any = Field(None, examples=[{"answer": "yes"}])


class GraderValidate(Request):
    """A grader to look at; nothing is run."""

    grader: Grader = Field(examples=[_EXAMPLE])


class GraderErrors(Answer):
    """What went wrong, one flag a cause."""

    formula_parse_error: bool
    sample_parse_error: bool
    truncated_observation_error: bool
    unresponsive_reward_error: bool
    invalid_variable_error: bool
    other_error: bool
    python_grader_server_error: bool
    python_grader_server_error_type: str | None
    python_grader_runtime_error: bool
    python_grader_runtime_error_details: str | None
    model_grader_server_error: bool
    model_grader_server_error_details: str | None
    model_grader_refusal_error: bool
    model_grader_parse_error: bool


class GraderMetadata(Answer):
    name: str
    type: str
    scores: dict[str, float]
    execution_time: float = Field(description="In seconds.")
    token_usage: int | None
    sampled_model_name: str | None
    errors: GraderErrors


class GraderResult(Answer):
    """The reward of one answer; 0 where a flag of `metadata.errors` is set."""

    reward: float
    sub_rewards: dict[str, float]
    metadata: GraderMetadata
    model_grader_token_usage_per_model: dict[str, Any] = Field(default_factory=dict[str, Any])


class GraderChecked(Answer):
    grader: dict[str, Any]
