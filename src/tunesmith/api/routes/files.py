"""Files: sent whole up to 512 MB; larger ones by uploads."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.documented import a_file
from tunesmith.api.forms import fields_of, in_thread_to_the_end, receive_form
from tunesmith.api.listed import listed
from tunesmith.schemas.common import Listed
from tunesmith.schemas.files import FileMeta, FileRead, Purpose
from tunesmith.server.access import Caller, Role
from tunesmith.server.services.files import NewFile

router = APIRouter(prefix="/files", tags=["files"], route_class=CallerFirst)
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        **FileMeta.model_json_schema()["properties"],
                    },
                },
                "example": {"file": '{"messages": []}', "purpose": "fine-tune"},
            }
        },
    }
}


@router.post("", status_code=201, openapi_extra=_FORM)
async def create_file(request: Request, caller: CallerDep, platform: PlatformDep) -> FileRead:
    """Send a file of up to 512 MB as a form; larger ones go through uploads."""
    announced = int(request.headers.get("content-length") or 0)
    files = platform.files
    incoming = await to_thread.run_sync(files.begin, caller, announced)
    try:
        silence = platform.settings.upload_silence_seconds
        form = await receive_form(request, incoming, file_field="file", silence=silence)
        new = _new_file(caller, fields_of(FileMeta, form.fields), form.filename or "")
        return FileRead.model_validate(await to_thread.run_sync(files.keep, caller, incoming, new))
    finally:
        await in_thread_to_the_end(incoming.discard)


@router.get("")
def list_files(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Annotated[str | None, Query(max_length=100)] = None,
    purpose: Purpose | None = None,
    after: After = None,
    limit: Limit = 100,
) -> Listed[FileRead]:
    page = platform.files.list(
        caller, project_id=project_id, purpose=purpose, after=after, limit=limit
    )
    return listed(page, FileRead)


@router.get("/{file_id}")
def get_file(file_id: str, caller: CallerDep, platform: PlatformDep) -> FileRead:
    return FileRead.model_validate(platform.files.get(caller, file_id))


@router.get(
    "/{file_id}/content",
    response_class=FileResponse,
    responses={
        **a_file("The bytes, unchanged, as an attachment."),
        206: {
            "description": "A part of the bytes, as a Range header asked for it.",
            "content": a_file("")[200]["content"],
        },
    },
)
def download_file(file_id: str, caller: CallerDep, platform: PlatformDep) -> FileResponse:
    """The bytes as they were sent; a part of them with a Range header."""
    file, path = platform.files.content(caller, file_id)
    name = file.filename.replace("/", "_").replace("\\", "_")
    return FileResponse(path, media_type="application/octet-stream", filename=name)


@router.delete("/{file_id}", status_code=204)
def delete_file(file_id: str, caller: CallerDep, platform: PlatformDep) -> None:
    """Datasets that were made of it stay."""
    platform.files.delete(caller, file_id)


def _new_file(caller: Caller, meta: FileMeta, filename: str) -> NewFile:
    seconds = meta.expires_after_seconds
    return NewFile(
        caller.chosen(meta.project_id, Role.MEMBER),
        filename,
        meta.purpose,
        None if seconds is None else timedelta(seconds=seconds),
    )
