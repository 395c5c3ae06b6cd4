"""FAULTS 33: a log of any length takes bounded room and is read as the one stream that it is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tunesmith.runs.logs import older_parts, open_log

LINE = 64
# Prints lines by number, some of them past Python, as libraries written in C do.
NOISY = """
import os, sys, time
from pathlib import Path
from tunesmith.runs.logs import keep_log_bounded
keep_log_bounded(Path(sys.argv[1]))
first, lines = int(sys.argv[2]), int(sys.argv[3])
part_bytes = int(os.environ["TUNESMITH_LOG_PART_BYTES"])
for start in range(first, first + lines, 500):
    text = "".join(f"{n:012d}".ljust(63, ".") + "\\n" for n in range(start, start + 500))
    if start % 1000:
        os.write(2, text.encode())
    else:
        print(text, end="", flush=True)
    while os.fstat(1).st_size >= part_bytes:  # as slow as the log is looked after
        time.sleep(0.01)
"""


def noisy(path: Path, first: int, lines: int, **settings: str) -> subprocess.Popen[bytes]:
    small = {"TUNESMITH_LOG_PART_BYTES": str(256 << 10), "TUNESMITH_LOG_PARTS": "3"}
    with path.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", NOISY, str(path), str(first), str(lines)],
            stdout=output,
            stderr=output,
            env=os.environ | small | settings,
        )


def numbers(data: bytes) -> list[int]:
    return [int(line[:12]) for line in data.split(b"\n") if line]


def room(path: Path) -> int:
    """What the parts take now; one of them may just be renamed or removed."""
    total = 0
    for each in path.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += each.stat().st_size
    return total


def test_a_noisy_process_takes_bounded_room_and_loses_nothing_but_the_oldest(
    tmp_path: Path,
) -> None:
    path, lines = tmp_path / "train.log", 100_000
    process = noisy(path, 0, lines)
    largest = 0
    while process.poll() is None:
        largest = max(largest, room(path))
        threading.Event().wait(0.02)
    assert process.returncode == 0
    assert largest < lines * LINE / 2
    assert 1 <= len(older_parts(path)) <= 2
    with open_log(path) as log:
        assert log.size == lines * LINE
        assert 0 < log.first < log.size
        kept = b"".join(log.blocks())
        assert numbers(kept) == list(range(log.first // LINE, lines))
        middle = (log.first + log.size) // 2
        assert log.read(middle, 1000) == kept[middle - log.first :][:1000]
        assert log.read(0, 100) == b""


def test_another_attempt_goes_on_where_the_one_before_ended(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    for first in (0, 20_000):
        assert noisy(path, first, 20_000).wait(60) == 0
    with open_log(path) as log:
        assert log.size == 40_000 * LINE
        assert numbers(b"".join(log.blocks())) == list(range(log.first // LINE, 40_000))


def test_several_processes_of_one_training_share_a_log(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    ranks = [noisy(path, first, 30_000, TUNESMITH_LOG_PARTS="50") for first in (0, 1_000_000)]
    assert [rank.wait(60) for rank in ranks] == [0, 0]
    with open_log(path) as log:
        told = numbers(b"".join(log.blocks()))
    for first in (0, 1_000_000):
        assert [n for n in told if first <= n < first + 30_000] == list(
            range(first, first + 30_000)
        )


def test_a_reader_sees_a_stream_without_gaps_while_parts_come_and_go(tmp_path: Path) -> None:
    path, told, offset = tmp_path / "train.log", b"", 0
    path.touch()
    process = noisy(path, 0, 60_000, TUNESMITH_LOG_PARTS="40")
    while True:
        is_over = process.poll() is not None
        with open_log(path) as log:
            told += log.read(offset, log.size - offset)
            offset = log.size
        if is_over:
            break
    assert numbers(told) == list(range(60_000))


def test_what_goes_to_a_terminal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("of somebody else\n")
    done = subprocess.run(
        [sys.executable, "-c", NOISY, str(path), "0", "20000"],
        capture_output=True,
        check=True,
        env=os.environ | {"TUNESMITH_LOG_PART_BYTES": "4096"},
    )
    assert done.stdout
    assert path.read_text() == "of somebody else\n"
    assert older_parts(path) == []


def test_no_log_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_log(tmp_path / "train.log"):
        pass
