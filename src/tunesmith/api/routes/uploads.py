"""Resumable uploads: tus 1.0 (https://tus.io/protocols/resumable-upload), cut at any byte.

Extensions: creation, termination, checksum (sha1, sha256), expiration. The id of the
file that comes of an upload stands in the header Tunesmith-File-Id of the answer to its last bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Coroutine
from email.utils import format_datetime
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from tunesmith.api import errors
from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.forms import fields_of, in_thread_to_the_end, pieces
from tunesmith.api.listed import listed
from tunesmith.errors import InputError, TunesmithError
from tunesmith.schemas.common import Listed
from tunesmith.schemas.files import UploadMeta, UploadRead
from tunesmith.server.errors import UnknownProtocol, UnsupportedMedia
from tunesmith.server.services.uploads import Checksum, NewUpload, Piece, Upload

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,termination,checksum,expiration"
_TUS: Final = {"Tus-Resumable": VERSION}
_DIGEST_BYTES: Final = {"sha1": 20, "sha256": 32}
_OCTETS: Final = "application/offset+octet-stream"
_FILE: Final = "Tunesmith-File-Id"


class TusRoute(CallerFirst):
    """Every answer says which protocol it speaks, errors too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                response = await answer(request)
            except TunesmithError as error:
                state = request.state
                problem = errors.native(error, request_id=state.request_id, language=state.language)
                response = JSONResponse(problem.body, problem.status, dict(problem.headers))
                if isinstance(error, UnknownProtocol):
                    response.headers["Tus-Version"] = VERSION
            response.headers.update(_TUS)
            return response

        return told


router = APIRouter(prefix="/uploads", tags=["files"], route_class=TusRoute)


def _header(name: str, example: str, *, required: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "schema": {"type": "string"},
        "example": example,
    }


_RESUMABLE: Final = _header("Tus-Resumable", VERSION)
_CREATE: Final[dict[str, Any]] = {
    "parameters": [
        _RESUMABLE,
        _header("Upload-Length", "1048576"),
        _header("Upload-Metadata", "filename c2hvcC5qc29ubA==", required=False),
    ]
}
_APPEND: Final[dict[str, Any]] = {
    "parameters": [
        _RESUMABLE,
        _header("Upload-Offset", "0"),
        _header("Upload-Checksum", "sha256 SHA256-IN-BASE64", required=False),
    ],
    "requestBody": {
        "required": True,
        "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}, "example": "..."}},
    },
}


@router.options("", status_code=204)
def tell_protocol(platform: PlatformDep) -> Response:
    """What this server can do."""
    return Response(
        status_code=204,
        headers={
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(platform.uploads.most_bytes),
            "Tus-Checksum-Algorithm": ",".join(_DIGEST_BYTES),
        },
    )


@router.post(
    "",
    status_code=201,
    response_class=Response,
    response_description="Begun; no body: `Location` is where the bytes go.",
    openapi_extra=_CREATE,
)
def create_upload(request: Request, caller: CallerDep, platform: PlatformDep) -> Response:
    """Begin an upload; the header Location says where its bytes go."""
    _refuse_other_version(request)
    length = _number(request, "upload-length")
    meta = fields_of(UploadMeta, _metadata(request.headers.get("upload-metadata", "")))
    upload = platform.uploads.create(
        caller,
        NewUpload(
            bytes=length,
            filename=meta.filename,
            purpose=meta.purpose,
            project_id=meta.project_id,
            mime_type=meta.mime,
            sha256=meta.sha256,
        ),
    )
    return _answer(upload, 201, {"Location": f"{request.url.path.rstrip('/')}/{upload.id}"})


@router.get("")
def list_uploads(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Annotated[str | None, Query(max_length=100)] = None,
    after: After = None,
    limit: Limit = 100,
) -> Listed[UploadRead]:
    """The caller's own that wait to be gone on with."""
    page = platform.uploads.list(caller, project_id=project_id, after=after, limit=limit)
    return listed(page, UploadRead)


@router.get("/{upload_id}")
def get_upload(upload_id: str, caller: CallerDep, platform: PlatformDep) -> UploadRead:
    return UploadRead.model_validate(platform.uploads.get(caller, upload_id))


@router.head(
    "/{upload_id}",
    response_class=Response,
    response_description="No body: `Upload-Offset` is what came, `Upload-Length` all of it.",
    openapi_extra={"parameters": [_RESUMABLE]},
)
def get_offset(
    request: Request, upload_id: str, caller: CallerDep, platform: PlatformDep
) -> Response:
    """Where to go on: the header Upload-Offset."""
    _refuse_other_version(request)
    upload = platform.uploads.look(caller, upload_id)
    told = {"Upload-Length": str(upload.bytes), "Cache-Control": "no-store"}
    return _answer(upload, 200, told | {"Upload-Metadata": _metadata_of(upload)})


@router.patch("/{upload_id}", status_code=204, response_class=Response, openapi_extra=_APPEND)
async def append_bytes(
    request: Request, upload_id: str, caller: CallerDep, platform: PlatformDep
) -> Response:
    """Add bytes at Upload-Offset; those that came before a broken connection are kept."""
    piece = _piece(request)
    appending = await to_thread.run_sync(platform.uploads.append, caller, upload_id, piece)
    end: Callable[[], object] = appending.interrupt
    try:
        async for content in pieces(request, platform.settings.upload_silence_seconds):
            await to_thread.run_sync(appending.write, content)
        end = appending.close
        return _answer(await to_thread.run_sync(appending.finish), 204)
    except TunesmithError:
        end = appending.drop
        raise
    except ClientDisconnect:  # nobody hears the answer
        return Response(status_code=400)
    finally:
        await in_thread_to_the_end(end)


@router.delete(
    "/{upload_id}",
    status_code=204,
    response_class=Response,
    openapi_extra={"parameters": [_RESUMABLE]},
)
def end_upload(
    request: Request, upload_id: str, caller: CallerDep, platform: PlatformDep
) -> Response:
    """Drop an unfinished upload and what came of it."""
    _refuse_other_version(request)
    platform.uploads.terminate(caller, upload_id)
    return Response(status_code=204)


def _answer(upload: Upload, status: int, headers: dict[str, str] | None = None) -> Response:
    told = {"Upload-Offset": str(upload.received_bytes), **(headers or {})}
    if upload.state == "pending":
        told["Upload-Expires"] = format_datetime(upload.expires_at, usegmt=True)
    if upload.file_id:
        told[_FILE] = upload.file_id
    return Response(status_code=status, headers=told)


def _piece(request: Request) -> Piece:
    """What the headers of a PATCH announce."""
    _refuse_other_version(request)
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != _OCTETS:
        raise UnsupportedMedia(
            f"The bytes of an upload come as {_OCTETS}; none were taken.",
            code="not_offset_octets",
        )
    announced = request.headers.get("content-length")
    return Piece(
        _number(request, "upload-offset"),
        int(announced) if announced is not None else None,
        _checksum(request.headers.get("upload-checksum")),
    )


def _refuse_other_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        raise UnknownProtocol(
            f"This address speaks tus {VERSION}; the request did not say so.",
            hint=f"Send the header Tus-Resumable: {VERSION}.",
            code="unknown_tus_version",
        )


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise _bad_header(name, "a number of bytes")
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    """`filename c2hvcA==,purpose ZmluZS10dW5l` as names and texts."""
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = entry.partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _bad_header("upload-metadata", "names with values in Base64") from error
    if "filetype" in found:  # as the usual clients call it
        found.setdefault("mime", found.pop("filetype"))
    return {name: found[name] for name in UploadMeta.model_fields if name in found}


def _metadata_of(upload: Upload) -> str:
    """What was told when it began; names that mean nothing here were not kept."""
    told = {
        "filename": upload.filename,
        "filetype": upload.mime_type,
        "purpose": upload.purpose,
        "sha256": upload.sha256,
    }
    coded = {name: base64.b64encode(text.encode()).decode() for name, text in told.items() if text}
    return ",".join(f"{name} {value}" for name, value in coded.items())


def _checksum(text: str | None) -> Checksum | None:
    if text is None:
        return None
    name, _, value = text.partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except binascii.Error:
        digest = b""
    if _DIGEST_BYTES.get(name.lower()) != len(digest):
        raise _bad_header("upload-checksum", "sha1 or sha256 and the digest in Base64")
    return Checksum("sha1" if name.lower() == "sha1" else "sha256", digest)


def _bad_header(name: str, wanted: str) -> InputError:
    return InputError(
        f"The header {name} has to hold {wanted}; nothing was changed.",
        code="bad_header",
        param=name,
        wanted=wanted,
    )
