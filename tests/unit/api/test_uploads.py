"""Resumable uploads: cut anywhere, gone on with at the right byte, and never a wrong file."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st
from sqlalchemy import select, update
from tests.unit.api.conftest import Server, serving

from tunesmith.server.services.uploads import pending, tus
from tunesmith.server.settings import Settings
from tunesmith.server.tables import File, Upload

UPLOADS = "/api/v1/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
CONTENT = random.Random(7).randbytes(300_000)
LARGE = CONTENT * 14


def code(answer: Any) -> str:
    return answer.json()["error"]["code"]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def begin(client: Any, content: bytes = CONTENT, **meta: str) -> Any:
    told = {"filename": "rows.jsonl", "sha256": hashlib.sha256(content).hexdigest()} | meta
    metadata = ",".join(f"{name} {encoded(value)}" for name, value in told.items())
    headers = TUS | {"Upload-Length": str(len(content)), "Upload-Metadata": metadata}
    return client.post(UPLOADS, headers=headers)


def begun(client: Any, content: bytes = CONTENT, **meta: str) -> str:
    answer = begin(client, content, **meta)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def patch(client: Any, place: str, offset: int, content: bytes, **headers: str) -> Any:
    kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
    return client.patch(place, content=content, headers=TUS | kind | headers)


def offset(client: Any, place: str) -> int:
    answer = client.head(place, headers=TUS)
    assert answer.status_code == 200, answer.headers
    return int(answer.headers["upload-offset"])


def content_of(client: Any, file_id: str) -> bytes:
    answer = client.get(f"/api/v1/files/{file_id}/content")
    assert answer.status_code == 200, answer.text
    return answer.content


def size_on_disk(server: Server, place: str) -> int:
    return (server.platform.place.uploads / place.rpartition("/")[2]).stat().st_size


def on_disk(server: Server) -> list[str]:
    return sorted(os.listdir(server.platform.place.uploads))


# ---------------------------------------------------------------- the protocol


def test_the_server_says_what_it_can_do(server: Server) -> None:
    answer = server.client("nobody").options(UPLOADS)
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert set(answer.headers["tus-extension"].split(",")) == {
        "creation",
        "termination",
        "checksum",
        "expiration",
    }
    assert answer.headers["tus-max-size"] == str(5 << 30)


def test_pieces_become_the_file(server_on_both: Server) -> None:
    server = server_on_both
    member = server.member
    place = begun(member, purpose="batch")
    assert offset(member, place) == 0
    first = patch(member, place, 0, CONTENT[:100_000])
    assert (first.status_code, first.headers["upload-offset"]) == (204, "100000")
    assert "upload-expires" in first.headers
    assert offset(member, place) == 100_000
    assert member.get(UPLOADS).json()["data"][0]["received_bytes"] == 100_000
    last = patch(member, place, 100_000, CONTENT[100_000:])
    file_id = last.headers["tunesmith-file-id"]
    assert content_of(member, file_id) == CONTENT
    told = member.get(f"/api/v1/files/{file_id}").json()
    assert (told["filename"], told["purpose"]) == ("rows.jsonl", "batch")
    assert told["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert on_disk(server) == []
    assert offset(member, place) == len(CONTENT)
    assert member.get(place).json()["file_id"] == file_id
    assert member.get(UPLOADS).json()["data"] == []


def test_an_empty_file_is_complete_at_once(server: Server) -> None:
    answer = begin(server.member, b"")
    assert answer.status_code == 201
    assert content_of(server.member, answer.headers["tunesmith-file-id"]) == b""


@pytest.mark.parametrize("wrong", [0, 99_999, 100_001, 300_000, 10**17])
def test_a_wrong_offset_is_a_conflict_and_changes_nothing(server: Server, wrong: int) -> None:
    place = begun(server.member)
    patch(server.member, place, 0, CONTENT[:100_000])
    answer = patch(server.member, place, wrong, b"xx")
    assert (answer.status_code, code(answer)) == (409, "upload_offset_conflict")
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert offset(server.member, place) == 100_000


def test_more_bytes_than_announced_are_not_taken(server: Server) -> None:
    place = begun(server.member)
    answer = patch(server.member, place, 0, CONTENT + b"x")
    assert (answer.status_code, code(answer)) == (413, "upload_too_long")
    streamed = patch(server.member, place, 0, iter([CONTENT, b"x"]))  # type: ignore[arg-type]
    assert (streamed.status_code, code(streamed)) == (413, "upload_too_long")
    assert offset(server.member, place) == 0
    assert "tunesmith-file-id" in patch(server.member, place, 0, CONTENT).headers


def test_a_wrong_hash_at_the_end_drops_the_bytes(server_on_both: Server) -> None:
    server = server_on_both
    place = begun(server.member, sha256="0" * 64)
    answer = patch(server.member, place, 0, CONTENT)
    assert (answer.status_code, code(answer)) == (460, "sha256_mismatch")
    assert hashlib.sha256(CONTENT).hexdigest() in answer.text
    assert on_disk(server) == []
    assert server.member.head(place, headers=TUS).status_code == 410
    assert code(patch(server.member, place, 0, CONTENT)) == "upload_cancelled"
    assert server.member.get("/api/v1/files").json()["data"] == []


def test_a_piece_with_a_wrong_hash_is_dropped_alone(server: Server) -> None:
    place = begun(server.member)
    patch(server.member, place, 0, CONTENT[:1000])
    right = base64.b64encode(hashlib.sha256(CONTENT[1000:2000]).digest()).decode()
    sent = {"Upload-Checksum": f"sha256 {right}"}
    answer = patch(server.member, place, 1000, CONTENT[1001:2001], **sent)
    assert (answer.status_code, code(answer)) == (460, "piece_checksum_mismatch")
    assert offset(server.member, place) == 1000
    assert patch(server.member, place, 1000, CONTENT[1000:2000], **sent).status_code == 204
    assert offset(server.member, place) == 2000


def test_a_client_that_knows_no_patch_and_hashes_with_sha1_is_served(server: Server) -> None:
    place = begun(server.member)
    digest = base64.b64encode(hashlib.sha1(CONTENT[:1000]).digest()).decode()
    told = TUS | {
        "X-HTTP-Method-Override": "PATCH",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": "0",
        "Upload-Checksum": f"sha1 {digest}",
    }
    wrong = server.member.post(place, content=CONTENT[1:1001], headers=told)
    assert (wrong.status_code, code(wrong)) == (460, "piece_checksum_mismatch")
    assert server.member.post(place, content=CONTENT[:1000], headers=told).status_code == 204
    assert offset(server.member, place) == 1000
    ended = server.member.post(place, headers=TUS | {"X-HTTP-Method-Override": "DELETE"})
    assert ended.status_code == 204
    assert on_disk(server) == []


def test_another_method_is_meant_for_uploads_alone(server: Server) -> None:
    project = server.member.get("/api/v1/projects").json()["data"][0]["id"]
    told = {"X-HTTP-Method-Override": "PATCH"}
    answer = server.admin.post(f"/api/v1/projects/{project}", json={"name": "x"}, headers=told)
    assert answer.status_code == 405
    assert server.member.get(begun(server.member), headers=told | TUS).status_code == 200


def test_the_offset_comes_with_what_was_told_at_the_beginning(server: Server) -> None:
    place = begun(server.member, filetype="text/plain")
    told = server.member.head(place, headers=TUS).headers["upload-metadata"]
    found = {name: base64.b64decode(value) for name, value in map(str.split, told.split(","))}
    assert found["filename"] == b"rows.jsonl"
    assert found["filetype"] == b"text/plain"
    assert found["sha256"].decode() == hashlib.sha256(CONTENT).hexdigest()


def test_who_speaks_another_version_hears_which_there_is(server: Server) -> None:
    answer = server.member.post(UPLOADS, headers={"Tus-Resumable": "0.2.2", "Upload-Length": "1"})
    assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")


@pytest.mark.parametrize(
    ("method", "headers", "status", "expected"),
    [
        ("POST", {"Upload-Length": "1"}, 412, "unknown_tus_version"),
        ("POST", {"Tus-Resumable": "0.2.2", "Upload-Length": "1"}, 412, "unknown_tus_version"),
        ("POST", TUS, 400, "bad_header"),
        ("POST", TUS | {"Upload-Length": "-1"}, 400, "bad_header"),
        ("POST", TUS | {"Upload-Length": "9" * 30}, 400, "bad_header"),
        ("POST", TUS | {"Upload-Length": str((5 << 30) + 1)}, 413, "file_too_large"),
        ("POST", TUS | {"Upload-Length": "1", "Upload-Metadata": "filename ?"}, 400, "bad_header"),
        (
            "POST",
            TUS | {"Upload-Length": "1", "Upload-Metadata": f"purpose {encoded('evil')}"},
            422,
            "invalid_body",
        ),
        (
            "POST",
            TUS | {"Upload-Length": "1", "Upload-Metadata": f"sha256 {encoded('12')}"},
            422,
            "invalid_body",
        ),
        ("PATCH", TUS | {"Upload-Offset": "0"}, 415, "not_offset_octets"),
        ("PATCH", {"Upload-Offset": "0"}, 412, "unknown_tus_version"),
        ("HEAD", {}, 412, None),
        ("DELETE", {}, 412, "unknown_tus_version"),
    ],
)
def test_what_is_no_tus_is_refused(
    server: Server, method: str, headers: dict[str, str], status: int, expected: str | None
) -> None:
    place = UPLOADS if method == "POST" else begun(server.member)
    answer = server.member.request(method, place, headers=headers)
    assert answer.status_code == status, answer.text
    assert expected is None or code(answer) == expected


@pytest.mark.parametrize("checksum", ["md5 abc", "sha256 ?", "sha256", ""])
def test_a_checksum_of_another_kind_is_refused(server: Server, checksum: str) -> None:
    place = begun(server.member)
    answer = patch(server.member, place, 0, b"x", **{"Upload-Checksum": checksum})
    assert (answer.status_code, code(answer)) == (400, "bad_header")


def test_an_upload_that_is_ended_drops_its_bytes(server: Server) -> None:
    place = begun(server.member)
    patch(server.member, place, 0, CONTENT[:1000])
    assert server.member.delete(place, headers=TUS).status_code == 204
    assert on_disk(server) == []
    for answer in (
        server.member.delete(place, headers=TUS),
        patch(server.member, place, 1000, b"x"),
    ):
        assert (answer.status_code, code(answer)) == (410, "upload_cancelled")


def test_foreigners_find_no_upload_and_viewers_send_nothing(server: Server) -> None:
    place = begun(server.member)
    for answer in (
        server.foreigner.get(place),
        server.foreigner.delete(place, headers=TUS),
        patch(server.foreigner, place, 0, b"x"),
    ):
        assert (answer.status_code, code(answer)) == (404, "upload_not_found")
    assert server.foreigner.head(place, headers=TUS).status_code == 404
    assert code(patch(server.viewer, place, 0, b"x")) == "role_too_low"
    assert code(begin(server.viewer)) == "role_too_low"


def test_only_its_owner_adds_to_an_upload_and_admins_of_the_project_see_it(
    server: Server,
) -> None:
    owner = server.client("manager")
    place = begun(owner)
    assert patch(owner, place, 0, CONTENT[:1000]).status_code == 204
    for other in (server.member, server.admin):
        answer = patch(other, place, 1000, b"poison")
        assert (answer.status_code, code(answer)) == (404, "upload_not_found")
    for answer in (server.member.get(place), server.member.delete(place, headers=TUS)):
        assert (answer.status_code, code(answer)) == (404, "upload_not_found")
    assert server.member.head(place, headers=TUS).status_code == 404
    assert offset(owner, place) == offset(server.admin, place) == 1000
    last = patch(owner, place, 1000, CONTENT[1000:])
    assert content_of(owner, last.headers["tunesmith-file-id"]) == CONTENT


def test_an_upload_expires_and_its_bytes_go(server_on_both: Server) -> None:
    server = server_on_both
    place = begun(server.member)
    other = begun(server.member)
    patch(server.member, place, 0, CONTENT[:1000])
    with server.platform.database.write() as session:
        session.execute(update(Upload).values(expires_at=Upload.created_at))
    answer = patch(server.member, place, 1000, b"x")
    assert (answer.status_code, code(answer)) == (410, "upload_expired")
    begun(server.member)  # the next upload cleans up behind the others
    assert server.member.get(other).json()["state"] == "expired"
    assert len(on_disk(server)) == 1


def test_what_was_begun_counts_whole_against_the_quota(server: Server) -> None:
    path = f"/api/v1/users/{server.users['member']}"
    server.admin.patch(path, json={"quota_storage_bytes": 500_000})
    place = begun(server.member)
    refused = begin(server.member)
    assert (refused.status_code, code(refused)) == (403, "exceeded_storage_quota")
    assert "tunesmith-file-id" in patch(server.member, place, 0, CONTENT).headers
    assert code(begin(server.member)) == "exceeded_storage_quota"
    begun(server.member, CONTENT[:200_000])


def test_a_user_has_so_many_unfinished_uploads_and_no_more(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MOST_PENDING", 2)
    begun(server.member)
    begun(server.member)
    assert code(begin(server.member)) == "too_many_uploads"
    begun(server.admin)


# ---------------------------------------------------------------- crashes


def test_bytes_that_were_not_safe_are_sent_again(server: Server) -> None:
    place = begun(server.member)
    patch(server.member, place, 0, CONTENT[:1000])
    path = server.platform.place.uploads / place.rpartition("/")[2]
    with path.open("ab") as file:  # as a killed process leaves it
        file.write(b"garbage")
    assert offset(server.member, place) == 1000
    last = patch(server.member, place, 1000, CONTENT[1000:])
    assert content_of(server.member, last.headers["tunesmith-file-id"]) == CONTENT


def test_an_upload_whose_bytes_were_lost_begins_anew(server: Server) -> None:
    place = begun(server.member)
    patch(server.member, place, 0, CONTENT[:1000])
    (server.platform.place.uploads / place.rpartition("/")[2]).unlink()
    assert offset(server.member, place) == 0
    last = patch(server.member, place, 0, CONTENT)
    assert content_of(server.member, last.headers["tunesmith-file-id"]) == CONTENT


def test_an_upload_that_is_whole_but_no_file_yet_becomes_one_at_the_next_look(
    server_on_both: Server,
) -> None:
    server = server_on_both
    place = begun(server.member)
    patch(server.member, place, 0, CONTENT[:-1])
    upload_id = place.rpartition("/")[2]
    with (server.platform.place.uploads / upload_id).open("ab") as file:
        file.write(CONTENT[-1:])
    with server.platform.database.write() as session:  # a crash came before the file was made
        session.execute(update(Upload).values(received_bytes=len(CONTENT)))
    answer = server.member.head(place, headers=TUS)
    assert content_of(server.member, answer.headers["tunesmith-file-id"]) == CONTENT


def test_a_database_that_fails_at_the_end_loses_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = begun(server.member)

    def fail(*_: object) -> None:
        raise RuntimeError("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(tus, "fsync_directory", fail)  # after the rename, before the commit
        assert patch(server.member, place, 0, CONTENT).status_code == 500
    with server.platform.database.read() as session:
        assert session.scalars(select(File)).all() == []
    answer = server.member.head(place, headers=TUS)
    assert content_of(server.member, answer.headers["tunesmith-file-id"]) == CONTENT
    assert len(os.listdir(server.platform.place.files)) == 1


# ---------------------------------------------------------------- real connections


class Counted:
    """The application, and how many requests began and ended in it."""

    def __init__(self, app: Any) -> None:
        self._app, self.begun, self.ended, self.port = app, 0, 0, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.ended += 1


@contextmanager
def listening(server: Server) -> Generator[Counted]:
    """The application behind a real socket."""
    counted = Counted(server.app)
    config = uvicorn.Config(
        counted, port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        wait_for(lambda: running.started)
        counted.port = running.servers[0].sockets[0].getsockname()[1]
        yield counted
    finally:
        running.should_exit = True
        thread.join()


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)
    return found


@pytest.fixture
def wire(server: Server) -> Iterator[Counted]:
    with listening(server) as counted:
        yield counted


def over_wire(server: Server, wire: Counted) -> httpx.Client:
    headers = {"Authorization": f"Bearer {server.tokens['member']}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{wire.port}", headers=headers, timeout=30)


def open_patch(
    server: Server, wire: Counted, place: str, offset: int, length: int
) -> socket.socket:
    """A connection that has announced its bytes and sent none; the server knows of it."""
    line, begun = socket.create_connection(("127.0.0.1", wire.port)), wire.begun
    head = (
        f"PATCH {place} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\n"
        f"Authorization: Bearer {server.tokens['member']}\r\nUpload-Offset: {offset}\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {length}\r\n\r\n"
    )
    line.sendall(head.encode())
    wait_for(lambda: wire.begun > begun)
    return line


def cut(line: socket.socket, *, hard: bool) -> None:
    """End a connection in the middle: `hard` as a machine that loses its line, else with a FIN."""
    if hard:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


@rules(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cuts=st.lists(st.integers(0, len(CONTENT) - 1), max_size=4), hard=st.booleans())
def test_an_upload_cut_at_any_bytes_is_finished_from_where_it_was(
    server: Server, wire: Counted, cuts: list[int], hard: bool
) -> None:
    with over_wire(server, wire) as client:
        place, at = begun(client), 0
        for end in sorted(cuts):
            line = open_patch(server, wire, place, at, len(CONTENT) - at)
            line.sendall(CONTENT[at:end])
            cut(line, hard=hard)
            wait_for(lambda: wire.ended == wire.begun)
            arrived = offset(client, place)
            assert at <= arrived <= max(at, end)
            at = arrived
        last = patch(client, place, at, CONTENT[at:])
        assert content_of(client, last.headers["tunesmith-file-id"]) == CONTENT


@pytest.mark.parametrize("hard", [False, True])
def test_what_arrived_before_a_cut_is_kept(server: Server, wire: Counted, hard: bool) -> None:
    with over_wire(server, wire) as client:
        place = begun(client, LARGE)
        line = open_patch(server, wire, place, 0, len(LARGE))
        line.sendall(LARGE[:-1])
        wait_for(lambda: size_on_disk(server, place) >= 3 << 20)
        cut(line, hard=hard)
        wait_for(lambda: wire.ended == wire.begun)
        at = offset(client, place)
        assert at >= 3 << 20
        last = patch(client, place, at, LARGE[at:])
        assert content_of(client, last.headers["tunesmith-file-id"]) == LARGE


def test_of_two_who_send_at_once_one_wins(server: Server, wire: Counted) -> None:
    with over_wire(server, wire) as client:
        place = begun(client, LARGE)
        with open_patch(server, wire, place, 0, len(LARGE)) as slow:
            slow.sendall(LARGE[: 2 << 20])
            wait_for(lambda: size_on_disk(server, place) >= 1 << 20)
            answer = patch(client, place, 0, LARGE)
            assert (answer.status_code, code(answer)) == (423, "upload_locked")
            assert offset(client, place) == 0  # what is safe, not what is written
            slow.sendall(LARGE[2 << 20 :])
            assert slow.recv(65536).startswith(b"HTTP/1.1 204")
        answer = patch(client, place, 0, LARGE)
        assert (answer.status_code, code(answer)) == (409, "upload_completed")
        assert content_of(client, client.get(place).json()["file_id"]) == LARGE


def test_many_at_once_make_one_file(server_on_both: Server) -> None:
    server = server_on_both
    with listening(server) as wire, over_wire(server, wire) as client:
        place = begun(client)
        with ThreadPoolExecutor(8) as pool:
            sent = list(pool.map(lambda _: patch(client, place, 0, CONTENT).status_code, range(16)))
        assert sent.count(204) == 1
        assert set(sent) <= {204, 409, 423}
        assert len(client.get("/api/v1/files").json()["data"]) == 1


def test_an_upload_ended_under_a_sender_stops_it(server: Server, wire: Counted) -> None:
    with over_wire(server, wire) as client:
        place = begun(client, LARGE)
        with open_patch(server, wire, place, 0, len(LARGE)) as line:
            line.sendall(LARGE[: 2 << 20])
            wait_for(lambda: size_on_disk(server, place) >= 1 << 20)
            assert client.delete(place, headers=TUS).status_code == 204
            line.sendall(LARGE[2 << 20 :])
            assert b" 410 " in line.recv(65536).split(b"\r\n")[0]
        assert on_disk(server) == []


def test_bytes_are_safe_from_time_to_time_while_they_come(
    server: Server, wire: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tus, "_SYNC_BYTES", 1 << 20)
    monkeypatch.setattr(tus, "_LOOK_SECONDS", 0.0)
    with over_wire(server, wire) as client:
        place = begun(client, LARGE)
        with open_patch(server, wire, place, 0, len(LARGE)) as line:
            line.sendall(LARGE[:-1])
            wait_for(lambda: offset(client, place) >= 3 << 20)
            line.sendall(LARGE[-1:])
            assert line.recv(65536).startswith(b"HTTP/1.1 204")


def test_a_silent_sender_gives_the_upload_up(settings: Settings) -> None:
    changed = settings.model_copy(update={"upload_silence_seconds": 0.3})
    with (
        serving(changed) as server,
        listening(server) as wire,
        over_wire(server, wire) as client,
    ):
        place = begun(client)
        with open_patch(server, wire, place, 0, len(CONTENT)) as line:
            line.sendall(CONTENT[:70_000])  # and then nothing, with the line open
            wait_for(lambda: offset(client, place) == 70_000)
            answer = patch(client, place, 70_000, CONTENT[70_000:])
            assert answer.status_code == 204
