"""Files and uploads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tunesmith.schemas.common import Answer, Request

SentPurpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
Purpose = Literal[SentPurpose, "assistants_output", "batch_output", "fine-tune-results"]
Filename = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{64}$", to_lower=True)]


class FileMeta(Request):
    """The fields of the form beside its file."""

    purpose: SentPurpose = Field("fine-tune", examples=["fine-tune"])
    project_id: str | None = Field(None, max_length=100)
    expires_after_seconds: int | None = Field(
        None, ge=3600, le=2_592_000, description="Delete it by itself so long after it came."
    )


class FileRead(Answer):
    """A file; `filename` is text to show and may hold anything but control characters."""

    id: str
    project_id: str
    user_id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    state: Literal["uploaded", "processed", "error"]
    state_details: str
    created_at: datetime
    expires_at: datetime | None


class UploadMeta(Request):
    """What tus calls the metadata of an upload, each value in Base64."""

    filename: Filename = "file"
    purpose: SentPurpose = "fine-tune"
    sha256: Sha256 | None = None
    mime: str = Field("", max_length=255)
    project_id: str | None = Field(None, max_length=100)


class UploadRead(Answer):
    """An upload that is not finished: go on at `received_bytes`."""

    id: str
    project_id: str
    filename: str
    purpose: str
    bytes: int
    received_bytes: int
    state: Literal["pending", "completed", "cancelled", "expired"]
    file_id: str | None
    created_at: datetime
    expires_at: datetime
