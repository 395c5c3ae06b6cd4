"""Files: sent whole up to 512 MB; larger ones as uploads."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, PlatformDep
from tunesmith.api.documented import a_file
from tunesmith.api.forms import fields_of, in_thread_to_the_end, receive_form
from tunesmith.api.routes.openai.dependencies import ProjectDep
from tunesmith.api.routes.openai.queries import nested
from tunesmith.schemas.files import Purpose
from tunesmith.schemas.openai.common import FullPage, page_of
from tunesmith.schemas.openai.files import ExpiresAfter, FileCreate, FileDeleted, FileObject
from tunesmith.server.access import Role
from tunesmith.server.services.files import NewFile

router = APIRouter(prefix="/files", tags=["files"], route_class=CallerFirst)
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": FileCreate.model_json_schema()["properties"]["purpose"],
                        "expires_after[anchor]": {"const": "created_at"},
                        "expires_after[seconds]": {"type": "integer"},
                    },
                },
                "example": {"file": '{"messages": []}', "purpose": "fine-tune"},
            }
        },
    }
}


@router.post("", openapi_extra=_FORM)
async def create_file(request: Request, caller: CallerDep, platform: PlatformDep) -> FileObject:
    """Send a file as a form."""
    announced = int(request.headers.get("content-length") or 0)
    files = platform.files
    incoming = await to_thread.run_sync(files.begin, caller, announced)
    try:
        form = await receive_form(request, incoming, file_field="file")
        sent = fields_of(FileCreate, nested(form.fields.items()))
        new = NewFile(
            caller.chosen(None, Role.MEMBER),
            form.filename or "",
            sent.purpose,
            lifetime(sent.expires_after),
        )
        return file_object(await to_thread.run_sync(files.keep, caller, incoming, new))
    finally:
        await in_thread_to_the_end(incoming.discard)


@router.get("")
def list_files(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: ProjectDep,
    purpose: Purpose | None = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> FullPage[FileObject]:
    found = platform.files.list(
        caller,
        project_id=project_id,
        purpose=purpose,
        after=after,
        limit=limit,
        newest_first=order == "desc",
    )
    return page_of([file_object(file) for file in found.items], has_more=found.has_more)


@router.get("/{file_id}")
def get_file(file_id: str, caller: CallerDep, platform: PlatformDep) -> FileObject:
    return file_object(platform.files.get(caller, file_id))


@router.get(
    "/{file_id}/content",
    response_class=FileResponse,
    responses=a_file("The bytes, unchanged."),
)
def download_file(file_id: str, caller: CallerDep, platform: PlatformDep) -> FileResponse:
    """The bytes as they were sent."""
    file, path = platform.files.content(caller, file_id)
    return FileResponse(path, media_type="application/octet-stream", filename=file.filename)


@router.delete("/{file_id}")
def delete_file(file_id: str, caller: CallerDep, platform: PlatformDep) -> FileDeleted:
    """Jobs and datasets that were made of it stay."""
    platform.files.delete(caller, file_id)
    return FileDeleted(id=file_id)


def file_object(file: Any) -> FileObject:
    """A row as clients read it."""
    return FileObject(
        id=file.id,
        bytes=file.bytes,
        created_at=file.created_at,
        filename=file.filename,
        purpose=file.purpose,
        status=file.state,
        status_details=file.state_details or None,
        expires_at=file.expires_at,
    )


def lifetime(wanted: ExpiresAfter | None) -> timedelta | None:
    return None if wanted is None else timedelta(seconds=wanted.seconds)
