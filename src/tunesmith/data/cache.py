"""Work done once: content hashes of files, and folders that appear complete or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import orjson

from tunesmith.errors import RunFailed
from tunesmith.runs.files import write_atomically

_STALE_SECONDS = 24 * 3600
_RACE_NANOSECONDS = 50_000_000


def fingerprint(facts: Any) -> str:
    """SHA-256 of JSON-able facts; equal facts give equal fingerprints."""
    return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def code_fingerprint() -> str:
    """Hash of this package's own code, so that a new version never reads an old table."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return fingerprint([hashlib.sha256(file.read_bytes()).hexdigest() for file in sources])


def file_digest(path: Path, cache_dir: Path) -> str:
    """SHA-256 of a file's content, remembered by path, size and time of change."""
    stat = path.stat()
    state = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino]
    note = cache_dir / "hashes" / f"{fingerprint(state[0])[:32]}.json"
    with suppress(OSError, orjson.JSONDecodeError):  # no note, or a torn one: hash again
        known = orjson.loads(note.read_bytes())
        if known["state"] == state:
            return known["sha256"]
    started = time.time_ns()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # A file changed a moment ago may change again within the resolution of its time stamp.
    if started - stat.st_mtime_ns > _RACE_NANOSECONDS:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, orjson.dumps({"state": state, "sha256": digest}))
    return digest


def build_once(cache_dir: Path, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of a key. `build` fills a draft, which becomes the folder in one step.

    Two processes may build the same key at once: the first to finish wins, the other takes its
    result.
    """
    final = cache_dir / key
    if final.is_dir():
        with suppress(OSError):  # the time of its last use, for those who clean up
            os.utime(final)
        return final
    cache_dir.mkdir(parents=True, exist_ok=True)
    _remove_stale_drafts(cache_dir)
    draft = Path(mkdtemp(prefix="draft-", dir=cache_dir))
    try:
        build(draft)
        _publish(draft, final)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFailed(
                f"No disk space left in {cache_dir} while writing tokens.",
                hint="Free some space and start again; nothing else was lost.",
                code="disk_full",
            ) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return final


def _publish(draft: Path, final: Path) -> None:
    draft.chmod(0o755)  # mkdtemp makes private folders
    try:
        draft.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _remove_stale_drafts(cache_dir: Path) -> None:
    """Drafts of processes that were killed."""
    oldest = time.time() - _STALE_SECONDS
    for draft in cache_dir.glob("draft-*"):
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < oldest:
                shutil.rmtree(draft, ignore_errors=True)
