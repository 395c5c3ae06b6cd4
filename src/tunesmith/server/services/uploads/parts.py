"""Uploads in parts, as the OpenAI API has them: any order, joined as the last call says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from tunesmith.errors import InputError
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role
from tunesmith.server.errors import ChecksumMismatch
from tunesmith.server.incoming import Incoming, refuse_full_disk, storing, too_large
from tunesmith.server.services.files import Files, Stored, add_row
from tunesmith.server.services.uploads import pending
from tunesmith.server.services.uploads.pending import NewUpload, Pending
from tunesmith.server.settings import Settings
from tunesmith.server.tables import File, Upload, UploadPart

MOST_PART_BYTES: Final = 64 << 20
MOST_BYTES: Final = 8 << 30
LIFETIME: Final = timedelta(hours=1)
_CHUNK_BYTES: Final = 1 << 20


class PartUploads:
    """Begin, add a part, join, end."""

    def __init__(self, pending: Pending, files: Files, settings: Settings) -> None:
        self._pending, self._files = pending, files
        self._database, self._place = pending.database, pending.place
        self._most_of_data = settings.upload_max_bytes

    def create(self, caller: Caller, new: NewUpload) -> Upload:
        most = min(MOST_BYTES, self._most_of_data) if new.purpose == "fine-tune" else MOST_BYTES
        upload = self._pending.begin(caller, "parts", new, most=most, lifetime=LIFETIME)
        with storing(self._place.uploads):
            self._place.upload(upload.id).mkdir()
        return upload

    def get(self, caller: Caller, upload_id: str) -> Upload:
        """For its owner and those who administrate the project."""
        return self._visible(caller, upload_id, Role.VIEWER)

    def file(self, caller: Caller, upload: Upload) -> File | None:
        """What came of an upload; None before, and where it was deleted."""
        return self._files.find(caller, upload.file_id) if upload.file_id else None

    def begin_part(self, caller: Caller, upload_id: str, announced: int = 0) -> Incoming:
        """A draft for one part."""
        upload = self._own(caller, upload_id)
        pending.refuse_ended(upload)
        refuse_full_disk(self._place.uploads, announced)
        return Incoming(self._place.upload(upload.id), most=MOST_PART_BYTES)

    def add_part(self, caller: Caller, upload_id: str, incoming: Incoming) -> UploadPart:
        """The draft as a part of the upload. A part that is sent twice counts as two."""
        folder = self._place.upload(upload_id)
        self._own(caller, upload_id)
        path = None
        try:
            incoming.sync()
            with self._database.write() as session:
                moment = clock.read(session)
                upload = pending.lock_pending(session, upload_id)
                _refuse_flood(upload, incoming.bytes)
                part = UploadPart(
                    id=ids.new(ids.PART, moment.wall),
                    upload_id=upload.id,
                    bytes=incoming.bytes,
                    created_at=moment.wall,
                )
                session.add(part)
                upload.received_bytes += incoming.bytes
                path = folder / part.id
                incoming.keep(path)
                return part
        except BaseException:
            incoming.discard()
            if path is not None:
                path.unlink(missing_ok=True)
            raise

    def complete(
        self, caller: Caller, upload_id: str, part_ids: Sequence[str], md5: str | None = None
    ) -> tuple[Upload, File]:
        """Join the parts in this order into a file. A second call returns the file of the first."""
        upload = self._own(caller, upload_id)
        if upload.state == "completed" and upload.file_id:
            return upload, self._files.get(caller, upload.file_id)
        pending.refuse_ended(upload)
        folder = os.open(self._place.upload(upload.id), os.O_RDONLY)
        try:
            pending.take(folder, upload.id)
            return self._join(caller, upload, part_ids, md5)
        finally:
            pending.close(folder)

    def cancel(self, caller: Caller, upload_id: str) -> Upload:
        """Drop the parts; the same again changes nothing."""
        upload = self._visible(caller, upload_id, Role.MEMBER)
        if upload.state == "pending":
            upload = self._pending.end(upload, "cancelled")
        if upload.state != "cancelled":
            pending.refuse_ended(upload)
        return upload

    def _own(self, caller: Caller, upload_id: str) -> Upload:
        """One to add to: for its owner alone, as what is in it will be theirs."""
        upload = self._pending.get(caller, upload_id, "parts", Role.MEMBER)
        if upload.user_id != caller.user_id:
            raise pending.missing(upload_id)
        return upload

    def _visible(self, caller: Caller, upload_id: str, role: Role) -> Upload:
        upload = self._pending.get(caller, upload_id, "parts", role)
        pending.require_owner_or_admin(caller, upload)
        return upload

    def _join(
        self, caller: Caller, upload: Upload, part_ids: Sequence[str], md5: str | None
    ) -> tuple[Upload, File]:
        self._check_parts(upload, part_ids)
        refuse_full_disk(self._place.files, upload.bytes)
        whole = Incoming(self._place.files, most=upload.bytes)
        file_id = self._files.new_id()
        path = self._place.file(file_id)
        try:
            _refuse_other_md5(self._copy(upload, part_ids, whole), md5)
            whole.keep(path)
            with self._database.write() as session:
                moment = clock.read(session)
                row = pending.lock_pending(session, upload.id)
                stored = Stored(file_id, whole.bytes, whole.sha256)
                file = add_row(session, moment, caller, pending.new_file(row), stored)
                pending.complete(row, file_id)
                session.flush()
        except BaseException:
            whole.discard()
            path.unlink(missing_ok=True)
            raise
        pending.remove(self._place.upload(upload.id))
        return row, file

    def _check_parts(self, upload: Upload, part_ids: Sequence[str]) -> None:
        with self._database.read() as session:
            sizes = {
                part.id: part.bytes
                for part in session.scalars(
                    select(UploadPart).where(UploadPart.upload_id == upload.id)
                )
            }
        unknown = next((part for part in part_ids if part not in sizes), None)
        if unknown is not None or len(set(part_ids)) < len(part_ids):
            told = f"has no part {unknown}" if unknown else "is to hold a part twice"
            raise InputError(
                f"Upload {upload.id} {told}; it is still open.",
                hint="Name each part once, in the order of the file.",
                code="invalid_part_ids",
                param="part_ids",
            )
        total = sum(sizes[part] for part in part_ids)
        if total != upload.bytes:
            raise InputError(
                f"The parts have {total} bytes in all; upload {upload.id} was announced with "
                f"{upload.bytes}. It is still open.",
                hint="Add the missing parts, or cancel it and begin anew.",
                code="upload_size_mismatch",
                param="part_ids",
                expected=upload.bytes,
                actual=total,
            )

    def _copy(self, upload: Upload, part_ids: Sequence[str], whole: Incoming) -> str:
        """Write the parts one behind the other; their MD5."""
        md5 = hashlib.md5(usedforsecurity=False)
        for part in part_ids:
            for chunk in _chunks(self._place.upload(upload.id) / part):
                whole.write(chunk)
                md5.update(chunk)
        return md5.hexdigest()


def _chunks(path: os.PathLike[str]) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _refuse_other_md5(actual: str, expected: str | None) -> None:
    if expected is not None and expected.lower() != actual:
        raise ChecksumMismatch(
            f"The parts have the MD5 {actual} in this order, not {expected}; the upload is still "
            "open, and no file was made.",
            hint="Check the order of the parts, or cancel the upload and begin anew.",
            code="md5_mismatch",
            param="md5",
            expected=expected,
            actual=actual,
        )


def _refuse_flood(upload: Upload, added: int) -> None:
    """Parts that are sent again stay until the end, so there is room for each of them twice."""
    most = 2 * upload.bytes + MOST_PART_BYTES
    if upload.received_bytes + added > most:
        raise too_large(most)
