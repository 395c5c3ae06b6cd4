"""The log of a run, in parts of bounded size, read as the one stream that it is.

    logs/train.log                 the newest part, into which the engine writes
    logs/train.log.000067108864    an older one; its name says at which byte of the whole it begins

The engine itself begins the new part: all its output goes on in a new file, and not a byte is lost.
An offset always counts from the first byte that was ever written, so it stays true when older parts
are dropped; `OpenLog.first` is the first byte that is still there.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PART_BYTES_VARIABLE = "TUNESMITH_LOG_PART_BYTES"
PARTS_VARIABLE = "TUNESMITH_LOG_PARTS"
PART_BYTES = 64 << 20
PARTS = 4
_LOOK_SECONDS = 0.1
_BLOCK = 1 << 18
_LOOKS = 5


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class _Part:
    start: int
    size: int
    file: BinaryIO


@dataclass(frozen=True)
class OpenLog:
    """A log as it was when it was opened, whatever is written or dropped meanwhile."""

    parts: tuple[_Part, ...]

    @property
    def first(self) -> int:
        return self.parts[0].start

    @property
    def size(self) -> int:
        """The byte behind the last one."""
        return self.parts[-1].start + self.parts[-1].size

    def read(self, start: int, num_bytes: int) -> bytes:
        """What is there of these bytes."""
        end, found = start + num_bytes, b""
        for part in self.parts:
            begin, stop = max(start, part.start), min(end, part.start + part.size)
            if begin < stop:
                found += os.pread(part.file.fileno(), stop - begin, begin - part.start)
        return found

    def blocks(self) -> Iterator[bytes]:
        """All of it, piece by piece."""
        for start in range(self.first, self.size, _BLOCK):
            yield self.read(start, _BLOCK)


@contextmanager
def open_log(path: Path) -> Generator[OpenLog]:
    """The log whose newest part is `path`; FileNotFoundError where there is none yet."""
    with ExitStack() as stack:
        yield OpenLog(_opened(path, stack))


def _opened(path: Path, stack: ExitStack) -> tuple[_Part, ...]:
    """All parts at one moment: looked for again where one came or went meanwhile."""
    for _ in range(_LOOKS):
        older = older_parts(path)
        try:
            files = [stack.enter_context(each.open("rb")) for each in (*older, path)]
        except FileNotFoundError:
            time.sleep(0.002)
            continue
        if older_parts(path) == older:
            return _placed(older, files)
    raise FileNotFoundError(path)


def older_parts(path: Path) -> list[Path]:
    """The parts before the newest, oldest first."""
    named = path.parent.glob(f"{path.name}.*")
    return sorted(each for each in named if each.suffix[1:].isdecimal())


def _placed(older: Sequence[Path], files: Sequence[BinaryIO]) -> tuple[_Part, ...]:
    sizes = [os.fstat(file.fileno()).st_size for file in files]
    starts = [int(path.suffix[1:]) for path in older]
    starts.append(starts[-1] + sizes[-2] if starts else 0)
    return tuple(_Part(*each) for each in zip(starts, sizes, files, strict=True))


# ---------------------------------------------------------------- writing


def keep_log_bounded(path: Path) -> None:
    """From now on the output of this process goes on in a new part whenever one is full.

    Nothing happens where the output goes elsewhere, as in a terminal. Sizes come from the
    environment: TUNESMITH_LOG_PART_BYTES, TUNESMITH_LOG_PARTS.
    """
    if not _is_ours(path):
        return
    part_bytes = int(os.environ.get(PART_BYTES_VARIABLE) or PART_BYTES)
    num_parts = int(os.environ.get(PARTS_VARIABLE) or PARTS)

    def keep() -> None:
        pause = threading.Event()
        while not pause.wait(_LOOK_SECONDS):
            with suppress(OSError):  # a full disk, say: tried again, and nothing is lost
                turn(path, part_bytes, num_parts)

    threading.Thread(target=keep, name="log", daemon=True).start()


def turn(path: Path, part_bytes: int, num_parts: int) -> None:
    """Begin a new part where this one is full, or follow another process that has begun one."""
    if _is_ours(path) and path.stat().st_size < part_bytes:
        return
    with _alone(path.parent):  # several processes of one training write into one log
        if _is_ours(path):
            _begin(path)
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        for target in (1, 2):
            os.dup2(file, target)
        os.close(file)
        for old in older_parts(path)[: -(num_parts - 1)]:
            old.unlink(missing_ok=True)


def _begin(path: Path) -> None:
    older = older_parts(path)
    start = int(older[-1].suffix[1:]) + older[-1].stat().st_size if older else 0
    following = path.with_name(f".{path.name}.next")
    os.close(os.open(following, os.O_WRONLY | os.O_CREAT, 0o666))
    path.rename(path.with_name(f"{path.name}.{start:012d}"))
    following.rename(path)


def _is_ours(path: Path) -> bool:
    """Whether what this process prints lands in that file."""
    try:
        return os.path.samestat(os.fstat(1), path.stat())
    except OSError:
        return False


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
