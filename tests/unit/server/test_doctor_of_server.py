"""What `tunesmith doctor` says of the platform."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from string import Formatter

import pytest
from sqlalchemy import make_url, text, update

from tunesmith.server import clock, doctor, workers
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir, held, prepare, serving
from tunesmith.server.doctor import Check, judge_skew
from tunesmith.server.doctor_texts import TEXTS
from tunesmith.server.migrations.revisions import newest_revision
from tunesmith.server.settings import Settings
from tunesmith.server.tables import Worker

DATABASE = {"en": "the database", "zh": "数据库"}
# Their English text is that of an error or notice as a whole; the Chinese one names its values.
OWN_VALUES = ("flavour_without_device", "device_without_flavour")


@pytest.fixture
def settings(tmp_path: Path, url: str) -> Settings:
    prepare(tmp_path / "data")
    return Settings(data_dir=tmp_path / "data", database_url=url, port=0)


def named(checks: object) -> dict[str, Check]:
    return {check.name: check for check in checks}  # type: ignore[attr-defined]


def test_a_database_in_order_says_kind_revision_and_speed(settings: Settings) -> None:
    checks = named(doctor.check_database(settings))
    assert checks["database"].status == "ok"
    assert f"revision {newest_revision()}" in checks["database"].detail
    assert " ms" in checks["database"].detail
    assert checks["time"].status == "ok"
    if "sqlite" in settings.database:
        affected = "delete" in checks["journal"].detail
        assert checks["journal"].status == "ok"
        assert checks["sqlite"].status == ("warning" if affected else "ok")


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 40, 1), "warning"), ((3, 51, 2), "warning"), ((3, 50, 7), "ok"), ((3, 51, 3), "ok")],
)
def test_a_sqlite_that_can_damage_databases_is_warned_of(
    version: tuple[int, int, int], status: str
) -> None:
    found = doctor.check_sqlite(version)
    assert found.status == status
    assert ("WAL" in found.detail and "3.51.3" in found.mend) == (status == "warning")


def test_every_text_has_both_languages_with_the_same_values() -> None:
    def fields(*texts: str) -> set[str]:
        return {name for each in texts for _, name, _, _ in Formatter().parse(each) if name}

    for code, told in TEXTS.items():
        assert bool(told.mend) == bool(told.mend_zh), code
        assert told.status == "ok" or told.mend, f"{code} says nothing to do"
        if code not in OWN_VALUES:
            # What an error says by itself has no values in the Chinese text.
            assert fields(told.detail_zh, told.mend_zh) <= fields(told.detail, told.mend), code


def test_all_checks_are_told_in_chinese(settings: Settings) -> None:
    database = Database(settings.database)
    workers.register(database, "gpu-1", [])
    with database.write() as session:
        session.execute(
            update(Worker).values(seen_at=clock.read(session).wall - timedelta(hours=1))
        )
    database.close()
    checks = list(doctor.server_checks(settings))
    assert {"settings", "data", "database", "workers", "worker", "port"} <= {c.name for c in checks}
    for each in checks:
        told = each.in_language("zh")
        assert (told.name, told.status, told.code) == (each.name, each.status, each.code)
        assert told.detail == each.detail or re.search("[\u4e00-\u9fff]", told.detail)
        assert bool(told.mend) == bool(each.mend)
        assert "{" not in told.detail + told.mend


def test_a_server_that_runs_programs_of_models_says_how_they_are_held(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "sandbox" not in named(doctor.server_checks(settings))
    monkeypatch.setenv("PATH", "")  # neither bubblewrap nor unshare
    allowed = settings.model_copy(update={"model_programs": True})
    found = named(doctor.server_checks(allowed))["sandbox"]
    assert found.status == "warning"
    assert "bwrap is not installed" in found.detail
    assert "沙箱" in found.in_language("zh").detail


def test_a_worker_that_was_killed_is_told_at_once_where_that_can_be_seen(
    settings: Settings,
) -> None:
    """By the lock of a process on this machine; of another machine only silence tells."""
    place, here = DataDir(settings.data_dir), os.uname().nodename
    database = Database(settings.database)
    script = (
        "import sys, time; from pathlib import Path; from tunesmith.server.datadir import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    workers.register(database, "near", [], host=here)
    workers.register(database, "far", [], host=f"not-{here}")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(place.worker_lock(name))], stdout=subprocess.PIPE
        )
        for name in ("near", "far")
    ]

    def found() -> workers.Heartbeats:
        with database.read() as session:
            return workers.heartbeats(session, clock.read(session).wall, place)

    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
        assert sorted(found().running) == ["far", "near"]
        assert found().killed == []
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    told = found()
    assert (told.running, [name for name, _ in told.killed]) == (["far"], ["near"])
    assert told.silent == []
    assert told.longest is not None
    database.close()
    checks = [each for each in doctor.check_database(settings) if each.code == "worker_killed"]
    assert [each.status for each in checks] == ["error"]
    with held(place.worker_lock("near")) as other:  # it is started again
        assert other is None
        assert "near" in found_again(settings)
    assert "near" in found_again(settings)  # and ends in peace: its heartbeat tells of that


def found_again(settings: Settings) -> list[str]:
    with closing(Database(settings.database)) as database, database.read() as session:
        now = clock.read(session).wall
        return list(workers.heartbeats(session, now, DataDir(settings.data_dir)).running)


def test_missing_and_silent_workers_are_named_with_the_mend(settings: Settings) -> None:
    none = named(doctor.check_database(settings))["workers"]
    assert (none.status, none.detail) == ("warning", "none runs")
    assert "tunesmith worker" in none.mend
    database = Database(settings.database)
    for name in ("gpu-1", "gpu-2"):
        workers.register(database, name, [])
    assert named(doctor.check_database(settings))["workers"].detail == "gpu-1, gpu-2 running"
    with database.write() as session:
        old = clock.read(session).wall - timedelta(minutes=7)
        session.execute(update(Worker).where(Worker.name == "gpu-2").values(seen_at=old))
    found = named(doctor.check_database(settings))
    assert (found["workers"].status, found["workers"].detail) == ("ok", "gpu-1 running")
    assert found["worker"].status == "warning"
    assert "gpu-2 was last heard of 7 min ago" in found["worker"].detail
    with database.write() as session:
        gone = clock.read(session).wall - timedelta(days=8)
        session.execute(update(Worker).values(seen_at=gone))
    database.close()
    assert "worker" not in named(doctor.check_database(settings))


def test_a_database_of_another_revision_says_what_to_do(settings: Settings) -> None:
    database = Database(settings.database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    check = named(doctor.check_database(settings))["database"]
    assert check.status == "error"
    assert "9999" in check.detail


def test_a_database_that_is_away_is_an_error_without_its_password(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, database_url="postgresql://u:hunter2@127.0.0.1:9/x", database_timeout=2
    )
    (check,) = doctor.check_database(settings)
    assert check.status == "error"
    assert "127.0.0.1" in check.detail
    assert "hunter2" not in f"{check.detail} {check.mend}"
    (check,) = doctor.check_database(Settings(data_dir=tmp_path, database_url="no url"))
    assert check.status == "error"


def test_a_database_in_wal_mode_of_an_affected_version_is_an_error(tmp_path: Path) -> None:
    if doctor.safe_journal(sqlite3.sqlite_version_info) == "wal":
        pytest.skip("this SQLite may use WAL")
    with closing(sqlite3.connect(tmp_path / "tunesmith.db")) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE t (x)")
    settings = Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path}/tunesmith.db")
    check = named(doctor.check_database(settings))["journal"]
    assert check.status == "error"
    assert "WAL" in check.detail or "this mode" in check.detail


def test_looking_makes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "nothing"
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(root), "TUNESMITH_PORT": "0"}
    environment.pop("TUNESMITH_DATABASE_URL", None)
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith.server", "doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert "made at the first start" in checks["data"]["detail"]
    assert not root.exists()


def test_wrong_settings_are_all_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_PORT", "many")
    monkeypatch.setenv("TUNESMITH_RATE_LIMIT", "-1")
    (check,) = doctor.server_checks()
    assert check.status == "error"
    assert "TUNESMITH_PORT" in check.detail
    assert "TUNESMITH_RATE_LIMIT" in check.detail


def test_strange_variables_and_open_files_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("TUNESMITH_DATABASE_URL", raising=False)
    assert doctor.check_settings(Settings.load()).status == "ok"
    file = tmp_path / "settings.yaml"
    file.write_text("admin_token: hunter2-hunter2-hunter2-hunter2\n")
    file.chmod(0o644)
    check = doctor.check_settings(Settings.load())
    assert check.status == "warning"
    assert check.mend == f"chmod 600 {file}"
    assert "hunter2" not in check.detail
    file.chmod(0o600)
    assert doctor.check_settings(Settings.load()).status == "ok"
    monkeypatch.setenv("TUNESMITH_QWERTZ", "1")
    assert "TUNESMITH_QWERTZ" in doctor.check_settings(Settings.load()).detail


def test_a_secret_that_others_may_read_is_an_error(tmp_path: Path) -> None:
    place = prepare(tmp_path / "data")
    assert list(doctor.check_modes(place)) == []
    place.root.chmod(0o755)
    assert [check.name for check in doctor.check_modes(place)] == ["privacy"]
    place.root.chmod(0o700)
    place.secret_path.chmod(0o644)
    (check,) = doctor.check_modes(place)
    assert check.status == "error"
    assert check.mend == f"chmod 600 {place.secret_path}"


def test_a_port_in_use_names_who_has_it(tmp_path: Path) -> None:
    place = prepare(tmp_path)
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        settings = Settings(data_dir=tmp_path, port=door.getsockname()[1])
        check = doctor.check_port(settings, place)
        assert check.status == "warning"
        assert str(os.getpid()) in check.detail
        with serving(place):  # then it is this installation itself
            check = doctor.check_port(settings, place)
            assert check.status == "ok"
            assert "serves" in check.detail
    assert doctor.check_port(settings, place).status == "ok"
    strange = Settings(data_dir=tmp_path, host="192.0.2.1", port=8400)
    assert doctor.check_port(strange, place).status == "error"


def test_the_data_directory_says_its_room_or_why_not(tmp_path: Path) -> None:
    place = prepare(tmp_path)
    assert str(tmp_path) in doctor.check_data_dir(place).detail
    assert "free" in doctor.check_data_dir(place).detail
    (check,) = doctor.check_file_time(place)
    assert check.status == "ok"
    assert not list(tmp_path.glob(".probe-*"))
    assert "first start" in doctor.check_data_dir(DataDir(tmp_path / "new")).detail


def test_clocks_apart_are_a_warning() -> None:
    assert judge_skew("time", DATABASE, 0.2).status == "ok"
    assert judge_skew("time", DATABASE, 6.0, width=3.0).status == "ok"
    check = judge_skew("time", DATABASE, -86400.0)
    assert check.status == "warning"
    assert "86400 s behind" in check.detail


def test_no_password_is_shown(url: str, tmp_path: Path) -> None:
    secret = make_url(url).set(password="hunter2").render_as_string(hide_password=False)
    if not secret.startswith("postgresql"):
        pytest.skip("SQLite has no password")
    settings = Settings(data_dir=tmp_path, database_url=secret)
    told = " ".join(f"{c.detail} {c.mend}" for c in doctor.check_database(settings))
    assert "hunter2" not in told
