"""Uploads: a file in parts of up to 64 MiB, joined at the end."""

from __future__ import annotations

from typing import Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request

from tunesmith.api.dependencies import CallerDep, CallerFirst, PlatformDep
from tunesmith.api.forms import in_thread_to_the_end, receive_form
from tunesmith.api.routes.openai.files import file_object, lifetime
from tunesmith.schemas.openai.files import (
    PartObject,
    UploadComplete,
    UploadCreate,
    UploadObject,
)
from tunesmith.server.services.uploads import NewUpload

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=CallerFirst)
_PART: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {"data": {"type": "string", "format": "binary"}},
                },
                "example": {"data": '{"messages": []}'},
            }
        },
    }
}


@router.post("")
def create_upload(body: UploadCreate, caller: CallerDep, platform: PlatformDep) -> UploadObject:
    """Announce a file; it has an hour to arrive."""
    new = NewUpload(
        body.bytes,
        body.filename,
        body.purpose,
        mime_type=body.mime_type,
        file_lifetime=lifetime(body.expires_after),
    )
    return upload_object(platform.part_uploads.create(caller, new))


@router.get("/{upload_id}")
def get_upload(upload_id: str, caller: CallerDep, platform: PlatformDep) -> UploadObject:
    """How it stands; after an hour it is `expired`."""
    upload = platform.part_uploads.get(caller, upload_id)
    return upload_object(upload, platform.part_uploads.file(caller, upload))


@router.post("/{upload_id}/parts", openapi_extra=_PART)
async def add_part(
    upload_id: str, request: Request, caller: CallerDep, platform: PlatformDep
) -> PartObject:
    """Send one part; parts may come in any order and beside each other."""
    uploads = platform.part_uploads
    announced = int(request.headers.get("content-length") or 0)
    incoming = await to_thread.run_sync(uploads.begin_part, caller, upload_id, announced)
    try:
        await receive_form(request, incoming, file_field="data")
        part = await to_thread.run_sync(uploads.add_part, caller, upload_id, incoming)
        return PartObject.model_validate(part)
    finally:
        await in_thread_to_the_end(incoming.discard)


@router.post("/{upload_id}/complete")
def complete_upload(
    upload_id: str, body: UploadComplete, caller: CallerDep, platform: PlatformDep
) -> UploadObject:
    """Join the parts; the sum of their sizes is what was announced."""
    upload, file = platform.part_uploads.complete(caller, upload_id, body.part_ids, body.md5)
    return upload_object(upload, file)


@router.post("/{upload_id}/cancel")
def cancel_upload(upload_id: str, caller: CallerDep, platform: PlatformDep) -> UploadObject:
    """Drop what came."""
    return upload_object(platform.part_uploads.cancel(caller, upload_id))


def upload_object(upload: Any, file: Any = None) -> UploadObject:
    """A row as clients read it."""
    return UploadObject(
        id=upload.id,
        bytes=upload.bytes,
        created_at=upload.created_at,
        expires_at=upload.expires_at,
        filename=upload.filename,
        purpose=upload.purpose,
        status=upload.state,
        file=None if file is None else file_object(file),
    )
