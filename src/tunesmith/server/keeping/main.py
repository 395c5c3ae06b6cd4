"""`python -m tunesmith.server backup|restore|clean`: what the commands of these names start."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tunesmith.errors import TunesmithError
from tunesmith.runs.files import format_bytes
from tunesmith.server.database import Database
from tunesmith.server.keeping import backup as backups
from tunesmith.server.keeping import clean as cleaning
from tunesmith.server.keeping import restore as restoring
from tunesmith.server.migrations.revisions import refuse_other_revision
from tunesmith.server.settings import Settings

_WORDS = {
    "database": "Database",
    "copy": "Files",
    "verify": "Reading it again",
    "unpack": "Unpacking",
}
_LISTED = 40  # lines of a clean-up on a screen


def backup(arguments: Sequence[str]) -> int:
    """Write a backup; the words are those of `tunesmith backup`."""
    parser = _parser("backup")
    parser.add_argument("target", type=Path)
    parser.add_argument("--without-checkpoints", action="store_true")
    parser.add_argument("--without-secret", action="store_true")
    options = parser.parse_args(arguments)

    def work() -> dict[str, Any]:
        settings = _settings(options)
        with _ended_by_signals(), _shown() as on_progress:
            made = backups.back_up(
                settings,
                options.target,
                checkpoints=not options.without_checkpoints,
                secret=not options.without_secret,
                on_progress=on_progress,
            )
        return {
            "backup": str(options.target.absolute()),
            "bytes": made.bytes,
            "files": len(made.files),
            "revision": made.revision,
            "database": made.database,
            "missing": made.missing,
            "skipped": made.skipped,
        }

    return _answer(options.json, work, _tell_backup)


def restore(arguments: Sequence[str]) -> int:
    """Bring a backup back; the words are those of `tunesmith restore`."""
    parser = _parser("restore")
    parser.add_argument("source", type=Path)
    parser.add_argument("--database-only", action="store_true")
    options = parser.parse_args(arguments)

    def work() -> dict[str, Any]:
        settings = _settings(options)
        with _ended_by_signals(), _shown() as on_progress:
            done = restoring.restore(
                options.source,
                settings,
                database_only=options.database_only,
                on_progress=on_progress,
            )
        return {
            "data_dir": str(done.data_dir),
            "created": done.manifest.created,
            "files": len(done.manifest.files),
            "bytes": done.manifest.bytes,
            "missing": done.missing,
            "old_settings": restoring.OLD_SETTINGS if done.has_old_settings else None,
        }

    return _answer(options.json, work, _tell_restore)


def clean(arguments: Sequence[str]) -> int:
    """Say what the rules would remove, or remove it; the words are those of `tunesmith clean`."""
    parser = _parser("clean")
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(arguments)
    dry_run = options.dry_run or not options.yes

    def work() -> dict[str, Any]:
        settings = _settings(options)
        with closing(_existing(settings)) as database:
            found = cleaning.clean(database, settings, dry_run=dry_run)
        return {
            "dry_run": dry_run,
            "bytes": sum(item.bytes for item in found),
            "items": [
                {
                    "rule": item.rule,
                    "path": str(item.path.relative_to(settings.data_dir)),
                    "bytes": item.bytes,
                    "why": item.why,
                }
                for item in found
            ],
        }

    return _answer(options.json, work, _tell_clean)


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"tunesmith {name}")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--database")
    parser.add_argument("--json", action="store_true")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    return Settings.load(data_dir=options.data_dir, database_url=options.database)


def _existing(settings: Settings) -> Database:
    database = backups.open_existing(settings)
    refuse_other_revision(database)
    return database


def _answer(
    as_json: bool, work: Callable[[], dict[str, Any]], tell: Callable[[dict[str, Any]], None]
) -> int:
    """One JSON document, or text; an error is both for a script: document and exit code."""
    try:
        document = work()
    except TunesmithError as error:
        if as_json:
            _print_json({"error": error.to_dict()})
        raise
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted: what was begun is removed again.\n")
        return 1
    if as_json:
        _print_json(document)
    else:
        tell(document)
    return 0


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


@contextmanager
def _ended_by_signals() -> Generator[None]:
    """SIGTERM ends like Ctrl-C: what was begun is removed."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _shown() -> Generator[backups.OnProgress]:
    """A bar on the terminal, with the time that is left; nothing where there is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=20),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def on_progress(word: str, done: int, total: int) -> None:
            if word not in tasks:
                tasks[word] = bar.add_task(_WORDS[word], total=total or None)
            bar.update(tasks[word], completed=done)

        yield on_progress


def _tell_backup(told: dict[str, Any]) -> None:
    _say(
        f"Backup written and read again: {told['backup']}",
        f"  {told['files']} files, {format_bytes(told['bytes'])}; {told['database']} "
        f"at revision {told['revision']}",
    )
    _tell_names("deleted while it was made, so not in it:", told["missing"])
    _tell_names("links that lead out of the data directory, so not in it:", told["skipped"])


def _tell_restore(told: dict[str, Any]) -> None:
    _say(
        f"Restored into {told['data_dir']}: the state of {told['created']}",
        f"  {told['files']} files, {format_bytes(told['bytes'])}",
    )
    _tell_names("named by the database, but not in the backup:", told["missing"])
    if told["old_settings"]:
        _say(
            f"  The old settings are in {told['old_settings']}: look through them and rename the "
            "file to settings.yaml."
        )
    _say(f"Start it: tunesmith serve --data-dir {shlex.quote(told['data_dir'])}")


def _tell_names(what: str, names: list[str]) -> None:
    if names:
        _say(f"  {len(names)} {what}", *(f"    {name}" for name in names[:10]))


def _tell_clean(told: dict[str, Any]) -> None:
    items: list[dict[str, Any]] = told["items"]
    if not items:
        _say("Nothing to remove.")
        return
    by_rule: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        by_rule[item["rule"]].append(item)
    for rule, found in by_rule.items():
        size = format_bytes(sum(item["bytes"] for item in found))
        _say(f"{rule:<12} {len(found):>6} {'entry' if len(found) == 1 else 'entries'}  {size:>10}")
        for item in found[: _LISTED // len(by_rule)]:
            _say(f"  {format_bytes(item['bytes']):>10}  {item['path']}  ({item['why']})")
        left = len(found) - _LISTED // len(by_rule)
        if left > 0:
            _say(f"  {'':>10}  ... and {left} more; --json lists all")
    size = format_bytes(told["bytes"])
    if told["dry_run"]:
        _say(f"\n{size} would be freed; nothing was removed. Do it: tunesmith clean --yes")
    else:
        _say(f"\n{size} freed.")


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
