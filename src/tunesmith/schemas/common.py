"""How every answer of the native API looks: lists, errors, times."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Item = TypeVar("Item")

# Text for people: no control characters but line breaks and tabs, which databases and logs refuse.
_PRINTABLE = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]
Text = Annotated[str, StringConstraints(max_length=10_000, pattern=_PRINTABLE)]


class Request(BaseModel):
    """A body from a client: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """A body for a client, read from a row of a table or any object with such attributes."""

    model_config = ConfigDict(from_attributes=True, defer_build=True)


class Listed(Answer, Generic[Item]):
    """Part of a list, newest first; the next part is asked for with `after=<last_id>`."""

    data: list[Item]
    has_more: bool
    last_id: str | None = None


class ErrorAnswer(BaseModel):
    """What happened, where, and what to do; `code` is for programs and never changes."""

    code: str
    message: str
    hint: str = ""
    param: str | None = None
    request_id: str
    details: dict[str, Any] = Field(default_factory=dict[str, Any])


class ErrorBody(BaseModel):
    """Every answer above 399 looks like this."""

    error: ErrorAnswer


class HealthWarning(BaseModel):
    """What an administrator should look at; the server answers in any case."""

    code: str
    message: str
    hint: str


class Health(BaseModel):
    """Whether the server and its database answer."""

    status: str
    version: str
    database: str
    read_only_since: datetime | None = Field(
        description="The data directory cannot be written since then: reading works, jobs wait."
    )
    time: datetime
    needs_setup: bool = Field(description="No password is set yet: sign in with the first token.")
    workers_running: int = Field(description="Workers that take jobs now.")
    workers_silent: int = Field(
        description="Known workers that were not heard of for half a minute, or were killed."
    )
    workers_heard_seconds: float | None = Field(
        None,
        examples=[2.4],
        description="How long ago the running worker of the oldest heartbeat was heard of. "
        "A worker on the machine of the server that is killed is told at once; of one on another "
        "machine this is all that is known, until it counts as silent.",
    )
    warnings: list[HealthWarning] = Field(default_factory=list[HealthWarning])
