"""What a clean-up removes, and what it never touches."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from tests.unit.server.conftest import START, World

from tunesmith.server import claims
from tunesmith.server.claims import Result
from tunesmith.server.datadir import DataDir, held, prepare
from tunesmith.server.errors import BackupRefused
from tunesmith.server.keeping.clean import clean, clean_expired
from tunesmith.server.settings import Settings
from tunesmith.server.tables import (
    Checkpoint,
    Dataset,
    DatasetVersion,
    File,
    Job,
    JobDataset,
    Model,
    Upload,
)

DAY = timedelta(days=1)


@dataclass
class Place:
    """A database and a data directory, whose time the test decides."""

    world: World
    dir: DataDir
    settings: Settings

    def add(self, *rows: object) -> None:
        with self.world.database.write() as session:
            for row in rows:
                session.add(row)
                session.flush()

    def finished(self, name: str, **job: object) -> str:
        claimed = self.world.running(name)
        claims.succeed(self.world.database, claimed, Result(f"ft:{name}", "adapter", bytes=10))
        self.run(claimed.job_id)
        with self.world.database.write() as session:
            session.execute(
                update(Job).where(Job.id == claimed.job_id).values(**job or {"step": 1})
            )
        return claimed.job_id

    def run(self, job_id: str) -> None:
        for step in (100, 200):
            folder = self.dir.checkpoint(job_id, step)
            folder.mkdir(parents=True)
            (folder / "weights").write_bytes(b"w" * 1000)
            self.add(
                Checkpoint(
                    id=f"ftckpt_{job_id}_{step}",
                    job_id=job_id,
                    attempt=1,
                    step=step,
                    created_at=START,
                )
            )
        (self.dir.run(job_id) / "artifacts").mkdir()
        (self.dir.run(job_id) / "artifacts" / "adapter").write_bytes(b"a")

    def later(self, days: float) -> None:
        self.world.clock.now += timedelta(days=days)

    def gone(self) -> set[str]:
        found = clean(self.world.database, self.settings, dry_run=True)
        removed = clean(self.world.database, self.settings, dry_run=False)
        assert found == removed or [f.path for f in found] == [r.path for r in removed]
        assert all(not item.path.exists() for item in removed)
        assert clean(self.world.database, self.settings) == []
        return {str(item.path.relative_to(self.dir.root)) for item in removed}


@pytest.fixture
def place(world: World, tmp_path: Path) -> Place:
    root = prepare(tmp_path / "data")
    url = world.database.url.render_as_string(hide_password=False)
    return Place(world, root, Settings(data_dir=root.root, database_url=url))


def test_a_fresh_installation_has_nothing_to_remove(place: Place) -> None:
    assert place.gone() == set()
    assert clean_expired(place.world.database, place.settings) == []


def test_old_checkpoints_of_finished_jobs_go_and_the_result_stays(place: Place) -> None:
    job = place.finished("first")
    place.later(29)
    assert place.gone() == set()
    place.later(2)
    found = clean(place.world.database, place.settings)
    assert [item.bytes for item in found] == [1000, 1000]
    assert place.dir.checkpoint(job, 100).exists()  # a dry run
    assert place.gone() == {f"runs/{job}/checkpoints/step-000{n}00" for n in (1, 2)}
    assert (place.dir.run(job) / "artifacts" / "adapter").exists()
    assert all(row.deleted_at is not None for row in place.world.all(Checkpoint))


def test_checkpoints_that_something_needs_stay(place: Place) -> None:
    model, branch, unfinished = (
        place.finished("model"),
        place.finished("branch"),
        place.world.running("unfinished").job_id,
    )
    place.run(unfinished)
    place.add(
        Model(
            id="model-c",
            name="ft:checkpoint",
            kind="adapter",
            source="job",
            base="starter",
            job_id=model,
            checkpoint_id=f"ftckpt_{model}_100",
            created_at=START,
        )
    )
    place.world.submit("goes on", checkpoint_id=f"ftckpt_{branch}_200")
    place.later(100)
    assert place.gone() == {
        f"runs/{model}/checkpoints/step-000200",
        f"runs/{branch}/checkpoints/step-000100",
    }
    assert len(list((place.dir.run(unfinished) / "checkpoints").iterdir())) == 2


def test_the_bytes_of_deleted_things_go_after_their_time_unless_needed(place: Place) -> None:
    user, project = place.world.user, place.world.project
    for name in ("file-a", "file-b", "file-c"):
        place.dir.file(name).write_bytes(b"row")
        place.add(
            File(
                id=name,
                project_id=project,
                user_id=user,
                filename="x",
                purpose="fine-tune",
                bytes=3,
                sha256="",
                created_at=START,
                deleted_at=None if name == "file-c" else START,
            )
        )
    place.world.submit("waits", request={"training_file": "file-b"})
    place.add(
        Dataset(
            id="ds",
            project_id=project,
            user_id=user,
            name="n",
            folder="shop",
            created_at=START,
        )
    )
    for number in (1, 2, 3):
        place.dir.dataset_version("shop", number).mkdir(parents=True)
        place.add(
            DatasetVersion(
                id=f"dsv-{number}",
                dataset_id="ds",
                number=number,
                user_id=user,
                rows=1,
                bytes=1,
                content="x",
                created_at=START,
                deleted_at=None if number == 3 else START,
            )
        )
    job = place.world.submit("trains").id
    place.add(JobDataset(job_id=job, dataset_version_id="dsv-2", role="train"))
    place.later(6)
    assert place.gone() == set()
    place.later(2)
    assert place.gone() == {"files/file-a", "datasets/shop/0001"}


def test_a_deleted_model_stays_while_another_one_rests_on_it(place: Place) -> None:
    for name, parent in (("model-a", None), ("model-b", "model-a"), ("model-c", None)):
        place.dir.model(name).mkdir()
        place.add(
            Model(
                id=name,
                name=name,
                kind="full",
                source="folder",
                base=name,
                parent_id=parent,
                created_at=START,
                deleted_at=None if name == "model-b" else START,
            )
        )
    place.later(8)
    assert place.gone() == {"models/model-c"}


def test_a_deleted_run_goes_whole_unless_its_model_is_kept(place: Place) -> None:
    kept = place.finished("kept", deleted_at=START)
    gone = place.finished("gone", deleted_at=START)
    with place.world.database.write() as session:
        session.execute(update(Model).where(Model.job_id == gone).values(deleted_at=START))
    place.later(8)
    removed = place.gone()
    assert f"runs/{gone}" in removed
    assert not [name for name in removed if kept in name]


def test_uploads_whose_time_is_over_and_orphans_go(place: Place) -> None:
    for name, days, state in (
        ("upload-old", -1, "pending"),
        ("upload-new", 1, "pending"),
        ("upload-done", -1, "completed"),
    ):
        place.dir.upload(name).write_bytes(b"part")
        place.add(
            Upload(
                id=name,
                project_id=place.world.project,
                user_id=place.world.user,
                kind="tus",
                filename="x",
                purpose="fine-tune",
                bytes=9,
                state=state,
                created_at=START,
                expires_at=START + days * DAY,
            )
        )
    (place.dir.uploads / "unknown").mkdir()
    fresh = place.dir.uploads / "just-now"
    fresh.write_bytes(b"")
    aged((START - 2 * DAY).timestamp(), place.dir.upload("upload-done"))
    aged((START - 2 * DAY).timestamp(), place.dir.uploads / "unknown")
    aged(START.timestamp(), fresh)
    assert place.gone() == {f"uploads/{n}" for n in ("upload-old", "upload-done", "unknown")}
    with place.world.database.read() as session:
        states = {row.id: row.state for row in session.scalars(select(Upload))}
    assert states == {
        "upload-old": "expired",
        "upload-new": "pending",
        "upload-done": "completed",
    }


def aged(when: float, path: Path) -> None:
    os.utime(path, (when, when))


def test_unused_cache_old_logs_and_old_copies_go(place: Place) -> None:
    old = (START - 31 * DAY).timestamp()
    for name in ("cache/tokens/old", "cache/tokens/used", "cache/tokenizers/old"):
        folder = place.dir.root / name
        folder.mkdir(parents=True)
        (folder / "shard").write_bytes(b"t")
        aged(old, folder / "shard")
        aged(old if folder.name == "old" else START.timestamp(), folder)
    for name in ("cache/hashes/old.json", "cache/tokens/hashes/old.json", "logs/error-1.txt"):
        path = place.dir.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        aged(old, path)
    for number in range(5):
        copy = place.dir.backups / f"before-000{number}"
        copy.mkdir()
        aged((START - (100 - number) * DAY).timestamp(), copy)
    mine = place.dir.backups / "mine.tar"
    mine.write_bytes(b"")
    aged(0, mine)
    assert place.gone() == {
        "cache/tokens/old",
        "cache/tokenizers/old",
        "cache/hashes/old.json",
        "cache/tokens/hashes/old.json",
        "logs/error-1.txt",
        "backups/before-0000",
        "backups/before-0001",
    }


def test_rules_that_are_off_remove_nothing(place: Place) -> None:
    place.finished("first", deleted_at=START)
    (place.dir.logs / "error-1.txt").write_text("")
    aged(0, place.dir.logs / "error-1.txt")
    off = {name: 0 for name in Settings.model_fields if name.startswith("clean_")}
    place.settings = place.settings.model_copy(update=off)
    place.later(1000)
    assert place.gone() == set()


def test_a_clean_up_that_was_killed_is_finished_by_the_next(place: Place) -> None:
    job = place.finished("first")
    place.later(31)
    with place.world.database.write() as session:  # rows were told, bytes are still there
        session.execute(update(Checkpoint).values(deleted_at=place.world.clock.now))
    half = place.dir.run(job) / "checkpoints" / ".deleted-step-000300"
    half.mkdir()
    assert place.gone() == {
        f"runs/{job}/checkpoints/{name}" for name in ("step-000100", "step-000200", half.name)
    }


def test_nothing_is_removed_while_a_backup_is_made(place: Place) -> None:
    job = place.finished("first")
    place.later(31)
    with held(place.dir.keeping_lock):
        assert clean_expired(place.world.database, place.settings) == []
        with pytest.raises(BackupRefused, match="at work"):
            clean(place.world.database, place.settings, dry_run=False)
    assert place.dir.checkpoint(job, 100).exists()
    assert len(clean_expired(place.world.database, place.settings)) == 2


def test_a_cached_folder_that_is_used_again_counts_as_new(tmp_path: Path) -> None:
    from tunesmith.data.cache import build_once

    folder = build_once(tmp_path, "key", lambda draft: (draft / "x").write_text("") and None)
    aged(0, folder)
    build_once(tmp_path, "key", lambda _: None)
    assert folder.stat().st_mtime > time.time() - 60
