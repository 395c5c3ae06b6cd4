"""Backups: consistent beside writers, read back whole, and refused when anything is wrong."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select
from tests.unit.server.conftest import POSTGRES, START, Clock, World, postgres_database

from tunesmith.errors import TunesmithError
from tunesmith.server import claims
from tunesmith.server.claims import Result
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir, held, prepare
from tunesmith.server.errors import BackupFailed, BackupRefused, DatabaseUnavailable
from tunesmith.server.keeping import copies
from tunesmith.server.keeping.backup import back_up, verify
from tunesmith.server.keeping.restore import OLD_SETTINGS, missing_files, restore
from tunesmith.server.sealing import Seal, SealBroken
from tunesmith.server.settings import Settings
from tunesmith.server.tables import (
    Base,
    Checkpoint,
    Dataset,
    DatasetVersion,
    Event,
    File,
    Job,
    MetricPoint,
    Model,
    Upload,
)

WRITER = """
import hashlib, os, sys
from pathlib import Path
from tunesmith.server import claims, clock, ids, workers
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.queue import NewJob, Queue, Submitted, body_hash

from tunesmith.server.quotas import Limits
from tunesmith.server.tables import File
from tunesmith.server.workers import DeviceInfo

place, database = DataDir(Path(sys.argv[1])), Database(sys.argv[2])
worker = workers.register(database, "writer", [DeviceInfo(0)])
fresh = NewJob(name="job", project_id="proj-a", user_id="user-a", recipe={}, base="starter")
Queue(database, Limits()).create(fresh, Submitted(body_hash("x")))
claimed = claims.claim(database, worker)
claims.started(database, claimed)
number = 0
while True:
    number += 1
    content = os.urandom(2000)
    with database.write() as session:
        now = clock.read(session).wall
        name = ids.new(ids.FILE, now)
        draft = place.files / f".{name}.tmp"
        draft.write_bytes(content)
        draft.rename(place.file(name))
        session.add(File(id=name, project_id="proj-a", user_id="user-a", filename="x",
                         purpose="fine-tune", bytes=len(content), created_at=now,
                         sha256=hashlib.sha256(content).hexdigest()))
    events = [{"attempt": claimed.attempt, "seq": 2 * number - 1, "type": "evaluation", "step": 1},
              {"attempt": claimed.attempt, "seq": 2 * number, "type": "step", "step": number}]
    claims.record(database, claimed, events)
    print(number, flush=True)
"""


@dataclass
class Installation:
    """A database and a data directory."""

    world: World
    place: DataDir
    settings: Settings

    def add_file(self, name: str, content: bytes = b"row") -> None:
        self.place.file(name).write_bytes(content)
        with self.world.database.write() as session:
            session.add(
                File(
                    id=name,
                    project_id=self.world.project,
                    user_id=self.world.user,
                    filename="data.jsonl",
                    purpose="fine-tune",
                    bytes=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                    created_at=START,
                )
            )

    def add_dataset(self) -> None:
        folder = self.place.dataset_version("客服", 1)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        with self.world.database.write() as session:
            session.add(
                Dataset(
                    id="ds-a",
                    project_id=self.world.project,
                    user_id=self.world.user,
                    name="客服",
                    folder="客服",
                    created_at=START,
                )
            )
            session.flush()
            session.add(
                DatasetVersion(
                    id="dsv-a",
                    dataset_id="ds-a",
                    number=1,
                    user_id=self.world.user,
                    rows=1,
                    bytes=1,
                    content="x",
                    created_at=START,
                )
            )

    def add_run(self, job_id: str, steps: tuple[int, ...] = (100,)) -> None:
        run = self.place.run(job_id)
        for step in steps:
            self.place.checkpoint(job_id, step).mkdir(parents=True)
            (self.place.checkpoint(job_id, step) / "weights").write_bytes(b"w" * 5000)
            with self.world.database.write() as session:
                session.add(
                    Checkpoint(
                        id=f"ftckpt_{job_id}_{step}",
                        job_id=job_id,
                        attempt=1,
                        step=step,
                        created_at=START,
                    )
                )
        (run / "artifacts").mkdir(parents=True)
        (run / "artifacts" / "adapter").write_bytes(b"a" * 100)
        (run / "events.jsonl").write_text('{"type": "started"}\n')

    def finished(self, name: str) -> str:
        claimed = self.world.running(name)
        claims.succeed(self.world.database, claimed, Result(f"ft:{name}", "adapter", bytes=10))
        self.add_run(claimed.job_id)
        return claimed.job_id


def install(world: World, root: Path) -> Installation:
    place = prepare(root)
    url = world.database.url.render_as_string(hide_password=False)
    made = Installation(world, place, Settings(data_dir=place.root, database_url=url))
    made.add_file("file-a")
    made.add_dataset()
    return made


@pytest.fixture
def installation(world: World, tmp_path: Path) -> Installation:
    return install(world, tmp_path / "data")


@pytest.fixture
def lite(sqlite_template: Path, tmp_path: Path) -> Generator[Installation]:
    """On SQLite only, where the kind of database makes no difference."""
    shutil.copytree(sqlite_template, tmp_path / "database")
    clock = Clock()
    database = Database(f"sqlite:///{tmp_path}/database/tunesmith.db", clock=clock)
    world = World(database, clock)
    world.reset()
    yield install(world, tmp_path / "data")
    database.close()


@contextmanager
def somewhere_new(installation: Installation, root: Path) -> Generator[Settings]:
    """Settings of an empty installation with the same kind of database."""
    if installation.world.database.is_sqlite:
        yield Settings(data_dir=root, database_url=f"sqlite:///{root}/tunesmith.db")
        return
    with postgres_database() as url:
        yield Settings(data_dir=root, database_url=url)


@contextmanager
def opened(settings: Settings) -> Generator[Database]:
    database = Database(settings.database)
    try:
        yield database
    finally:
        database.close()


def rows_of(database: Database) -> dict[str, list[Any]]:
    with database.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*key))]
            for table in Base.metadata.sorted_tables
            for key in [table.primary_key]
        }


@pytest.mark.parametrize("name", ["folder", "b.tar.zst"])
def test_a_backup_comes_back_as_it_was(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    job = installation.finished("first")
    (installation.place.root / "settings.yaml").write_text("port: 1\n")
    manifest = back_up(installation.settings, tmp_path / name)
    assert manifest == verify(tmp_path / name)
    assert manifest.missing == manifest.skipped == []
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with somewhere_new(installation, tmp_path / "新 data") as settings:
        done = restore(tmp_path / name, settings)
        assert done.missing == []
        place = DataDir(settings.data_dir)
        with opened(settings) as database:
            assert rows_of(database) == rows_of(installation.world.database)
            with database.read() as session:
                assert missing_files(session, place) == []
        assert place.secret() == installation.place.secret()
        assert place.file("file-a").read_bytes() == b"row"
        assert (place.checkpoint(job, 100) / "weights").read_bytes() == b"w" * 5000
        assert (place.run(job) / "events.jsonl").is_file()
        assert done.has_old_settings
        assert (place.root / OLD_SETTINGS).is_file()
        assert not (place.root / "settings.yaml").exists()
        assert not list(place.root.glob(".*"))
        assert place.secret_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.parametrize("name", ["b.tar.zst"])
def test_a_backup_beside_a_writer_is_of_one_moment(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    url = installation.settings.database
    command = [sys.executable, "-c", WRITER, str(installation.place.root), url]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    try:
        while int(writer.stdout.readline()) < 20:
            pass
        back_up(installation.settings, tmp_path / name)
        assert writer.poll() is None, "the writer went on"
        seen = int(writer.stdout.readline())
    finally:
        writer.kill()
        writer.communicate()
    with somewhere_new(installation, tmp_path / "new") as settings:
        restore(tmp_path / name, settings)
        place = DataDir(settings.data_dir)
        with opened(settings) as database, database.read() as session:
            files = list(session.scalars(select(File)))
            assert len(files) >= 20
            assert seen >= 20
            for file in files:
                content = place.file(file.id).read_bytes()
                assert hashlib.sha256(content).hexdigest() == file.sha256
            assert missing_files(session, place) == []
            job = session.scalars(select(Job)).one()
            numbers = [
                *session.scalars(select(Event.number)),
                *session.scalars(select(MetricPoint.number)),
            ]
            assert sorted(numbers) == list(range(1, job.event_count + 1))


@pytest.mark.parametrize("name", ["b.tar", "b.tar.gz", "b.tgz"])
def test_other_kinds_of_archive_come_back_too(
    lite: Installation, tmp_path: Path, name: str
) -> None:
    back_up(lite.settings, tmp_path / name)
    with somewhere_new(lite, tmp_path / "new") as settings:
        assert restore(tmp_path / name, settings).missing == []
        with opened(settings) as database:
            assert rows_of(database) == rows_of(lite.world.database)


def test_files_deleted_while_a_backup_is_made_are_listed_and_told_to_the_database(
    lite: Installation, tmp_path: Path
) -> None:
    job = lite.finished("first")
    weights = lite.place.checkpoint(job, 100) / "weights"

    def delete_late(_: str, done: int, __: int) -> None:
        if done:
            weights.unlink(missing_ok=True)
            weights.parent.rmdir() if weights.parent.exists() else None

    manifest = back_up(lite.settings, tmp_path / "b.tar", on_progress=delete_late)
    assert manifest.missing == [f"runs/{job}/checkpoints/step-000100/weights"]
    with somewhere_new(lite, tmp_path / "new") as settings:
        restore(tmp_path / "b.tar", settings)
        with opened(settings) as database, database.read() as session:
            assert session.scalars(select(Checkpoint)).one().deleted_at is not None


def test_checkpoints_are_left_out_unless_something_needs_them(
    lite: Installation, tmp_path: Path
) -> None:
    finished, kept = lite.finished("first"), lite.finished("second")
    running = lite.world.running("third").job_id
    lite.add_run(running)
    with lite.world.database.write() as session:
        session.add(
            Model(
                id="model-c",
                name="ft:checkpoint",
                kind="adapter",
                source="job",
                base="starter",
                job_id=kept,
                checkpoint_id=f"ftckpt_{kept}_100",
                created_at=START,
            )
        )
    manifest = back_up(lite.settings, tmp_path / "b", checkpoints=False)
    names = {file.path for file in manifest.files}
    assert f"runs/{finished}/checkpoints/step-000100/weights" not in names
    assert f"runs/{finished}/artifacts/adapter" in names
    assert f"runs/{kept}/checkpoints/step-000100/weights" in names
    assert f"runs/{running}/checkpoints/step-000100/weights" in names


def test_the_secret_is_left_out_on_wish(lite: Installation, tmp_path: Path) -> None:
    sealed = Seal.of(lite.settings).close("an address")
    (lite.place.root / "settings.yaml").write_text("port: 8500\n")
    for name, secret in (("with.tar", True), ("without.tar", False)):
        manifest = back_up(lite.settings, tmp_path / name, secret=secret)
        held = {file.path for file in manifest.files} & {"secret", "settings.yaml"}
        assert held == ({"secret", "settings.yaml"} if secret else set())
        with somewhere_new(lite, tmp_path / name.removesuffix(".tar")) as settings:
            restore(tmp_path / name, settings)
            seal = Seal.of(settings)
            if secret:
                assert seal.open(sealed) == "an address"
            else:
                with pytest.raises(SealBroken):
                    seal.open(sealed)
                old = lite.place.secret_path.read_text()
                (settings.data_dir / "secret").write_text(old)  # kept elsewhere, brought back
                assert Seal.of(settings).open(sealed) == "an address"


def test_unfinished_uploads_begin_again(lite: Installation, tmp_path: Path) -> None:
    with lite.world.database.write() as session:
        session.add(
            Upload(
                id="upload-a",
                project_id=lite.world.project,
                user_id=lite.world.user,
                kind="tus",
                filename="x",
                purpose="fine-tune",
                bytes=9,
                created_at=START,
                expires_at=START,
            )
        )
    back_up(lite.settings, tmp_path / "b")
    with somewhere_new(lite, tmp_path / "new") as settings:
        restore(tmp_path / "b", settings)
        with opened(settings) as database, database.read() as session:
            assert session.scalars(select(Upload)).one().state == "expired"


@pytest.fixture
def made(lite: Installation, tmp_path: Path) -> Path:
    back_up(lite.settings, tmp_path / "b.tar")
    return tmp_path / "b.tar"


def refusal(source: Path, lite: Installation, root: Path) -> TunesmithError:
    with somewhere_new(lite, root) as settings:
        with pytest.raises(TunesmithError) as found:
            restore(source, settings)
        assert not root.exists()  # as before: neither a lock nor a part of it
        assert not Path(str(settings.database).removeprefix("sqlite:///")).exists()
    return found.value


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "no manifest"])
def test_a_damaged_backup_restores_nothing(
    lite: Installation, made: Path, tmp_path: Path, damage: str
) -> None:
    content = bytearray(made.read_bytes())
    if damage == "flipped":
        content[content.index(b"row", content.index(b"files/file-a"))] ^= 1
    elif damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "empty":
        content.clear()
    elif damage == "no manifest":
        target = io.BytesIO()
        with tarfile.open(made) as copy, tarfile.open(fileobj=target, mode="w") as without:
            for entry in copy:
                if entry.name != "manifest.json":
                    without.addfile(entry, copy.extractfile(entry))
        content = bytearray(target.getvalue())
    whole = made.with_name("whole.tar")
    made.rename(whole)
    made.write_bytes(content)
    error = refusal(made, lite, tmp_path / "new")
    assert isinstance(error, BackupFailed)
    assert error.code == "backup_damaged"
    with somewhere_new(lite, tmp_path / "new") as settings:  # the next try is not in its way
        restore(whole, settings)


@pytest.mark.parametrize(
    "name",
    ["../escape", "/etc/escape", "files/../../escape", "files\\..\\escape", "other/escape", "link"],
)
def test_entries_that_would_leave_the_directory_are_refused(
    lite: Installation, made: Path, tmp_path: Path, name: str
) -> None:
    entry = tarfile.TarInfo("files/link" if name == "link" else name)
    entry.size = 3
    if name == "link":
        entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
    with tarfile.open(made, "a") as tar:
        tar.addfile(entry, io.BytesIO(b"bad"))
    error = refusal(made, lite, tmp_path / "new")
    assert error.code == "backup_damaged"
    assert not list(tmp_path.rglob("*escape*"))


def test_nothing_is_ever_overwritten(lite: Installation, made: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="exists already"):
        back_up(lite.settings, made)
    with pytest.raises(BackupRefused, match="which is copied itself"):
        back_up(lite.settings, lite.place.runs / "b.tar")
    with pytest.raises(BackupRefused, match="kind of backup"):
        back_up(lite.settings, tmp_path / "b.zip")
    with pytest.raises(BackupRefused, match="not empty"):
        restore(made, lite.settings)
    elsewhere = lite.settings.model_copy(update={"data_dir": tmp_path / "new"})
    with pytest.raises(BackupRefused, match="not empty") as found:
        restore(made, elsewhere)
    assert found.value.code == "database_not_empty"
    with pytest.raises(BackupRefused, match="no backup"):
        restore(tmp_path / "nowhere.tar", elsewhere)
    assert lite.place.file("file-a").read_bytes() == b"row"


def test_one_backup_at_a_time(lite: Installation, tmp_path: Path) -> None:
    with (
        held(lite.place.keeping_lock),
        pytest.raises(BackupRefused, match=str(os.getpid())),
    ):
        back_up(lite.settings, tmp_path / "b.tar")


def test_without_a_database_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    prepare(tmp_path / "data")
    with pytest.raises(BackupRefused, match="nothing to back up"):
        back_up(Settings(data_dir=tmp_path / "data", database_url=""), tmp_path / "b.tar")
    assert not (tmp_path / "data" / "tunesmith.db").exists()


def test_of_a_damaged_database_there_is_no_backup(lite: Installation, tmp_path: Path) -> None:
    lite.world.database.close()
    file = tmp_path / "database" / "tunesmith.db"
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'users'"
        page = connection.execute(query).fetchone()[0]
    content = bytearray(file.read_bytes())
    content[4096 * (page - 1) : 4096 * page] = b"x" * 4096
    file.write_bytes(content)
    with pytest.raises(BackupFailed, match="The database is damaged"):
        back_up(lite.settings, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_database_that_stays_locked_says_so(
    lite: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "LOCK_SECONDS", 0.1)
    with lite.world.database.write() as session:
        session.execute(select(Job))
        with pytest.raises(DatabaseUnavailable, match="could not be copied"):
            back_up(lite.settings, tmp_path / "b.tar")


def test_links_are_followed_inside_only(lite: Installation, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("not ours")
    folder = lite.place.model("model-a")
    folder.mkdir()
    (folder / "weights").write_bytes(b"w")
    (folder / "same").symlink_to("weights")
    (folder / "outside").symlink_to(tmp_path / "private")
    (folder / "all").symlink_to(tmp_path)
    manifest = back_up(lite.settings, tmp_path / "b")
    assert (tmp_path / "b" / "models" / "model-a" / "same").read_bytes() == b"w"
    assert sorted(manifest.skipped) == ["models/model-a/all", "models/model-a/outside"]


def test_a_restore_that_was_killed_is_begun_again(
    lite: Installation, made: Path, tmp_path: Path
) -> None:
    root = tmp_path / "new"
    (root / ".restoring-left" / "files").mkdir(parents=True)
    with somewhere_new(lite, root) as settings:
        restore(made, settings)
    assert not list(root.glob(".restoring-*"))


def test_an_empty_directory_is_empty_again_after_a_restore_that_failed(
    lite: Installation, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    made.write_bytes(made.read_bytes()[:-20_000])
    with somewhere_new(lite, tmp_path / "new") as settings:
        with pytest.raises(BackupFailed):
            restore(made, settings)
        assert list(settings.data_dir.iterdir()) == []


def test_what_was_moved_is_taken_back_when_the_rest_cannot_be(
    installation: Installation, tmp_path: Path
) -> None:
    source, elsewhere = tmp_path / "b.tar", tmp_path / "elsewhere"
    back_up(installation.settings, source)
    with somewhere_new(installation, tmp_path / "new") as settings:
        root = settings.data_dir
        root.mkdir()
        elsewhere.mkdir()
        (root / "files").symlink_to(elsewhere)  # what is no folder of its own is not replaced
        with pytest.raises((TunesmithError, OSError)):
            restore(source, settings)
        assert [path.name for path in root.iterdir()] == ["files"]
        (root / "files").unlink()
        restore(source, settings)
        with opened(settings) as database:
            assert rows_of(database) == rows_of(installation.world.database)


def test_what_a_killed_restore_moved_is_taken_back_by_the_next(
    lite: Installation, made: Path, tmp_path: Path
) -> None:
    root = tmp_path / "new"
    left = root / ".restoring-left"
    left.mkdir(parents=True)
    for name in ("files", "runs"):
        (root / name).mkdir()
        (root / name / "of-the-killed-one").write_text("x")
    listed = {name: str(root / name) for name in ("files", "runs", "secret", "tunesmith.db")}
    (left / "moving.json").write_bytes(orjson.dumps(listed))
    with somewhere_new(lite, root) as settings:
        restore(made, settings)
        assert sorted(path.name for path in (root / "files").iterdir()) == ["file-a"]
    assert not list(root.glob(".restoring-*"))


@pytest.mark.skipif(not POSTGRES, reason="TUNESMITH_TEST_POSTGRES is not set")
def test_sqlite_moves_to_postgresql(lite: Installation, tmp_path: Path) -> None:
    lite.finished("first")
    with lite.world.database.write() as session:
        at = datetime(2026, 3, 4, 5, 6, 7, 89000, UTC)
        first = session.scalars(select(Job)).one()
        first.labels, first.started_at = {"客": [1, None, 2.5]}, at
    back_up(lite.settings, tmp_path / "b.tar.zst")
    with postgres_database() as url:
        settings = Settings(data_dir=tmp_path / "new", database_url=url)
        restore(tmp_path / "b.tar.zst", settings)
        with opened(settings) as database:
            assert rows_of(database) == rows_of(lite.world.database)
        back_up(settings, tmp_path / "c.tar")
        lite = replace_database(settings, tmp_path / "third")
        with pytest.raises(BackupRefused, match="cannot become SQLite"):
            restore(tmp_path / "c.tar", lite)
        assert not (tmp_path / "third" / "tunesmith.db").exists()


def replace_database(settings: Settings, root: Path) -> Settings:
    return settings.model_copy(
        update={"data_dir": root, "database_url": Settings(database_url="").database_url}
    )
