"""Files of users: kept under their id in the data directory; the row has the name to show.

incoming = files.begin(caller, project_id, announced_bytes)
incoming.write(...)                       # until all came; discard() where it breaks off
file = files.keep(caller, incoming, NewFile(...))
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Select, select, update
from sqlalchemy.orm import Session

from tunesmith.runs.files import fsync_directory
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import NotFound
from tunesmith.server.filenames import display_name
from tunesmith.server.incoming import (
    DRAFT,
    Incoming,
    refuse_full_disk,
    remove_stale_drafts,
    too_large,
)
from tunesmith.server.paging import Page, page
from tunesmith.server.quotas import Limits, refuse_beyond_storage
from tunesmith.server.tables import File

MOST_BYTES: Final = 512 << 20  # in one request; larger files go through uploads
MOST_A_PAGE: Final = 10_000
SENT_PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
PURPOSES: Final = (*SENT_PURPOSES, "assistants_output", "batch_output", "fine-tune-results")
State = Literal["uploaded", "processed", "error"]


@dataclass(frozen=True)
class NewFile:
    """What is said about a file beside its bytes."""

    project_id: str
    filename: str
    purpose: str
    lifetime: timedelta | None = None  # None: until somebody deletes it
    state: State = "processed"
    user_id: str | None = None  # None: the caller's


@dataclass(frozen=True)
class Stored:
    """What lies on the disk."""

    id: str
    bytes: int
    sha256: str


class Files:
    """Send, list, read, delete."""

    def __init__(self, database: Database, place: DataDir, limits: Limits) -> None:
        self._database, self._place, self._limits = database, place, limits

    def begin(self, caller: Caller, announced: int = 0, *, most: int = MOST_BYTES) -> Incoming:
        """A draft to write to, once there is room for what is announced. No project knows of it."""
        caller.require_scope("write")
        if not caller.projects(Role.MEMBER):  # refused before the bytes come
            caller.chosen(None, Role.MEMBER)
        if announced > most + _ENVELOPE:
            raise too_large(most)
        with self._database.read() as session:
            moment = clock.read(session)
            refuse_beyond_storage(
                session, caller.user_id, self._limits, moment, max(0, announced - _ENVELOPE)
            )
        refuse_full_disk(self._place.files, announced)
        return Incoming(self._place.files, most=most)

    def keep(self, caller: Caller, incoming: Incoming, new: NewFile) -> File:
        """The draft as a file; nothing of it stays where it cannot be kept."""
        caller.require(new.project_id, Role.MEMBER)
        file_id = self.new_id()
        path = self._place.file(file_id)
        try:
            incoming.keep(path)
            with self._database.write() as session:
                moment = clock.read(session)
                refuse_beyond_storage(
                    session, caller.user_id, self._limits, moment, incoming.bytes, lock=True
                )
                stored = Stored(file_id, incoming.bytes, incoming.sha256)
                return add_row(session, moment, caller, new, stored)
        except BaseException:
            incoming.discard()
            path.unlink(missing_ok=True)
            raise

    def new_id(self) -> str:
        with self._database.read() as session:
            return ids.new(ids.FILE, clock.read(session).wall)

    def list(
        self,
        caller: Caller,
        *,
        project_id: str | None = None,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> Page[File]:
        """Files of one project, or of all that the caller is in."""
        with self._database.read() as session:
            query = select(File).where(
                File.project_id.in_(caller.viewed(project_id)), _present(clock.read(session))
            )
            if purpose is not None:
                query = query.where(File.purpose == purpose)
            return page(
                session,
                query,
                File.id,
                after=after,
                limit=limit,
                newest_first=newest_first,
                most=MOST_A_PAGE,
            )

    def get(self, caller: Caller, file_id: str) -> File:
        with self._database.read() as session:
            return present_file(session, caller, file_id)

    def find(self, caller: Caller, file_id: str) -> File | None:
        """A file, or None where there is none any more."""
        try:
            return self.get(caller, file_id)
        except NotFound:
            return None

    def content(self, caller: Caller, file_id: str) -> tuple[File, Path]:
        """A file and where its bytes lie."""
        file = self.get(caller, file_id)
        path = self._place.file(file.id)
        if not path.is_file():
            raise NotFound(
                f"The bytes of file {file_id} are missing in the data directory.",
                hint="Restore them from a backup, or delete the file and send it again.",
                code="file_bytes_missing",
                id=file_id,
            )
        return file, path

    def delete(self, caller: Caller, file_id: str) -> None:
        """Gone for users at once; its bytes a while later. Datasets made of it stay."""
        with self._database.write() as session:
            moment = clock.read(session)
            file = present_file(session, caller, file_id, Role.MEMBER)
            file.deleted_at = moment.wall
            audit(session, moment, caller, "file.delete", file.id, project_id=file.project_id)

    def set_state(self, file_id: str, state: State, details: str = "") -> None:
        """What a look into the file found."""
        with self._database.write() as session:
            session.execute(
                update(File).where(File.id == file_id).values(state=state, state_details=details)
            )

    def adopt(self, caller: Caller, path: Path, new: NewFile) -> File:
        """A file that was made in the folder of files, such as an export, as a file of its own."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
        stored = Stored(self.new_id(), size, sha256)
        final = self._place.file(stored.id)
        try:
            with self._database.write() as session:
                moment = clock.read(session)
                refuse_beyond_storage(
                    session, caller.user_id, self._limits, moment, size, lock=True
                )
                file = add_row(session, moment, caller, new, stored)
                path.rename(final)
                fsync_directory(final.parent)
                return file
        except BaseException:
            path.unlink(missing_ok=True)
            final.unlink(missing_ok=True)
            raise

    def draft_path(self) -> Path:
        """A fresh name in the folder of files, for what is made there before `adopt`."""
        return self._place.files / f"{DRAFT}{secrets.token_hex(8)}"

    def clean(self) -> int:
        """Files whose time is over count as deleted; drafts of killed processes go. How many."""
        with self._database.write() as session:
            wall = clock.read(session).wall
            ended = session.scalars(
                select(File).where(File.deleted_at.is_(None), File.expires_at <= wall)
            ).all()
            for file in ended:
                file.deleted_at = file.expires_at
        return len(ended) + remove_stale_drafts(self._place.files)


_ENVELOPE: Final = 64 << 10  # bytes that a form may have around its file


def add_row(session: Session, moment: Moment, caller: Caller, new: NewFile, stored: Stored) -> File:
    """The row of a file whose bytes lie under its id already."""
    file = File(
        id=stored.id,
        project_id=new.project_id,
        user_id=new.user_id or caller.user_id,
        filename=display_name(new.filename),
        purpose=new.purpose,
        bytes=stored.bytes,
        sha256=stored.sha256,
        state=new.state,
        created_at=moment.wall,
        expires_at=moment.wall + new.lifetime if new.lifetime else None,
    )
    session.add(file)
    session.flush()
    audit(
        session,
        moment,
        caller,
        "file.create",
        file.id,
        project_id=new.project_id,
        bytes=file.bytes,
        sha256=file.sha256,
    )
    return file


def present_file(session: Session, caller: Caller, file_id: str, role: Role = Role.VIEWER) -> File:
    """A file that there is and that the caller may use so; else NotFound."""
    missing = NotFound(f"There is no file {file_id}.", code="file_not_found", id=file_id)
    query: Select[Any] = select(File).where(File.id == file_id, _present(clock.read(session)))
    file: File | None = session.scalars(query).one_or_none()
    if file is None:
        raise missing
    caller.require(file.project_id, role, missing)
    return file


def _present(moment: Moment) -> ColumnElement[bool]:
    """Neither deleted nor over its time."""
    return File.deleted_at.is_(None) & (File.expires_at.is_(None) | (File.expires_at > moment.wall))
