"""What serves the console: a page for every address, its policy, packed files, or how to build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from tests.unit.api.conftest import Server

from tunesmith.api.console import add_console

HTML = {"accept": "text/html,*/*;q=0.8"}
PAGE = '<meta name="csp-nonce" nonce="__NONCE__"><div id="root"></div>'


@pytest.fixture
def built(tmp_path: Path) -> Path:
    assets = tmp_path / "console" / "assets"
    assets.mkdir(parents=True)
    (assets.parent / "index.html").write_text(PAGE, encoding="utf-8")
    (assets.parent / "mark.svg").write_text("<svg/>", encoding="utf-8")
    (assets / "index-1.js").write_text("plain", encoding="utf-8")
    (assets / "index-1.js.br").write_text("packed", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    return assets.parent


@pytest.fixture
def client(built: Path) -> TestClient:
    app = FastAPI()
    add_console(app, built)
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("address", ["/", "/jobs", "/jobs/ftjob-1/metrics", "/v1beta", "/metrics2"])
def test_every_address_that_is_no_api_is_the_page(client: TestClient, address: str) -> None:
    answer = client.get(address, headers=HTML)
    assert answer.status_code == 200
    assert '<div id="root">' in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_each_page_has_a_nonce_of_its_own_and_no_inline_script_may_run(client: TestClient) -> None:
    seen = set[str]()
    for _ in range(2):
        answer = client.get("/", headers=HTML)
        policy = answer.headers["content-security-policy"]
        nonce = re.search(r'nonce="([\w-]{20,})"', answer.text)
        assert nonce is not None
        assert f"'nonce-{nonce[1]}'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        seen.add(nonce[1])
    assert len(seen) == 2


def test_assets_are_kept_for_ever_and_sent_as_they_were_packed(client: TestClient) -> None:
    packed = client.get("/assets/index-1.js", headers={"accept-encoding": "gzip"})
    assert packed.text == "plain"
    assert "immutable" in packed.headers["cache-control"]
    with client.stream("GET", "/assets/index-1.js", headers={"accept-encoding": "br"}) as answer:
        assert answer.headers["content-encoding"] == "br"
        assert b"".join(answer.iter_raw()) == b"packed"
        assert answer.headers["content-type"].startswith("text/javascript")
    assert client.get("/mark.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    "path",
    ["/assets/..%2f..%2fsecret.txt", "/..%2fsecret.txt", "/assets/nothing.js", "/assets/%00"],
)
def test_nothing_outside_of_the_files_is_sent(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code >= 400
    assert "secret" not in answer.text


def test_a_program_that_asks_for_an_unknown_address_gets_an_error_and_no_page(
    server: Server,
) -> None:
    for path in ("/nowhere", "/api/v1/nowhere", "/assets/nothing.js"):
        answer = server.client("nobody").get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_such_route")
    for path in ("/api/v1/nowhere", "/v1/nowhere"):
        assert server.client("nobody").get(path, headers=HTML).status_code == 404


def test_without_a_built_console_the_page_says_how_to_build_it(tmp_path: Path) -> None:
    app = FastAPI()
    add_console(app, tmp_path / "none")
    client = TestClient(app)
    english = client.get("/", headers=HTML)
    chinese = client.get("/", headers=HTML | {"accept-language": "zh-CN"})
    assert (english.status_code, chinese.status_code) == (503, 503)
    assert "make console" in english.text
    assert "控制台尚未构建" in chinese.text
