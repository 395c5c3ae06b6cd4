"""Uploads by offset, as tus 1.0 has them (https://tus.io): cut at any byte, gone on with later.

`received_bytes` of the row counts what is safe on the disk. A process that is killed may leave more
in the file; the next one cuts that off. One request at a time has the lock on the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import select

from tunesmith.runs.files import fsync_directory
from tunesmith.server import clock
from tunesmith.server.access import Caller, Role
from tunesmith.server.errors import ChecksumMismatch, Conflict, Gone, Locked, TooLarge
from tunesmith.server.incoming import storing, write_all
from tunesmith.server.paging import Page, page
from tunesmith.server.services.files import Files, Stored, add_row
from tunesmith.server.services.uploads import pending
from tunesmith.server.services.uploads.pending import NewUpload, Pending
from tunesmith.server.settings import Settings
from tunesmith.server.tables import Upload

_SYNC_BYTES: Final = 32 << 20  # at most so much is sent again after a crash
_LOOK_SECONDS: Final = 1.0  # a connection that broke may still be busy with its last bytes


@dataclass(frozen=True)
class Checksum:
    """What bytes must hash to; tus asks for sha1 at least."""

    algorithm: Literal["sha1", "sha256"]
    digest: bytes


@dataclass(frozen=True)
class Piece:
    """What a request announces: where its bytes begin, how many, and what they must hash to."""

    offset: int
    bytes: int | None = None
    checksum: Checksum | None = None


class TusUploads:
    """Begin, look, append, end."""

    def __init__(self, pending: Pending, files: Files, settings: Settings) -> None:
        self._pending, self._files = pending, files
        self._database, self._place = pending.database, pending.place
        self.most_bytes = settings.upload_max_bytes
        self._lifetime = timedelta(hours=settings.upload_hours)

    def create(self, caller: Caller, new: NewUpload) -> Upload:
        """An upload that waits for its first byte; a file without bytes is complete at once."""
        upload = self._pending.begin(
            caller, "tus", new, most=self.most_bytes, lifetime=self._lifetime
        )
        try:
            with storing(self._place.uploads):
                os.close(os.open(self._place.upload(upload.id), os.O_WRONLY | os.O_CREAT, 0o600))
        except BaseException:
            self._pending.end(upload, "cancelled")
            raise
        return self.get(caller, upload.id) if upload.bytes == 0 else upload

    def list(
        self, caller: Caller, *, project_id: str | None, after: str | None, limit: int
    ) -> Page[Upload]:
        """The caller's own that are not finished, newest first: what can be gone on with."""
        with self._database.read() as session:
            query = select(Upload).where(
                Upload.project_id.in_(caller.viewed(project_id)),
                Upload.user_id == caller.user_id,
                Upload.kind == "tus",
                Upload.state == "pending",
                Upload.expires_at > clock.read(session).wall,
            )
            return page(session, query, Upload.id, after=after, limit=limit)

    def look(self, caller: Caller, upload_id: str) -> Upload:
        """As `get`; Gone for one that was ended."""
        upload = self.get(caller, upload_id)
        if upload.state != "completed":
            pending.refuse_ended(upload)
        return upload

    def get(self, caller: Caller, upload_id: str) -> Upload:
        """The upload with its offset. One whose bytes are all there is finished on the way.

        For its owner and those who administrate the project.
        """
        upload = self._pending.get(caller, upload_id, "tus")
        pending.require_owner_or_admin(caller, upload)
        if upload.state != "pending":
            return upload
        try:
            with self._held(upload, wait=_LOOK_SECONDS) as (file, upload):
                whole = upload.received_bytes == upload.bytes
                return self.finish(caller, upload, file) if whole else upload
        except (Locked, Conflict, Gone):  # busy, or ended by now
            return self._pending.get(caller, upload_id, "tus")

    def append(self, caller: Caller, upload_id: str, piece: Piece) -> Appending:
        """Take the upload for one request of its owner; Conflict where its bytes do not fit."""
        upload = self._pending.get(caller, upload_id, "tus", Role.MEMBER)
        if upload.user_id != caller.user_id:
            raise pending.missing(upload_id)
        pending.refuse_ended(upload)
        file, upload = self._open(upload, wait=0.0)
        try:
            _refuse_misfit(upload, piece)
            return Appending(self, caller, upload, file, piece)
        except BaseException:
            pending.close(file)
            raise

    def terminate(self, caller: Caller, upload_id: str) -> None:
        """Drop an upload; a file that came of it stays."""
        upload = self._pending.get(caller, upload_id, "tus", Role.MEMBER)
        pending.require_owner_or_admin(caller, upload)
        pending.refuse_ended(upload)
        if self._pending.end(upload, "cancelled").state == "completed":
            pending.refuse_ended(self._pending.get(caller, upload_id, "tus"))

    # ------------------------------------------------------------ for Appending

    @property
    def folder(self) -> Path:
        return self._place.uploads

    def note(self, upload: Upload, offset: int) -> Upload:
        """So many bytes are safe on the disk; Gone where the upload was ended meanwhile."""
        with self._database.write() as session:
            moment = clock.read(session)
            row = pending.lock_pending(session, upload.id)
            row.received_bytes, row.expires_at = offset, moment.wall + self._lifetime
            return row

    def finish(self, caller: Caller, upload: Upload, file: int) -> Upload:
        """Make a file of the bytes, once they are what was promised."""
        sha256 = _digest(file)
        if upload.sha256 not in (None, sha256):
            self._pending.end(upload, "cancelled")
            raise ChecksumMismatch(
                f"The {upload.bytes} bytes that arrived have the SHA-256 {sha256}, not the "
                f"announced {upload.sha256}; they were dropped.",
                hint="Compare the file with the announced hash, and send it again.",
                code="sha256_mismatch",
                expected=upload.sha256,
                actual=sha256,
            )
        stored = Stored(self._files.new_id(), upload.bytes, sha256)
        path = self._place.file(stored.id)
        try:
            with self._database.write() as session:
                moment = clock.read(session)
                row = pending.lock_pending(session, upload.id)
                add_row(session, moment, caller, pending.new_file(row), stored)
                pending.complete(row, stored.id)
                session.flush()
                with storing(path.parent):
                    self._place.upload(upload.id).rename(path)
                    fsync_directory(path.parent)
                return row
        except BaseException:
            if path.exists():  # nothing was committed: the bytes are the upload's again
                path.rename(self._place.upload(upload.id))
            raise

    # ------------------------------------------------------------ the file

    @contextmanager
    def _held(self, upload: Upload, wait: float) -> Generator[tuple[int, Upload]]:
        file, upload = self._open(upload, wait)
        try:
            yield file, upload
        finally:
            pending.close(file)

    def _open(self, upload: Upload, wait: float) -> tuple[int, Upload]:
        """The file, locked and as long as the row says, and the row as it is under the lock."""
        path = self._place.upload(upload.id)
        if not path.exists():  # finished by now, or lost with a disk: then it begins anew
            with self._database.read() as session:
                pending.refuse_ended(session.get_one(Upload, upload.id))
        with storing(path.parent):
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            pending.take(file, upload.id, wait)
            upload = self._settled(upload.id, file)
        except BaseException:
            pending.close(file)
            raise
        return file, upload

    def _settled(self, upload_id: str, file: int) -> Upload:
        with self._database.read() as session:
            upload = session.get_one(Upload, upload_id)
        pending.refuse_ended(upload)
        if os.fstat(file).st_size < upload.received_bytes:
            with self._database.write() as session:
                upload = pending.lock_pending(session, upload_id)
                upload.received_bytes = 0
        os.ftruncate(file, upload.received_bytes)
        return upload


class Appending:
    """One request that adds bytes. What reached the disk counts, however it ends.

    Call `finish` when the body came to its end, else `interrupt`; or `drop` after an error.
    """

    def __init__(
        self, uploads: TusUploads, caller: Caller, upload: Upload, file: int, piece: Piece
    ) -> None:
        self._uploads, self._caller, self._upload = uploads, caller, upload
        self._file, self._piece = file, piece
        self._safe = self._at = upload.received_bytes
        told = piece.checksum
        self._hash = hashlib.new(told.algorithm, usedforsecurity=False) if told else None
        os.lseek(file, self._at, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        if self._at + len(data) > self._upload.bytes:
            raise _too_long(self._upload)
        with storing(self._uploads.folder):
            write_all(self._file, data)
        self._at += len(data)
        if self._hash is not None:
            self._hash.update(data)
        elif self._at - self._safe >= _SYNC_BYTES:
            self._sync()

    def finish(self) -> Upload:
        """The upload with its new offset; a file, when this was its last byte."""
        self._check()
        self._sync()
        if self._safe < self._upload.bytes:
            return self._upload
        return self._uploads.finish(self._caller, self._upload, self._file)

    def interrupt(self) -> None:
        """The body broke off. Bytes that a hash was announced for cannot be checked: they go."""
        try:
            if self._hash is None:
                self._sync()
        finally:
            self.drop()

    def drop(self) -> None:
        """Take back what is not safe on the disk, and let others go on."""
        if self._file >= 0:
            os.ftruncate(self._file, self._safe)
        self.close()

    def close(self) -> None:
        """Let others go on."""
        pending.close(self._file)
        self._file = -1

    def _check(self) -> None:
        expected = self._piece.checksum
        if self._hash is not None and expected and self._hash.digest() != expected.digest:
            raise ChecksumMismatch(
                f"The bytes from {self._piece.offset} on do not have the announced checksum; they "
                "were dropped, and those before them are kept.",
                hint="Send them again from the same offset.",
                code="piece_checksum_mismatch",
                offset=self._piece.offset,
            )

    def _sync(self) -> None:
        if self._at == self._safe:
            return
        with storing(self._uploads.folder):
            os.fdatasync(self._file)
        self._upload = self._uploads.note(self._upload, self._at)
        self._safe = self._at


def _refuse_misfit(upload: Upload, piece: Piece) -> None:
    if piece.offset != upload.received_bytes:
        raise Conflict(
            f"Upload {upload.id} has {upload.received_bytes} bytes; bytes from {piece.offset} on "
            "do not fit. None were taken.",
            hint="Ask for the offset with HEAD and go on from there.",
            code="upload_offset_conflict",
            offset=upload.received_bytes,
        )
    if piece.bytes is not None and piece.offset + piece.bytes > upload.bytes:
        raise _too_long(upload)


def _too_long(upload: Upload) -> TooLarge:
    return TooLarge(
        f"Upload {upload.id} was announced with {upload.bytes} bytes, and more came; these were "
        "not taken.",
        hint="Begin an upload with the size that the file has.",
        code="upload_too_long",
        limit=upload.bytes,
    )


def _digest(file: int) -> str:
    with os.fdopen(os.dup(file), "rb") as stream:
        stream.seek(0)
        return hashlib.file_digest(stream, "sha256").hexdigest()
