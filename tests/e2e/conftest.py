"""What the tests in a browser have in common: the browser, and one server for each file."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, expect
from tests.e2e.console_browser import WAIT_MS, Server, browser

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """With a worker, on a data directory of its own."""
    made = Server(tmp_path_factory.mktemp("console"))
    yield made
    made.end()
