"""What the cache remembers, however many ask for it at once."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tunesmith.data.cache import file_digest

ASKING = 16


def written_long_ago(path: Path, content: bytes) -> None:
    """A file whose time stamp is old enough for its digest to be remembered."""
    path.write_bytes(content)
    os.utime(path, (1_700_000_000, 1_700_000_000))


def test_threads_that_hash_one_file_at_once_all_get_its_digest(tmp_path: Path) -> None:
    cache_dir = tmp_path / "cache"
    for turn in range(20):
        file, content = tmp_path / f"{turn}.jsonl", f"turn {turn}".encode()
        written_long_ago(file, content)
        together = threading.Barrier(ASKING)

        def ask(file: Path = file, together: threading.Barrier = together) -> str:
            together.wait()
            return file_digest(file, cache_dir)

        with ThreadPoolExecutor(ASKING) as threads:
            digests = [threads.submit(ask) for _ in range(ASKING)]
        expected = hashlib.sha256(content).hexdigest()
        assert [each.result() for each in digests] == [expected] * ASKING
    assert {each.suffix for each in (cache_dir / "hashes").iterdir()} == {".json"}


def test_a_remembered_digest_is_not_used_for_a_file_that_changed(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    written_long_ago(file, b"first")
    first = file_digest(file, tmp_path)
    file.write_bytes(b"other")
    assert file_digest(file, tmp_path) == hashlib.sha256(b"other").hexdigest() != first
