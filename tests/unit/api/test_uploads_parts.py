"""Uploads in parts: joined in the order that the last call says, or not at all."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import update
from tests.unit.api.conftest import Server

from tunesmith.errors import InputError
from tunesmith.server.access import Caller
from tunesmith.server.errors import ChecksumMismatch, Gone, NotFound, TooLarge
from tunesmith.server.services.uploads import NewUpload, parts
from tunesmith.server.tables import Upload

PIECES = (b"first " * 1000, b"second " * 1000, b"third " * 1000)
WHOLE = b"".join(PIECES)


def caller(server: Server, who: str = "member") -> Caller:
    project = server.their_project if who == "foreigner" else server.project
    return server.platform.people.as_user(server.users[who], project)


def begin(server: Server, size: int = len(WHOLE)) -> str:
    new = NewUpload(bytes=size, filename="rows.jsonl", purpose="fine-tune")
    return server.platform.part_uploads.create(caller(server), new).id


def add(server: Server, upload: str, content: bytes) -> str:
    uploads = server.platform.part_uploads
    incoming = uploads.begin_part(caller(server), upload, len(content))
    incoming.write(content)
    return uploads.add_part(caller(server), upload, incoming).id


def test_parts_are_joined_in_the_order_of_the_last_call(server_on_both: Server) -> None:
    server = server_on_both
    uploads, upload = server.platform.part_uploads, begin(server_on_both)
    third, first, second = (add(server, upload, PIECES[at]) for at in (2, 0, 1))
    add(server, upload, PIECES[0])  # sent twice by a client that tried again: left out
    md5 = hashlib.md5(WHOLE, usedforsecurity=False).hexdigest()
    order = [first, second, third]
    with pytest.raises(ChecksumMismatch):
        uploads.complete(caller(server), upload, [second, first, third], md5)
    with pytest.raises(InputError) as caught:
        uploads.complete(caller(server), upload, order[:2])
    assert (caught.value.code, caught.value.details["param"]) == (
        "upload_size_mismatch",
        "part_ids",
    )
    for wrong in ([*order, first], [*order[:2], "part-x"]):
        with pytest.raises(InputError, match="part"):
            uploads.complete(caller(server), upload, wrong)
    done, file = uploads.complete(caller(server), upload, order, md5)
    assert (done.state, done.file_id, file.bytes) == ("completed", file.id, len(WHOLE))
    assert server.platform.place.file(file.id).read_bytes() == WHOLE
    assert file.sha256 == hashlib.sha256(WHOLE).hexdigest()
    assert not server.platform.place.upload(upload).exists()
    again, same = uploads.complete(caller(server), upload, order, md5)
    assert (again.id, same.id) == (upload, file.id)


def test_an_upload_that_was_ended_takes_no_part(server: Server) -> None:
    uploads, upload = server.platform.part_uploads, begin(server)
    add(server, upload, PIECES[0])
    assert uploads.cancel(caller(server), upload).state == "cancelled"
    assert uploads.cancel(caller(server), upload).state == "cancelled"
    assert not server.platform.place.upload(upload).exists()
    with pytest.raises(Gone):
        uploads.begin_part(caller(server), upload)


def test_an_upload_in_parts_expires(server: Server) -> None:
    uploads, upload = server.platform.part_uploads, begin(server)
    with server.platform.database.write() as session:
        session.execute(update(Upload).values(expires_at=Upload.created_at))
    assert uploads.get(caller(server), upload).state == "expired"
    with pytest.raises(Gone):
        uploads.complete(caller(server), upload, [])


def test_limits_of_parts_and_of_the_whole(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLarge):
        begin(server, (5 << 30) + 1)  # data; other purposes may have 8 GB
    upload = begin(server)
    monkeypatch.setattr(parts, "MOST_PART_BYTES", 1000)
    incoming = server.platform.part_uploads.begin_part(caller(server), upload)
    with pytest.raises(TooLarge):
        incoming.write(b"x" * 1001)
    incoming.discard()
    with pytest.raises(NotFound):
        server.platform.part_uploads.get(caller(server, "foreigner"), upload)


def test_only_its_owner_adds_parts_and_admins_of_the_project_may_end_it(server: Server) -> None:
    """Poisoned rows in somebody else's file would be theirs."""
    upload = server.client("manager").post("/v1/uploads", json={
        "bytes": len(WHOLE), "filename": "a.jsonl", "mime_type": "text/jsonl",
        "purpose": "fine-tune",
    }).json()["id"]  # fmt: skip
    part = {"data": ("blob", b"poison")}
    for other in (server.member, server.admin):
        for answer in (
            other.post(f"/v1/uploads/{upload}/parts", files=part),
            other.post(f"/v1/uploads/{upload}/complete", json={"part_ids": ["part-x"]}),
        ):
            assert answer.status_code == 404, answer.text
            assert answer.json()["error"]["code"] == "upload_not_found"
    assert server.member.post(f"/v1/uploads/{upload}/cancel").status_code == 404
    mine = server.client("manager").post(f"/v1/uploads/{upload}/parts", files=part)
    assert mine.status_code == 200, mine.text
    assert server.admin.post(f"/v1/uploads/{upload}/cancel").json()["status"] == "cancelled"
