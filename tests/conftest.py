"""Settings of all tests, and how several processes share them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

# No test goes by the clock: a busy machine may take its time over an example.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

# A shell starts what it runs in the background with interrupts ignored, and every program that a
# test starts would inherit that. What tests interrupt has to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Begun first, so that none of them is left to one process at the end, while others have no work.
_LONGEST_FIRST: Final = (
    "e2e/test_first_steps.py",
    "unit/server/test_worker_chaos.py",
    "integration",
    "e2e",
    "unit/server",
    "unit/data",
    "unit/api",
    "unit",
)
# Their tests share nothing that is slow to make, and some take minutes: each goes where there is
# room.
_TESTS_APART: Final = ("e2e/test_first_steps.py", "unit/server/test_worker_chaos.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n` and `--dist loadgroup`: the tests of a file stay together in one process.

    They share what is slow to make: a server, a trained model, a browser.
    """
    here = Path(__file__).parent
    for item in items:
        file = item.path.relative_to(here).as_posix()
        if item.get_closest_marker("xdist_group") is None:
            group = item.nodeid if file in _TESTS_APART else file
            item.add_marker(pytest.mark.xdist_group(group.replace("@", " ")))
    items.sort(key=lambda item: _rank(item.path.relative_to(here).as_posix()))


def _rank(file: str) -> int:
    """The place in the order of beginnings; what is not named comes last."""
    names = enumerate(_LONGEST_FIRST)
    return next((rank for rank, name in names if file.startswith(name)), len(_LONGEST_FIRST))
