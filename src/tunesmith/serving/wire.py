"""Bodies of requests, as the OpenAI API has them. Unknown fields are refused by name.

Fields that change nothing here are taken and left alone, so that clients which always send them
work: they say who asks, or what to do at OpenAI's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_PLAIN = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=_PLAIN)]
MOST_STOPS = 16
LONGEST_STOP = 1000


class Body(BaseModel):
    """Every request: unknown fields are refused, numbers are finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class StreamOptions(Body):
    """What a stream has besides its text."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class Generation(Body):
    """What both kinds of requests say about how an answer is made.

    A temperature of None takes what the model's authors advise, and 0 where they advise nothing.
    """

    model: Name
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(1, ge=1, le=128)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=1_000_000)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    stop: (
        Annotated[str, Field(max_length=LONGEST_STOP)]
        | Annotated[
            list[Annotated[str, Field(max_length=LONGEST_STOP)]], Field(max_length=MOST_STOPS)
        ]
        | None
    ) = None
    ignore_eos: bool = False
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings; empty ones stop nothing."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)


class ResponseFormat(Body):
    """The form of an answer: plain text alone is offered."""

    type: Literal["text"] = "text"


class ChatBody(Generation):
    """POST /v1/chat/completions."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "starter", "messages": [{"role": "user", "content": "Hello"}]},
            ]
        }
    )

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=10_000)
    max_tokens: int | None = Field(None, ge=1, le=1 << 30)
    max_completion_tokens: int | None = Field(None, ge=1, le=1 << 30)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[dict[str, Any]] | None = Field(None, max_length=1000)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None


class CompletionBody(Generation):
    """POST /v1/completions."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "starter", "prompt": "Once upon a time"}]}
    )

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int | None = Field(16, ge=0, le=1 << 30)
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=20)
    suffix: None = None
    best_of: Literal[1] | None = None


class AdapterBody(Body):
    """POST /adapters."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "support", "path": "/models/support-adapter"}]}
    )

    name: Name
    path: Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=_PLAIN)]
