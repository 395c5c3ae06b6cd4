"""Archives of data files, and the attacks that they carry. FAULTS 18."""

from __future__ import annotations

import gzip
import io
import json
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.datasets import begin, code, done, finished, lines, rows, send

from tunesmith.errors import DataError
from tunesmith.server.errors import TooLarge
from tunesmith.server.services.datasets import archives
from tunesmith.server.services.datasets.archives import Caps, look, unpack

TABLE = b"prompt,completion\nWhat is a?,The first letter\nWhat is b?,The second letter\n"


def zipped(files: dict[str, bytes], level: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", level) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def kept(folder: Path, content: bytes) -> Path:
    path = folder / "stored"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["rows.zip", "rows.tar.gz", "rows.tgz", "rows.tar"])
def test_the_data_files_of_an_archive_become_one_version(server: Server, name: str) -> None:
    files = {
        "data/a.jsonl": lines(5),
        "data/more/b.csv": TABLE,
        "__MACOSX/data/._a.jsonl": b"x",
        "readme.md": b"# rows",
        "old.zip": b"PK",
    }
    content = (
        zipped(files)
        if name.endswith("zip")
        else tarred(files, "w" if name.endswith("tar") else "w:gz")
    )
    begun = begin(server, "packed", content, filename=name)
    assert begun.status_code == 202, begun.text
    told = done(server, begun.json()["task"])
    assert told["rows"] == 7
    found = {row["file"] for row in rows(server, begun.json()["dataset"]["id"])["data"]}
    assert found == {"data_a.jsonl", "data_more_b.csv"}
    assert list((server.platform.place.cache / "unpacked").iterdir()) == []


def test_a_zip_can_be_looked_at_before_it_is_imported(server: Server) -> None:
    file = send(server, zipped({"b.csv": TABLE, "a.jsonl": lines(3)}), "rows.zip")
    seen = server.viewer.post("/api/v1/datasets/detect", json={"file_id": file}).json()
    assert (seen["file"], seen["format"], len(seen["rows"])) == ("a.jsonl", "prompt_response", 3)
    file = send(server, tarred({"a.jsonl": lines(3)}), "rows.tgz")
    answer = server.viewer.post("/api/v1/datasets/detect", json={"file_id": file})
    assert (answer.status_code, code(answer)) == (400, "archive_not_shown")


def test_a_bomb_is_refused_before_anything_is_unpacked(server: Server) -> None:
    bomb = zipped({"a.jsonl": b" " * (300 << 20)})
    assert len(bomb) < 1 << 20
    refused = begin(server, "bomb", bomb, filename="bomb.zip")
    assert (refused.status_code, code(refused)) == (413, "archive_too_large")
    assert "Archive expands to more than 256 MB" in refused.json()["error"]["message"]
    begun = begin(server, "bomb", tarred({"a.jsonl": b" " * (300 << 20)}), filename="bomb.tgz")
    failed = finished(server, begun.json()["task"])
    assert failed["error"]["code"] == "archive_too_large"
    assert server.viewer.get("/api/v1/datasets").json()["data"] == []
    assert list((server.platform.place.cache / "unpacked").iterdir()) == []


@pytest.mark.parametrize("kind", ["zip", "tgz"])
@pytest.mark.parametrize(
    ("caps", "what"),
    [
        (Caps(entries=3), "more than 3 entries"),
        (Caps(bytes=100), "more than 100 bytes"),
        (Caps(depth=2), "more than 2 deep"),
        (Caps(ratio=2, ratio_from=1), "2 times its size"),
    ],
)
def test_each_limit_holds(tmp_path: Path, kind: str, caps: Caps, what: str) -> None:
    files = {f"a/b/{n}.jsonl": lines(40) for n in range(4)}
    content = zipped(files) if kind == "zip" else tarred(files)
    path = kept(tmp_path, content)
    with pytest.raises(TooLarge, match=what):
        look(path, f"x.{kind}", caps)


@pytest.mark.parametrize(
    "name", ["../a.jsonl", "/etc/a.jsonl", "a/../../b.jsonl", "..\\a.jsonl", "C:a.jsonl"]
)
@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    files = {"good.jsonl": lines(2), name: lines(2)}
    path = kept(tmp_path, zipped(files) if kind == "zip" else tarred(files))
    with pytest.raises(DataError) as refused:
        look(path, f"x.{kind}")
    assert refused.value.code == "archive_unsafe_name"


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(lines(9))
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, kind in (
            ("link", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("pipe", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(f"{name}.jsonl")
            info.type, info.linkname = kind, str(secret)
            archive.addfile(info)
        info = tarfile.TarInfo("good.jsonl")
        info.size = len(lines(2))
        archive.addfile(info, io.BytesIO(lines(2)))
    _only_the_good_one(tmp_path, made.getvalue(), "x.tgz")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        link = zipfile.ZipInfo("link.jsonl")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(secret))
        archive.writestr("good.jsonl", lines(2))
    _only_the_good_one(tmp_path, made.getvalue(), "x.zip")


def _only_the_good_one(folder: Path, content: bytes, name: str) -> None:
    path = kept(folder, content)
    contents = look(path, name)
    assert "link.jsonl" in [each for each, _ in contents.aside]
    target = folder / f"out-{name}"
    target.mkdir()
    assert unpack(path, name, contents, target) == [target / "good.jsonl"]
    assert [each.name for each in target.iterdir()] == ["good.jsonl"]


def test_a_tar_whose_header_claims_a_gigabyte_holds_no_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("PaxHeaders/a.jsonl")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    block = header.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 1024
    path = kept(tmp_path, gzip.compress(block))
    with pytest.raises(DataError) as refused:
        look(path, "x.tgz")
    assert refused.value.code == "archive_damaged"


def test_a_zip_with_a_million_entries_is_refused_by_the_size_of_its_list(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.jsonl": lines(2)}))
    end = content.rfind(b"PK\x05\x06")
    content[end + 12 : end + 16] = (80 << 20).to_bytes(4, "little")
    with pytest.raises(TooLarge, match="too many entries"):
        look(kept(tmp_path, bytes(content)), "x.zip")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "x.zip"),
        (b"PK\x03\x04 broken", "x.zip"),
        (zipped({"a.jsonl": lines(50)})[:-40], "x.zip"),
        (b"\x1f\x8b broken", "x.tgz"),
        (tarred({"a.jsonl": lines(50)})[:-40], "x.tgz"),
        (b"not a tar" * 100, "x.tar"),
        (zipped({"readme.md": b"no rows"}), "x.zip"),
    ],
)
def test_broken_and_empty_archives_are_told_in_words(
    server: Server, content: bytes, name: str
) -> None:
    answer = begin(server, "odd", content, filename=name)
    if answer.status_code == 202:
        problem = finished(server, answer.json()["task"])["error"]
    else:
        problem = answer.json()["error"]
    assert problem["code"] in ("archive_damaged", "archive_without_data"), problem
    assert str(server.platform.place.root) not in json.dumps(problem)
    assert server.viewer.get("/api/v1/datasets").json()["data"] == []


def test_names_in_gbk_are_read(tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("aaaa.jsonl", lines(2))
    content = made.getvalue().replace(b"aaaa.jsonl", "\u6570\u636e".encode("gb18030") + b".jsonl")
    contents = look(kept(tmp_path, content), "x.zip")
    assert [member.name for member in contents.members] == ["\u6570\u636e.jsonl"]


def test_an_entry_longer_than_it_says_ends_the_import(tmp_path: Path) -> None:
    path = kept(tmp_path, zipped({"a.jsonl": lines(50)}, zipfile.ZIP_STORED))
    contents = look(path, "x.zip")
    short = archives.Member("a.jsonl", "a.jsonl", 10)
    with pytest.raises(DataError, match="longer than it says"):
        unpack(path, "x.zip", archives.Contents([short], contents.aside, None), tmp_path)


INFO = {
    "shop": {
        "file_name": "data/shop.json",
        "columns": {"prompt": "Frage", "response": "Antwort"},
    },
    "chat": {
        "file_name": "chat.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk"},
        "tags": {"role_tag": "from", "content_tag": "value"},
    },
    "far": {"hf_hub_url": "someone/far"},
    "gone": {"file_name": "gone.json"},
    "outside": {"file_name": "../shop.json"},
    "script": {"script_url": "load.py"},
}
SHOP = json.dumps(
    [{"Frage": f"Was ist {n}?", "Antwort": f"Es ist {n}."} for n in range(6)]
).encode()
CHAT = json.dumps(
    [
        {"talk": [{"from": "human", "value": f"Hi {n}"}, {"from": "gpt", "value": "Hello."}]}
        for n in range(4)
    ]
).encode()


def test_the_datasets_of_a_list_are_imported_with_a_verdict_on_every_key(server: Server) -> None:
    listing = json.dumps(INFO).encode()
    files = {"x/dataset_info.json": listing, "x/data/shop.json": SHOP, "x/chat.json": CHAT}
    together = [send(server, zipped(files), "all.zip")]
    apart = [
        send(server, listing, "dataset_info.json"),
        send(server, SHOP, "shop.json"),
        send(server, CHAT, "chat.json"),
    ]
    for file_ids in (together, apart):
        body = {"file_ids": file_ids}
        answer = server.member.post("/api/v1/datasets/import-info", json=body)
        assert answer.status_code == 202, answer.text
        told = {each["name"]: each for each in answer.json()["data"]}
        assert told.keys() == INFO.keys()
        assert done(server, told["shop"]["task"])["rows"] == 6
        assert done(server, told["chat"]["task"])["rows"] == 4
        first = rows(server, told["shop"]["dataset_id"], limit=1)["data"][0]
        assert first["record"]["messages"][0]["content"] == "Was ist 0?"
        assert "huggingface" in told["far"]["problem"]
        assert "not among the files" in told["gone"]["problem"]
        assert "not among the files" in told["outside"]["problem"]
        assert told["script"]["task"] is None
        assert {"dataset_info.script.script_url"} == {
            each["key"] for each in told["script"]["verdicts"]
        }
        again = server.member.post(
            "/api/v1/datasets/import-info", json=body | {"only": ["shop"]}
        ).json()["data"]
        assert "already" in again[0]["problem"]
        for name in ("shop", "chat"):
            path = f"/api/v1/datasets/{told[name]['dataset_id']}"
            assert server.member.delete(path).status_code == 204


def test_a_broken_list_is_told_with_its_line(server: Server) -> None:
    broken = send(server, b'{\n "a": {"file_name": }\n}', "dataset_info.json")
    answer = server.member.post("/api/v1/datasets/import-info", json={"file_ids": [broken]})
    assert (answer.status_code, code(answer)) == (400, "bad_dataset_info")
    assert "line 2" in answer.json()["error"]["message"]
    none = server.member.post(
        "/api/v1/datasets/import-info", json={"file_ids": [send(server, SHOP, "shop.json")]}
    )
    assert (none.status_code, code(none)) == (400, "dataset_info_missing")
