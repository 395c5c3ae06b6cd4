"""Files, uploads and their parts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tunesmith.schemas.common import Answer, Request
from tunesmith.schemas.files import Filename, Purpose, SentPurpose
from tunesmith.schemas.openai.common import Id, Seconds


class ExpiresAfter(Request):
    """When a file deletes itself."""

    anchor: Literal["created_at"] = Field(examples=["created_at"])
    seconds: int = Field(ge=3600, le=2_592_000, examples=[86400])


class FileCreate(Request):
    """The fields of the form beside its file."""

    purpose: SentPurpose
    expires_after: ExpiresAfter | None = None


class FileObject(Answer):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: Seconds
    filename: str
    purpose: Purpose
    status: Literal["uploaded", "processed", "error"]
    status_details: str | None
    expires_at: Seconds | None


class FileDeleted(Answer):
    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


class UploadCreate(Request):
    """What is announced about a file that comes in parts."""

    bytes: int = Field(ge=0, le=8 << 30, examples=[1024])
    filename: Filename = Field(examples=["train.jsonl"])
    mime_type: str = Field(max_length=255, examples=["application/jsonl"])
    purpose: SentPurpose = Field(examples=["fine-tune"])
    expires_after: ExpiresAfter | None = None


class UploadComplete(Request):
    """The parts in the order of the file."""

    part_ids: list[Id] = Field(max_length=10_000, examples=[["part-01kat3v9m0b6x1r5q8wz2c7d4e"]])
    md5: Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{32}$")] | None = None


class UploadObject(Answer):
    """A file on its way."""

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: Seconds
    expires_at: Seconds
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: FileObject | None = None


class PartObject(Answer):
    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: Seconds
    upload_id: str
