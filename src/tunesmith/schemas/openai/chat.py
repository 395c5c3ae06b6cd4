"""Questions to a model. What is not named here goes on as it came; the process checks it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Question(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=300, examples=["ft:starter:default:support:7q8w"])
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    store: bool | None = Field(
        None, description="False: the texts of this request are not kept, whatever the deployment."
    )


class ChatQuestion(_Question):
    """The body of /chat/completions."""

    messages: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=2048,
        examples=[[{"role": "user", "content": "Where is my order?"}]],
    )


class TextQuestion(_Question):
    """The body of /completions."""

    prompt: Any = Field(examples=["Once upon a time"])


class ChatAnswer(BaseModel):
    """The answer of /chat/completions, as OpenAI describes it."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None
