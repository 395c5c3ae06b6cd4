"""Real mounts below a test's folder: a disk that is small, a folder that takes no writes.

They need root; where mounting is not possible the test is skipped. Both end with a lazy unmount:
whoever still has a file open in them would make a plain one fail, and what stays mounted after a
test cannot be cleaned away after the run.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, options: str) -> Generator[Path]:
    """The folder, made if needed, as a file system in memory; `options` as in `size=64m`."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as until:
        _mount(until, folder, "-t", "tmpfs", "-o", options, "tmpfs")
        yield folder


@contextmanager
def read_only(folder: Path) -> Generator[Path]:
    """The folder takes no writes for as long as the block lasts."""
    with ExitStack() as until:
        _mount(until, folder, "--bind", str(folder))
        _run("mount", "-o", "remount,ro,bind", str(folder))
        yield folder


def _mount(until: ExitStack, folder: Path, *arguments: str) -> None:
    _run("mount", *arguments, str(folder))
    until.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not possible here: {done.stderr.decode().strip()}")
