"""Files: sent by resumable upload, whatever their size; taken back."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from tunesmith.errors import InputError
from tunesmith.schemas.files import FileRead, UploadRead
from tunesmith.sdk.connection import ApiError, Connection, NotReachable, OnBytes

_SMALLEST: Final = 1 << 20
_LARGEST: Final = 32 << 20
_PATIENCE: Final = 120.0  # seconds without a server until it counts as gone
_TUS: Final = {"Tus-Resumable": "1.0.0"}


class Files:
    """What was sent to the server, under ids of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, **query: str | int | None) -> Iterator[FileRead]:
        return self._connection.all("/api/v1/files", FileRead, **query)

    def get(self, file_id: str) -> FileRead:
        return self._connection.get(f"/api/v1/files/{file_id}", FileRead)

    def delete(self, file_id: str) -> None:
        self._connection.request("DELETE", f"/api/v1/files/{file_id}")

    def download(self, file_id: str, to: str | Path, on_bytes: OnBytes | None = None) -> int:
        place = f"/api/v1/files/{file_id}/content"
        return self._connection.download(place, Path(to), on_bytes=on_bytes)

    def upload(
        self,
        path: str | Path,
        *,
        purpose: str = "fine-tune",
        project_id: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> FileRead:
        """Send a file; a broken connection is gone on with where it broke (tus 1.0)."""
        path = Path(path)
        if not path.is_file():
            raise InputError(f"There is no file {path}.", code="file_not_found")
        size = path.stat().st_size
        told = {"filename": path.name, "purpose": purpose, "sha256": sha256(path)}
        if project_id is not None:
            told["project_id"] = project_id
        place = self._begin(size, told)
        self._send_all(place, path, size, on_bytes)
        return self.get(self._finished(place))

    def _send_all(self, place: str, path: Path, size: int, on_bytes: OnBytes | None) -> None:
        """Part by part; parts grow while they go through quickly, so that progress shows."""
        sent, part = 0, _SMALLEST
        while sent < size:
            began = time.monotonic()
            sent = self._send(place, path, sent, part)
            took = time.monotonic() - began
            part = min(part * 2, _LARGEST) if took < 0.5 else max(part // 2, _SMALLEST)
            if on_bytes is not None:
                on_bytes(sent, size)

    def _finished(self, place: str) -> str:
        """The id of the file, once the server has compared its hash."""
        upload = self._connection.get(place, UploadRead)
        deadline = time.monotonic() + _PATIENCE
        while upload.file_id is None and upload.state == "pending" and time.monotonic() < deadline:
            time.sleep(0.2)
            upload = self._connection.get(place, UploadRead)
        if upload.file_id is None:
            raise ApiError(
                f"The upload of {upload.filename} is {upload.state}, and no file came of it.",
                hint="Send it again.",
                code=f"upload_{upload.state}",
            )
        return upload.file_id

    def _begin(self, size: int, told: dict[str, str]) -> str:
        metadata = ",".join(
            f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items()
        )
        headers = {**_TUS, "Upload-Length": str(size), "Upload-Metadata": metadata}
        answer = self._connection.request("POST", "/api/v1/uploads", headers=headers)
        return httpx.URL(answer.headers["location"]).path

    def _send(self, place: str, path: Path, offset: int, part: int) -> int:
        """One part; the new offset. After a break the server says what has arrived."""
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(part)
        headers = {
            **_TUS,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
        }
        try:
            answer = self._connection.request("PATCH", place, headers=headers, content=content)
        except NotReachable:
            return self._offset(place)
        except ApiError as error:
            # 409: our idea of the offset is old; 423: the broken request is still being ended.
            if error.status not in (409, 423):
                raise
            time.sleep(0.2)
            return self._offset(place)
        return int(answer.headers["upload-offset"])

    def _offset(self, place: str) -> int:
        """What has arrived; a server that starts anew is waited for."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                answer = self._connection.request("HEAD", place, headers=_TUS)
                return int(answer.headers["upload-offset"])
            except NotReachable:
                if time.monotonic() > deadline:
                    raise


def sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
