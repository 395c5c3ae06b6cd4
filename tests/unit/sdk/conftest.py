"""One server a module, clients of it, and a proxy to break."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.sdk.living import ADMIN_TOKEN, Live, Proxy, live_server, proxied

from tunesmith.sdk import Client


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server(tmp_path_factory.mktemp("live")) as running:
        yield running


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    with Client(live.url, ADMIN_TOKEN) as made:
        yield made


@pytest.fixture
def proxy(live: Live) -> Iterator[Proxy]:
    with proxied(live.url) as running:
        yield running


@pytest.fixture
def far(proxy: Proxy) -> Iterator[Client]:
    """A client whose connections break."""
    with Client(proxy.url, ADMIN_TOKEN) as made:
        yield made


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "sums.jsonl"
    told = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {n + n}."} for n in range(9)]
    file.write_text("".join(json.dumps(row) + "\n" for row in told))
    return file
