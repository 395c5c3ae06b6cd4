"""`python -m tunesmith.server doctor --json`: what an installation says of itself.

Settings, data directory, database, port, time. Looks only: it makes no database and no directory.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import shlex
import shutil
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import psutil
from sqlalchemy import create_engine, func, select, text

from tunesmith.errors import TunesmithError
from tunesmith.evaluation.sandbox import NoSandbox, find_sandbox
from tunesmith.recipe.words import Words, filled
from tunesmith.runs.files import StorageFull, StorageRefused, format_bytes
from tunesmith.server import clock, flavours
from tunesmith.server.database import Database, metrics_file, safe_journal
from tunesmith.server.datadir import DataDir, StorageWatch, holder_of
from tunesmith.server.doctor_texts import TEXTS, Status
from tunesmith.server.keeping.copies import file_to_be, sqlite_file
from tunesmith.server.migrations.revisions import newest_revision, refuse_unknown, revision_of
from tunesmith.server.oversights import oversights
from tunesmith.server.settings import Settings, other_names, settings_file
from tunesmith.server.tables import Job
from tunesmith.server.workers import heartbeats

_GIB: Final = 1024**3
_UNITS: Final = ((120, 1, "s", "秒"), (7200, 60, "min", "分钟"), (172_800, 3600, "h", "小时"))
_LOOKS: Final = 5  # at the clock and the latency of the database
_SLOW_SECONDS: Final = 0.25
_SKEW_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and what to do about it.

    Detail and mend are English; `in_language` tells them anew from the code and its values.
    """

    name: str
    status: Status
    detail: str
    mend: str = ""
    code: str = ""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)

    def in_language(self, language: str) -> Check:
        """The same check in a language."""
        return _told(self.code, self.name, self.values, language)


def check(code: str, title: str = "", **values: Any) -> Check:
    """A check with the text of its code; `values` are what the text names."""
    return _told(code, title or TEXTS[code].name, values, "en")


def _told(code: str, name: str, values: Mapping[str, Any], language: str) -> Check:
    text = TEXTS[code]
    told = (text.detail_zh, text.mend_zh) if language == "zh" else (text.detail, text.mend)
    detail, mend = (filled(each, values, language) for each in told)
    return Check(name, text.status, detail, mend, code, values)


def main(arguments: Sequence[str]) -> int:
    """Print the checks; 1 when there is an error among them."""
    parser = argparse.ArgumentParser(prog="tunesmith.server doctor")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--lang", choices=("en", "zh"), default="en", help="language of the texts")
    options = parser.parse_args(arguments)
    checks = [each.in_language(options.lang) for each in server_checks()]
    if options.json:
        document = {"checks": [as_row(each) for each in checks]}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    else:
        for each in checks:
            sys.stdout.write(f"{each.status:<8} {each.name:<10} {each.detail}\n")
            if each.mend:
                sys.stdout.write(f"{'':<20}{each.mend}\n")
    return 1 if any(each.status == "error" for each in checks) else 0


def as_row(check: Check) -> dict[str, str]:
    """A check as others read it."""
    names = ("name", "status", "detail", "mend")
    return {name: getattr(check, name) for name in names}


def server_checks(settings: Settings | None = None) -> Iterator[Check]:
    """Every check, of a server that runs or of this environment: there without readable settings
    is nothing else to look at.
    """
    try:
        settings = settings or Settings.load()
    except TunesmithError as error:
        told = error.details.get("problems") or [error.message]
        yield check("settings_wrong", problems=" ".join(told))
        return
    yield check_settings(settings)
    place = DataDir(settings.data_dir)
    yield check_data_dir(place)
    yield from check_modes(place)
    yield from check_database(settings)
    yield check_port(settings, place)
    yield from check_file_time(place)
    if settings.model_programs:
        yield check_sandbox()


def check_sandbox() -> Check:
    """Whether programs that models write can do no harm here."""
    try:
        return check("sandbox", name=find_sandbox().name)
    except NoSandbox as error:
        return check("sandbox_missing", tried="; ".join(error.details["tried"]))


def check_settings(settings: Settings) -> Check:
    """Where they come from, and variables that look like ours and are read by nobody."""
    file = settings_file()
    given = sorted(n for n in settings.model_fields_set if n != "data_dir")
    strange = other_names()
    if strange:
        return check("settings_unknown", names=", ".join(strange))
    if file.is_file() and file.stat().st_mode & stat.S_IROTH and _has_secrets(settings):
        return check("settings_open", file=file)
    source = {"en": f"{file}", "zh": f"{file}"}
    if not file.is_file():
        source = {"en": f"no file ({file})", "zh": f"没有设置文件（{file}）"}
    names = {
        "en": f": {', '.join(given)}" if given else "",
        "zh": f"：{'、'.join(given)}" if given else "",
    }
    return check("settings", source=source, count=len(given), names=names)


def _has_secrets(settings: Settings) -> bool:
    secret = ("admin_token", "database_url")
    return any(name in settings.model_fields_set for name in secret)


def check_data_dir(place: DataDir) -> Check:
    """Whether it is there, can be written, and has room."""
    root = place.root
    if not root.exists():
        above = next(path for path in root.parents if path.exists())
        if not os.access(above, os.W_OK):
            return check("data_not_possible", root=root)
        return check("data_to_be", root=root)
    try:
        StorageWatch(root).refuse()
    except StorageFull as error:
        return check("data_full", root=root, hint=error.hint)
    except StorageRefused as error:
        return check("data_refused", root=root, hint=error.hint)
    free = shutil.disk_usage(root).free
    code = "data_low" if free < _GIB else "data_little" if free < 10 * _GIB else "data"
    return check(code, root=root, free=format_bytes(free))


def check_modes(place: DataDir) -> Iterator[Check]:
    """The secret is for its owner alone, and everything belongs to who starts the server."""
    if not place.secret_path.exists():
        return
    if place.root.stat().st_mode & 0o007:
        yield check("open_to_all", root=place.root)
    mode = stat.S_IMODE(place.secret_path.stat().st_mode)
    if mode & 0o077:
        yield check("secret_open", path=place.secret_path, mode=f"{mode:04o}")
    foreign = sorted(
        path.name for path in place.root.iterdir() if path.stat().st_uid != os.geteuid()
    )
    if foreign:
        names = ", ".join(foreign[:5])
        yield check("foreign_owner", names=names, root=place.root, user=os.geteuid())


def check_database(settings: Settings) -> Iterator[Check]:
    """Whether it answers, how fast, at which revision, and whether its clock is ours."""
    try:
        file = file_to_be(settings.database)
        if file is not None:
            yield check_sqlite(sqlite3.sqlite_version_info)
        if file is not None and not file.is_file():
            yield check("database_to_be", file=file)
            return
        database = Database(settings.database, timeout=min(5.0, settings.database_timeout))
    except TunesmithError as error:
        yield check("database_error", message=error.message, hint=error.hint)
        return
    with closing(database):
        try:
            if database.is_sqlite:
                yield _journal(sqlite_file(database))
            reached = _reachable(database)
            yield reached
            yield _skew(database)
            if f"revision {newest_revision()}," in reached.detail:
                yield from check_workers(database, DataDir(settings.data_dir))
                yield from check_flavours(database, settings)
        except TunesmithError as error:
            yield check("database_error", message=error.message, hint=error.hint)


def check_sqlite(version: tuple[int, int, int]) -> Check:
    """Whether this SQLite can damage a database in WAL mode, as most versions in use can."""
    affected = safe_journal(version) != "wal"
    return check("sqlite_affected" if affected else "sqlite", version=".".join(map(str, version)))


def check_workers(database: Database, place: DataDir) -> Iterator[Check]:
    """Who runs jobs now, and whose heartbeat is old."""
    with database.read() as session:
        now = clock.read(session).wall
        found = heartbeats(session, now, place)
        waiting = session.scalar(
            select(func.count()).select_from(Job).where(
                Job.status == "queued", Job.deleted_at.is_(None)
            )
        )  # fmt: skip
    if not found.running:
        yield check("no_worker", wait=_waiting(waiting or 0))
    else:
        yield check("workers", names=", ".join(found.running[:10]))
    lost = [("worker_killed", *each) for each in found.killed[:10]]
    lost += [("worker_silent", *each) for each in found.silent[:10]]
    for code, name, seen in lost:
        ago = format_duration((now - seen).total_seconds())
        heard = f"{seen:%Y-%m-%d %H:%M}"
        yield check(code, name=name, quoted=shlex.quote(name), ago=ago, seen=heard)


def _waiting(jobs: int) -> Words:
    if not jobs:
        return {"en": "", "zh": ""}
    some = "1 job waits" if jobs == 1 else f"{jobs} jobs wait"
    return {"en": f"; {some} for one", "zh": f"；有 {jobs} 个任务在等待"}


def check_flavours(database: Database, settings: Settings) -> Iterator[Check]:
    """Whether what the setting names are the devices that workers have."""
    if not settings.flavours:
        return
    with database.read() as session:
        hosts = flavours.load(session, clock.read(session))
    found = oversights([host for host in hosts if host.flavour], settings.flavours)
    for each in found:
        yield check(each.code, message=each.message, hint=each.hint, **each.values)
    if not found:
        names = ", ".join(entry.name for entry in settings.flavours)
        yield check("flavours" if hosts else "flavours_unseen", names=names)


def format_duration(seconds: float) -> Words:
    """42 s, 7 min, 3 h, 2 days."""
    for limit, unit, en, zh in _UNITS:
        if seconds < limit:
            return {"en": f"{seconds / unit:.0f} {en}", "zh": f"{seconds / unit:.0f} {zh}"}
    return {"en": f"{seconds / 86400:.0f} days", "zh": f"{seconds / 86400:.0f} 天"}


def _reachable(database: Database) -> Check:
    found = revision_of(database)
    seconds = min(_seconds_of_a_look(database) for _ in range(_LOOKS))
    about: dict[str, Any] = {
        "kind": f"SQLite {sqlite3.sqlite_version}" if database.is_sqlite else _version(database),
        "revision": found or {"en": "none", "zh": "无"},
        "ms": f"{seconds * 1000:.1f}",
        "newest": newest_revision(),
    }
    try:
        refuse_unknown(found)
    except TunesmithError as error:
        return check("database_error", message=error.message, hint=error.hint)
    if found is not None and found != newest_revision():
        return check("database_old", **about)
    return check("database_slow" if seconds > _SLOW_SECONDS else "database", **about)


def _version(database: Database) -> str:
    with database.read() as session:
        return f"PostgreSQL {session.scalar(text('SHOW server_version'))}"


def _seconds_of_a_look(database: Database) -> float:
    with database.read() as session:
        session.execute(text("SELECT 1"))
        start = time.perf_counter()
        session.execute(text("SELECT 1"))
        return time.perf_counter() - start


def _journal(file: Path) -> Check:
    """Which journal mode is used, and why; read without changing it."""
    wanted = safe_journal(sqlite3.sqlite_version_info)
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        used = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    sizes = [f for f in (file, Path(metrics_file(str(file)))) if f.exists()]
    about = {"used": used, "size": format_bytes(sum(f.stat().st_size for f in sizes))}
    code = "journal_damaging" if used == "wal" != wanted else "journal"
    return check(code, version=sqlite3.sqlite_version, **about)


def _skew(database: Database) -> Check:
    """The database's clock against this machine's; the quickest of some looks counts."""
    engine = create_engine(database.url)
    question = (
        "SELECT strftime('%s', 'now') + strftime('%f', 'now') - strftime('%S', 'now')"
        if database.is_sqlite
        else "SELECT extract(epoch FROM clock_timestamp())"
    )
    looks: list[tuple[float, float]] = []
    with closing(engine.connect()) as connection:
        for _ in range(_LOOKS):
            before = time.time()
            told = float(connection.execute(text(question)).scalar_one())
            after = time.time()
            looks.append((after - before, told - (before + after) / 2))
    engine.dispose()
    width, skew = min(looks)
    return judge_skew("time", {"en": "the database", "zh": "数据库"}, skew, width)


def judge_skew(name: str, whose: Words, skew: float, width: float = 0.0) -> Check:
    """A clock against this machine's, known to within `width` seconds."""
    off = max(0.0, abs(skew) - width)
    if off < _SKEW_SECONDS:
        return check("clocks_agree", name, whose=whose, seconds=f"{max(abs(skew), 0.001):.3f}")
    side = {"en": "ahead of", "zh": "快"} if skew > 0 else {"en": "behind", "zh": "慢"}
    return check("clocks_differ", name, whose=whose, seconds=f"{abs(skew):.0f}", side=side)


def check_file_time(place: DataDir) -> Iterator[Check]:
    """The clock of a file server: ages of files are compared with it."""
    if not os.access(place.root, os.W_OK):
        return
    with NamedTemporaryFile(dir=place.root, prefix=".probe-") as probe:
        probe.write(b"x")
        probe.flush()
        skew = os.fstat(probe.fileno()).st_mtime - time.time()
    yield judge_skew("file time", {"en": "the file system", "zh": "文件系统"}, skew, 2.0)


def check_port(settings: Settings, place: DataDir) -> Check:
    """Whether `serve` could listen where it is told to, or who does."""
    where = f"{settings.host}:{settings.port}"
    holder = holder_of(place.serve_lock)
    if settings.port == 0:
        return check("any_port")
    try:
        with socket.socket(_family(settings.host), socket.SOCK_STREAM) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((settings.host, settings.port))
    except OSError as error:
        who = _listener(settings.port)
        if holder is not None and who is not None and who.pid == holder.pid:
            return check("port_ours", where=where, pid=who.pid, since=holder.since)
        if "in use" in (error.strerror or ""):
            return check("port_taken", where=where, who=_named(who))
        return check("port_refused", where=where, reason=error.strerror)
    if holder is not None:
        return check("port_served_elsewhere", where=where, pid=holder.pid)
    return check("port", where=where)


def _named(who: psutil.Process | None) -> Words:
    if who is None:
        return {"en": "another program", "zh": "其他程序"}
    return {"en": f"process {who.pid} ({who.name()})", "zh": f"进程 {who.pid}（{who.name()}）"}


def _family(host: str) -> socket.AddressFamily:
    try:
        is_v6 = ipaddress.ip_address(host).version == 6
    except ValueError:
        is_v6 = False
    return socket.AF_INET6 if is_v6 else socket.AF_INET


def _listener(port: int) -> psutil.Process | None:
    """Who listens on a port, where this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and getattr(connection.laddr, "port", None) == port and connection.pid:
                return psutil.Process(connection.pid)
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return None
    return None
