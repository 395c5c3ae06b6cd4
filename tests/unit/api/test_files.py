"""Files over the API: what is sent comes back byte by byte, and nothing else is ever stored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update
from tests.mounts import small_disk
from tests.unit.api.conftest import Server, serving

from tunesmith.server.filenames import component, display_name
from tunesmith.server.services import files as service
from tunesmith.server.settings import Settings
from tunesmith.server.tables import File

ROWS = b'{"prompt": "How late are you open?", "completion": "Until 18:00."}\n' * 50


def send(
    server: Server,
    name: str = "rows.jsonl",
    content: bytes = ROWS,
    who: str = "member",
    **fields: Any,
) -> dict[str, Any]:
    answer = server.client(who).post("/api/v1/files", files={"file": (name, content)}, data=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def code(answer: Any) -> str:
    return answer.json()["error"]["code"]


def stored(server: Server) -> list[str]:
    return sorted(os.listdir(server.platform.place.files))


def test_a_file_comes_back_as_it_was_sent(server_on_both: Server) -> None:
    server = server_on_both
    file = send(server, purpose="fine-tune")
    assert file["bytes"] == len(ROWS)
    assert file["sha256"] == hashlib.sha256(ROWS).hexdigest()
    answer = server.viewer.get(f"/api/v1/files/{file['id']}/content")
    assert answer.content == ROWS
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert stored(server) == [file["id"]]


def test_a_part_of_a_file_can_be_read(server: Server) -> None:
    file = send(server)
    part = server.member.get(
        f"/api/v1/files/{file['id']}/content", headers={"Range": "bytes=10-19"}
    )
    assert (part.status_code, part.content) == (206, ROWS[10:20])


@pytest.mark.parametrize(
    "name",
    ["../../x", "..\\..\\x", "C:x", "%2e%2e%2fx", "CON", "a" * 300 + ".jsonl", "\u202egnp.exe",
     "\u5ba2\u670d.jsonl", "/etc/passwd", "-rf", " "],
)  # fmt: skip
def test_an_odd_name_is_text_and_never_a_place(server: Server, name: str) -> None:
    file = send(server, name)
    assert stored(server) == [file["id"]]
    assert 0 < len(file["filename"]) <= 255
    answer = server.member.get(f"/api/v1/files/{file['id']}/content")
    told = answer.headers["content-disposition"]
    assert answer.content == ROWS
    assert "/" not in told.replace("''", "")
    assert "\\" not in told


@given(st.text(max_size=400))
def test_every_name_becomes_text_to_show_and_a_component_of_a_path(name: str) -> None:
    shown = display_name(name)
    assert 0 < len(shown) <= 255
    assert shown.isprintable() or not any(
        ord(each) < 32 or 127 <= ord(each) < 160 for each in shown
    )
    shown.encode()
    part = component(shown)
    assert part not in ("", ".", "..")
    assert "/" not in part
    assert "\\" not in part
    assert "\0" not in part
    assert len(part.encode()) <= 150


def test_the_ending_of_a_name_survives_its_shortening() -> None:
    assert display_name("a" * 400 + ".jsonl.gz").endswith(".jsonl.gz")
    assert component("\u5ba2" * 200 + ".csv").endswith(".csv")


def test_a_list_goes_on_where_it_ended_in_either_order(server: Server) -> None:
    sent = [send(server, f"{number}.jsonl")["id"] for number in range(5)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        part = server.viewer.get("/api/v1/files", params={"limit": 2, **after}).json()
        seen += [each["id"] for each in part["data"]]
        if not part["has_more"]:
            break
        after = {"after": part["last_id"]}
    assert seen == sent[::-1]
    caller = server.platform.people.as_user(server.users["member"], server.project)
    oldest = server.platform.files.list(caller, newest_first=False, limit=10_000)
    assert [each.id for each in oldest.items] == sent


def test_a_list_knows_purposes_and_projects(server: Server) -> None:
    ours = send(server, purpose="batch")["id"]
    send(server, purpose="fine-tune")
    theirs = send(server, who="foreigner")["id"]
    batch = server.viewer.get("/api/v1/files", params={"purpose": "batch"}).json()["data"]
    assert [each["id"] for each in batch] == [ours]
    seen = server.foreigner.get("/api/v1/files").json()["data"]
    assert [each["id"] for each in seen] == [theirs]


def test_a_deleted_file_is_gone_for_everybody(server_on_both: Server) -> None:
    server = server_on_both
    path = f"/api/v1/files/{send(server)['id']}"
    assert server.member.delete(path).status_code == 204
    for answer in (server.member.get(path), server.member.delete(path)):
        assert (answer.status_code, code(answer)) == (404, "file_not_found")
    assert server.member.get(f"{path}/content").status_code == 404
    assert server.member.get("/api/v1/files").json()["data"] == []


def test_viewers_read_and_foreigners_find_nothing(server: Server) -> None:
    path = f"/api/v1/files/{send(server)['id']}"
    assert server.viewer.get(path).status_code == 200
    assert code(server.viewer.delete(path)) == "role_too_low"
    refused = server.viewer.post("/api/v1/files", files={"file": ("x", b"x")})
    assert (refused.status_code, code(refused)) == (403, "role_too_low")
    for answer in (
        server.foreigner.get(path),
        server.foreigner.get(f"{path}/content"),
        server.foreigner.delete(path),
    ):
        assert (answer.status_code, code(answer)) == (404, "file_not_found")
    other = {"project_id": server.their_project}
    assert (
        server.member.post("/api/v1/files", files={"file": ("x", b"x")}, data=other).status_code
        == 404
    )
    assert len(stored(server)) == 1


def test_a_file_ends_with_its_time(server: Server) -> None:
    file = send(server, expires_after_seconds="3600")
    assert file["expires_at"] is not None
    with server.platform.database.write() as session:
        session.execute(update(File).values(expires_at=File.created_at))
    assert server.member.get(f"/api/v1/files/{file['id']}").status_code == 404
    assert server.platform.files.clean() == 1
    assert server.platform.files.clean() == 0


def body(*parts: bytes, end: bytes = b"--cut--\r\n") -> bytes:
    return b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + end


FILE = b'Content-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\nrows'
PURPOSE = b'Content-Disposition: form-data; name="purpose"\r\n\r\nfine-tune'


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("multipart/form-data; boundary=cut", body(PURPOSE), "invalid_form"),
        ("multipart/form-data; boundary=cut", body(FILE, FILE), "invalid_form"),
        ("multipart/form-data; boundary=cut", body(FILE, end=b""), "invalid_form"),
        ("multipart/form-data; boundary=cut", body(FILE)[:-40], "invalid_form"),
        ("multipart/form-data; boundary=other", body(FILE), "invalid_form"),
        ("multipart/form-data", body(FILE), "invalid_form"),
        ("application/json", b"{}", "invalid_form"),
        ("multipart/form-data; boundary=cut", b"\0" * 1000, "invalid_form"),
        ("multipart/form-data; boundary=cut", b"", "invalid_form"),
        (
            "multipart/form-data; boundary=cut",
            body(FILE, PURPOSE.replace(b"fine-tune", b"x" * 70_000)),
            "invalid_form",
        ),
        (
            "multipart/form-data; boundary=cut",
            body(FILE, PURPOSE.replace(b"fine-tune", b"evil")),
            "invalid_body",
        ),
        (
            "multipart/form-data; boundary=cut",
            body(FILE, PURPOSE.replace(b'"purpose"', b'"unknown"')),
            "invalid_body",
        ),
    ],
)
def test_a_broken_form_is_refused_and_leaves_nothing(
    server: Server, kind: str, content: bytes, expected: str
) -> None:
    answer = server.member.post("/api/v1/files", content=content, headers={"Content-Type": kind})
    assert (answer.status_code in (400, 422), code(answer)) == (True, expected)
    assert stored(server) == []


def test_fields_may_come_before_and_after_the_file(server: Server) -> None:
    for parts in ((FILE, PURPOSE), (PURPOSE, FILE)):
        answer = server.member.post(
            "/api/v1/files",
            content=body(*parts),
            headers={"Content-Type": "multipart/form-data; boundary=cut"},
        )
        assert answer.status_code == 201, answer.text
        assert answer.json()["bytes"] == 4


@pytest.mark.parametrize("streamed", [False, True])
def test_a_file_above_the_limit_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    monkeypatch.setitem(service.Files.begin.__kwdefaults__ or {}, "most", 100_000)
    content = body(FILE.replace(b"rows", b"x" * 300_000))
    chunks: Any = iter([content[:150_000], content[150_000:]]) if streamed else content
    answer = server.member.post(
        "/api/v1/files",
        content=chunks,
        headers={"Content-Type": "multipart/form-data; boundary=cut"},
    )
    assert (answer.status_code, code(answer)) == (413, "file_too_large")
    assert stored(server) == []


def limit_storage(server: Server, limit: int) -> None:
    path = f"/api/v1/users/{server.users['member']}"
    assert server.admin.patch(path, json={"quota_storage_bytes": limit}).status_code == 200


@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_is_stored_beyond_the_quota(server_on_both: Server, streamed: bool) -> None:
    server = server_on_both
    limit_storage(server, len(ROWS) + 200_000)
    first = send(server)
    content = body(FILE.replace(b"rows", b"x" * 300_000))
    answer = server.member.post(
        "/api/v1/files",
        content=iter([content]) if streamed else content,
        headers={"Content-Type": "multipart/form-data; boundary=cut"},
    )
    assert (answer.status_code, code(answer)) == (403, "exceeded_storage_quota")
    assert stored(server) == [first["id"]]
    server.member.delete(f"/api/v1/files/{first['id']}")
    send(server, content=b"x" * 200_000)


def test_a_small_file_above_the_quota_is_refused_without_a_negative_size(server: Server) -> None:
    send(server, content=b"x" * 3000)
    limit_storage(server, 1000)
    answer = server.member.post(
        "/api/v1/files",
        content=body(FILE),
        headers={"Content-Type": "multipart/form-data; boundary=cut"},
    )
    assert (answer.status_code, code(answer)) == (403, "exceeded_storage_quota")
    error = answer.json()["error"]
    assert "more than your limit" in error["message"]
    assert "-" not in error["message"]
    assert error["details"]["wanted"] == 0


@pytest.fixture
def files_disk(settings: Settings) -> Iterator[Path]:
    """The folder of files on a disk of 256 kB."""
    with small_disk(settings.data_dir / "files", "size=256k") as place:
        yield place


@pytest.mark.parametrize("streamed", [False, True])
def test_a_full_disk_is_said_and_nothing_stays(
    settings: Settings, files_disk: Path, streamed: bool
) -> None:
    with serving(settings) as server:
        content = body(FILE.replace(b"rows", os.urandom(3_000_000)))
        answer = server.member.post(
            "/api/v1/files",
            content=iter([content]) if streamed else content,
            headers={"Content-Type": "multipart/form-data; boundary=cut"},
        )
        assert (answer.status_code, code(answer)) == (507, "disk_full")
        assert os.listdir(files_disk) == []
        assert str(files_disk) not in answer.text
        send(server)  # what is small enough still goes


def test_drafts_of_killed_processes_are_cleaned_once_they_are_old(server: Server) -> None:
    kept = send(server)
    folder = server.platform.place.files
    for name in (".draft-old", ".draft-new"):
        (folder / name).write_bytes(b"x")
    for name in (".draft-old", kept["id"]):
        os.utime(folder / name, (0, 0))
    assert server.platform.files.clean() == 1
    assert stored(server) == sorted([kept["id"], ".draft-new"])


def test_a_file_whose_bytes_are_missing_says_so(server: Server) -> None:
    file = send(server)
    (server.platform.place.files / file["id"]).unlink()
    answer = server.member.get(f"/api/v1/files/{file['id']}/content")
    assert (answer.status_code, code(answer)) == (404, "file_bytes_missing")


def test_a_problem_is_told_in_chinese(server: Server) -> None:
    answer = server.member.get("/api/v1/files/file-x", headers={"Accept-Language": "zh-CN"})
    assert answer.json()["error"]["message"] == "\u6ca1\u6709\u6587\u4ef6 file-x\u3002"
