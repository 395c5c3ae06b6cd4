"""Uploads that are not finished: begin, find, end, clean. Both kinds share this."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict, Gone, Locked, NotFound, QuotaExceeded
from tunesmith.server.filenames import display_name
from tunesmith.server.incoming import refuse_full_disk, too_large
from tunesmith.server.quotas import Limits, refuse_beyond_storage
from tunesmith.server.services.files import NewFile
from tunesmith.server.settings import Settings
from tunesmith.server.tables import Upload

Kind = Literal["tus", "parts"]
MOST_PENDING: Final = 1000  # of one user
_CLEANED_AT_ONCE: Final = 20


@dataclass(frozen=True)
class NewUpload:
    """What is said about an upload before its first byte."""

    bytes: int
    filename: str
    purpose: str
    project_id: str | None = None  # None: the caller's own
    mime_type: str = ""
    sha256: str | None = None  # what the whole file must have, in hex
    file_lifetime: timedelta | None = None  # of the file that comes of it


class Pending:
    """Rows of uploads and what lies on the disk for them."""

    def __init__(self, database: Database, place: DataDir, settings: Settings) -> None:
        self.database, self.place = database, place
        self.limits = Limits.of(settings)

    def begin(
        self, caller: Caller, kind: Kind, new: NewUpload, *, most: int, lifetime: timedelta
    ) -> Upload:
        """The row of a new upload; its bytes count against the quota from now on."""
        project = caller.chosen(new.project_id, Role.MEMBER)
        if new.bytes > most:
            raise too_large(most)
        self.clean(_CLEANED_AT_ONCE)
        refuse_full_disk(self.place.uploads, new.bytes)
        with self.database.write() as session:
            moment = clock.read(session)
            refuse_beyond_storage(
                session, caller.user_id, self.limits, moment, new.bytes, lock=True
            )
            _refuse_too_many(session, caller.user_id)
            upload = Upload(
                id=ids.new(ids.UPLOAD, moment.wall),
                project_id=project,
                user_id=caller.user_id,
                kind=kind,
                filename=display_name(new.filename),
                purpose=new.purpose,
                mime_type=new.mime_type,
                bytes=new.bytes,
                received_bytes=0,
                sha256=new.sha256,
                state="pending",
                file_seconds=round(new.file_lifetime.total_seconds())
                if new.file_lifetime
                else None,
                created_at=moment.wall,
                expires_at=moment.wall + lifetime,
            )
            session.add(upload)
            session.flush()
            audit(
                session,
                moment,
                caller,
                "upload.create",
                upload.id,
                project_id=project,
                bytes=new.bytes,
            )
            return upload

    def get(self, caller: Caller, upload_id: str, kind: Kind, role: Role = Role.VIEWER) -> Upload:
        """An upload in whatever state; one whose time is over is `expired` from now on."""
        with self.database.read() as session:
            moment = clock.read(session)
            upload = session.get(Upload, upload_id)
            if upload is None or upload.kind != kind:
                raise missing(upload_id)
            caller.require(upload.project_id, role, missing(upload_id))
        if upload.state == "pending" and upload.expires_at <= moment.wall:
            return self.end(upload, "expired")
        return upload

    def end(self, upload: Upload, state: Literal["cancelled", "expired"]) -> Upload:
        """Drop what came. An upload that is finished by now stays finished."""
        with self.database.write() as session:
            session.execute(
                update(Upload)
                .where(Upload.id == upload.id, Upload.state == "pending")
                .values(state=state, received_bytes=0)
                .execution_options(synchronize_session=False)
            )
            upload = session.get_one(Upload, upload.id, populate_existing=True)
        if upload.state == state:
            remove(self.place.upload(upload.id))
        return upload

    def clean(self, most: int = 1000) -> int:
        """End uploads whose time is over; how many."""
        with self.database.read() as session:
            wall = clock.read(session).wall
            overdue = session.scalars(
                select(Upload)
                .where(Upload.state == "pending", Upload.expires_at <= wall)
                .limit(most)
            ).all()
        for upload in overdue:
            self.end(upload, "expired")
        return len(overdue)


def missing(upload_id: str) -> NotFound:
    return NotFound(f"There is no upload {upload_id}.", code="upload_not_found", id=upload_id)


def require_owner_or_admin(caller: Caller, upload: Upload) -> None:
    """NotFound for other members: what somebody is sending is nothing of theirs."""
    if upload.user_id != caller.user_id and caller.roles[upload.project_id] < Role.ADMIN:
        raise missing(upload.id)


def refuse_ended(upload: Upload) -> None:
    """Only a pending upload takes bytes."""
    if upload.state == "completed":
        raise Conflict(
            f"Upload {upload.id} is complete; nothing was added.",
            hint=f"Its file is {upload.file_id}.",
            code="upload_completed",
            status=upload.state,
            file_id=upload.file_id,
        )
    if upload.state != "pending":
        was_cancelled = upload.state == "cancelled"
        raise Gone(
            f"Upload {upload.id} is {upload.state}; its bytes were dropped.",
            hint="Begin a new one.",
            code="upload_cancelled" if was_cancelled else "upload_expired",
            status=upload.state,
        )


def lock_pending(session: Session, upload_id: str) -> Upload:
    """The row, held until the end of the transaction, while it still takes bytes."""
    upload = session.scalars(
        select(Upload)
        .where(Upload.id == upload_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    refuse_ended(upload)
    return upload


def new_file(upload: Upload) -> NewFile:
    """The file that comes of an upload."""
    seconds = upload.file_seconds
    return NewFile(
        upload.project_id,
        upload.filename,
        upload.purpose,
        None if seconds is None else timedelta(seconds=seconds),
        user_id=upload.user_id,
    )


def complete(upload: Upload, file_id: str) -> None:
    """The row of an upload whose file is there."""
    upload.state, upload.file_id, upload.received_bytes = "completed", file_id, upload.bytes


def take(file: int, upload_id: str, wait: float = 0.0) -> None:
    """Lock the bytes of an upload for this open file; Locked while another request has them.

    The lock is the kernel's: it ends with its holder, however that ends.
    """
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Locked(
                    f"Another request sends bytes to upload {upload_id}; none of this were taken.",
                    hint="Wait for it, ask for the offset, and go on from there.",
                    code="upload_locked",
                ) from None
            time.sleep(0.02)


def remove(path: Path) -> None:
    """A file or a folder, if it is still there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()


def close(file: int) -> None:
    """Close an open file, which also gives its lock up; nothing where it is closed (-1)."""
    if file >= 0:
        os.close(file)


def _refuse_too_many(session: Session, user: str) -> None:
    count = session.scalar(
        select(func.count())
        .select_from(Upload)
        .where(Upload.user_id == user, Upload.state == "pending")
    )
    if (count or 0) >= MOST_PENDING:
        raise QuotaExceeded(
            f"You have {count} uploads that are not finished; this one was not begun.",
            hint="Finish or end some of them; unfinished ones end by themselves after a while.",
            code="too_many_uploads",
        )
