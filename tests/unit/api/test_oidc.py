"""Sign-in at an identity provider that runs in the test: real HTTP, real RSA keys, real tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.oauth2.rfc7636.challenge import compare_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.testclient import TestClient
from tests.unit.api.conftest import Server, serving

from tunesmith.api.app import create_app
from tunesmith.server.platform import build_platform
from tunesmith.server.settings import Settings
from tunesmith.server.tables import User

CLIENT, SECRET = "tunesmith-tests", "the client's secret"
OIDC = "/api/v1/oidc"
Claims = dict[str, Any]


@dataclass
class Issuer:
    """A small OpenID provider. What it does wrong is set by the tests."""

    person: Claims
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    port: int = 0
    codes: dict[str, Claims] = field(default_factory=dict[str, Claims])
    token_calls: list[Claims] = field(default_factory=list[Claims])
    changes: Claims = field(default_factory=Claims)  # of the next id tokens
    sign: Callable[[Claims], str] | None = None
    codes_count_once: bool = True
    metadata_changes: Claims = field(default_factory=Claims)
    padding: int = 0  # bytes in front of the keys

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def authorize(self, url: str) -> Claims:
        """A person who signs in: the query that brings their browser back."""
        parts = urlsplit(url)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.address}/authorize"
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.address}

    def id_token(self, asked: Claims) -> str:
        now = int(time.time())
        claims = {
            "iss": self.address, "aud": CLIENT, "exp": now + 300, "iat": now,
            "nonce": asked["nonce"], **self.person, **self.changes,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def token(self, body: str, authorization: str) -> tuple[int, Claims]:
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.token_calls.append(form)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        asked = self.codes.get(form.get("code", ""))
        if authorization != f"Basic {basic}":
            return 401, {"error": "invalid_client"}
        if asked is None or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if not compare_s256_code_challenge(form["code_verifier"], asked["code_challenge"]):
            return 400, {"error": "invalid_grant"}
        if self.codes_count_once:
            del self.codes[form["code"]]
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": self.id_token(asked)}


class Handler(BaseHTTPRequestHandler):
    """The addresses of the provider that a program calls."""

    issuer: Issuer

    def do_GET(self) -> None:
        if self.path == "/.well-known/openid-configuration":
            base = self.issuer.address
            told = {
                "issuer": base, "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": f"{base}/token", "jwks_uri": f"{base}/keys",
            }  # fmt: skip
            self._send(200, told | self.issuer.metadata_changes)
        elif self.path == "/keys":
            keys = [{**self.issuer.key.as_dict(private=False), "use": "sig"}]
            self._send(200, {"padding": " " * self.issuer.padding, "keys": keys})
        else:
            self._send(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self._send(*self.issuer.token(body, self.headers.get("authorization", "")))

    def _send(self, status: int, content: Claims) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    person = {
        "sub": "248289761001", "preferred_username": "li.na",
        "email": "Li.Na@example.com", "email_verified": True, "groups": ["staff"],
    }  # fmt: skip
    made = Issuer(person)
    handler = type("Bound", (Handler,), {"issuer": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def installation(data_dir: Path, issuer: Issuer, **changes: Any) -> Iterator[Server]:
    settings: Claims = {
        "oidc_issuer": issuer.address, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET,
        "oidc_create_users": True, "rate_limit": 0,
    }  # fmt: skip
    with serving(Settings.load(data_dir=data_dir, **settings | changes)) as running:
        yield running


@pytest.fixture
def server(data_dir: Path, issuer: Issuer) -> Iterator[Server]:
    with installation(data_dir, issuer) as running:
        yield running


@contextmanager
def another_process(server: Server) -> Generator[Server]:
    """A second server on the same database and directory."""
    platform = build_platform(server.platform.settings)
    try:
        yield Server(platform, create_app(platform))
    finally:
        platform.close()


def leave(browser: TestClient) -> str:
    """The address of the provider that a browser is sent to."""
    answer = browser.get(f"{OIDC}/login", follow_redirects=False)
    assert answer.status_code == 302, answer.text
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert f"path={OIDC}" in cookie
    return answer.headers["location"]


def come_back(browser: TestClient, answer: Claims) -> Any:
    return browser.get(f"{OIDC}/callback", params=answer, follow_redirects=False)


def sign_in(server: Server, issuer: Issuer) -> tuple[TestClient, Any]:
    """A browser that went all the way, and the last answer."""
    browser = server.client("nobody")
    return browser, come_back(browser, issuer.authorize(leave(browser)))


def code_of(answer: Any) -> str:
    return answer.json()["error"]["code"]


def test_who_signs_in_for_the_first_time_becomes_a_user(server: Server, issuer: Issuer) -> None:
    assert server.client("nobody").get(OIDC).json() == {"is_on": True, "login": f"{OIDC}/login"}
    browser, answer = sign_in(server, issuer)
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text
    me = browser.get("/api/v1/me").json()
    assert me["user"]["name"] == "li.na"
    assert me["user"]["email"] == "li.na@example.com"
    assert not me["user"]["is_admin"]
    assert me["roles"] == {server.project: "member"}
    assert "tunesmith_oidc" not in browser.cookies
    browser, _ = sign_in(server, issuer)
    assert browser.get("/api/v1/me").json()["user"]["id"] == me["user"]["id"]


def test_the_code_is_changed_with_its_verifier_and_the_clients_secret(
    server: Server, issuer: Issuer
) -> None:
    sign_in(server, issuer)
    call = issuer.token_calls[0]
    assert call["grant_type"] == "authorization_code"
    assert call["redirect_uri"] == f"http://localhost{OIDC}/callback"
    assert len(call["code_verifier"]) >= 43
    assert SECRET not in json.dumps(call)


def test_an_answer_with_another_state_is_refused(server: Server, issuer: Issuer) -> None:
    browser = server.client("nobody")
    answer = issuer.authorize(leave(browser)) | {"state": "guessed"}
    refused = come_back(browser, answer)
    assert (refused.status_code, code_of(refused)) == (401, "oidc_invalid")
    assert not issuer.token_calls


def test_an_answer_in_another_browser_is_refused(server: Server, issuer: Issuer) -> None:
    """Who starts a sign-in cannot have somebody else finish it."""
    victim = server.client("nobody")
    answer = issuer.authorize(leave(server.client("nobody")))
    assert code_of(come_back(victim, answer)) == "oidc_invalid"
    leave(victim)
    assert code_of(come_back(victim, answer)) == "oidc_invalid"
    assert not issuer.token_calls


def test_an_answer_counts_once_even_where_the_provider_lets_it_pass(
    server: Server, issuer: Issuer
) -> None:
    issuer.codes_count_once = False
    browser = server.client("nobody")
    url = leave(browser)
    cookie = browser.cookies["tunesmith_oidc"]
    answer = issuer.authorize(url)
    assert come_back(browser, answer).status_code == 200
    with another_process(server) as other:
        for one in (server, other):
            again = one.client("nobody")
            again.cookies.set("tunesmith_oidc", cookie, path=OIDC)
            refused = come_back(again, answer)
            assert (refused.status_code, code_of(refused)) == (401, "oidc_invalid")
            assert "used before" in refused.json()["error"]["message"]
        browser = server.client("nobody")
        answer = issuer.authorize(leave(browser))
        fresh = other.client("nobody")  # one that has not counted does, wherever it began
        fresh.cookies.set("tunesmith_oidc", browser.cookies["tunesmith_oidc"], path=OIDC)
        assert come_back(fresh, answer).status_code == 200


def test_a_cookie_that_we_did_not_sign_is_refused(server: Server, issuer: Issuer) -> None:
    browser = server.client("nobody")
    answer = issuer.authorize(leave(browser))
    claims = {
        "state": answer["state"], "nonce": "n", "verifier": "v" * 43,
        "redirect_uri": "http://localhost/x", "exp": int(time.time()) + 100,
    }  # fmt: skip
    forged = [
        jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("0" * 64)),
        _without_signature(claims),
        "nonsense",
    ]
    for cookie in forged:
        other = server.client("nobody")
        other.cookies.set("tunesmith_oidc", cookie, path=OIDC)
        assert code_of(come_back(other, answer)) == "oidc_invalid"
    assert not issuer.token_calls


def test_a_sign_in_that_took_too_long_is_refused(
    server: Server, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.server.oidc.LOGIN_SECONDS", -1)
    _, refused = sign_in(server, issuer)
    assert "took too long" in refused.json()["error"]["message"]


def _part(content: Claims | bytes) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _without_signature(claims: Claims) -> str:
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}."


def _by_shared_secret(issuer: Issuer) -> Callable[[Claims], str]:
    """The public key taken for a shared secret: an old trick."""
    public = issuer.key.as_pem(private=False)

    def sign(claims: Claims) -> str:
        text = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(claims)}"
        return f"{text}.{_part(hmac.new(public, text.encode(), hashlib.sha256).digest())}"

    return sign


def _by_another_key(claims: Claims) -> str:
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, stranger)


def test_id_tokens_that_do_not_hold_are_refused(server: Server, issuer: Issuer) -> None:
    past = int(time.time()) - 3600
    wrong: dict[str, Claims] = {
        "nonce": {"nonce": "another"},
        "no nonce": {"nonce": None},
        "expired": {"exp": past},
        "no end": {"exp": None},
        "foreign audience": {"aud": "another-client"},
        "many audiences, none named": {"aud": [CLIENT, "another-client"]},
        "meant for another": {"aud": [CLIENT, "other"], "azp": "other"},
        "another issuer": {"iss": "https://evil.example"},
        "nobody": {"sub": None},
        "an empty name": {"sub": ""},
        "not yet": {"nbf": int(time.time()) + 3600},
    }
    for name, changes in wrong.items():
        issuer.changes = changes
        browser, refused = sign_in(server, issuer)
        assert (refused.status_code, code_of(refused)) == (401, "oidc_refused"), name
        assert browser.get("/api/v1/me").status_code == 401
    issuer.changes = {}
    for sign in (_without_signature, _by_shared_secret(issuer), _by_another_key, lambda _: "x.y.z"):
        issuer.sign = sign
        _, refused = sign_in(server, issuer)
        assert (refused.status_code, code_of(refused)) == (401, "oidc_refused")
    issuer.sign = None
    assert sign_in(server, issuer)[1].status_code == 200


def test_keys_that_the_provider_changed_are_asked_for_again(
    server: Server, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(server, issuer)
    issuer.key = RSAKey.generate_key(2048, {"kid": "two"})
    assert sign_in(server, issuer)[1].status_code == 401  # not more often than every 30 seconds
    monkeypatch.setattr("tunesmith.server.oidc_provider._LEAST_SECONDS", 0.0)
    assert sign_in(server, issuer)[1].status_code == 200


def test_a_refusal_of_the_provider_is_told_without_its_words(
    server: Server, issuer: Issuer
) -> None:
    browser = server.client("nobody")
    state = issuer.authorize(leave(browser))["state"]
    answer = {"error": "<script>", "error_description": "secret", "state": state}
    refused = come_back(browser, answer)
    assert (refused.status_code, code_of(refused)) == (401, "oidc_refused")
    assert "script" not in refused.text
    assert "secret" not in refused.text
    assert code_of(come_back(browser, {})) == "oidc_invalid"


def test_an_answer_of_another_provider_is_refused(server: Server, issuer: Issuer) -> None:
    browser = server.client("nobody")
    answer = issuer.authorize(leave(browser)) | {"iss": "https://evil.example"}
    assert code_of(come_back(browser, answer)) == "oidc_refused"


def add_user(server: Server, name: str, email: str) -> str:
    made = server.admin.post("/api/v1/users", json={"name": name, "email": email})
    assert made.status_code == 201, made.text
    return made.json()["id"]


def test_a_known_user_is_found_by_verified_e_mail_only(server: Server, issuer: Issuer) -> None:
    known = add_user(server, "na", "li.na@example.com")
    issuer.changes = {"email_verified": False}
    browser, _ = sign_in(server, issuer)
    assert browser.get("/api/v1/me").json()["user"]["id"] != known
    issuer.changes = {"sub": "another-person"}
    browser, _ = sign_in(server, issuer)
    assert browser.get("/api/v1/me").json()["user"]["id"] == known
    issuer.changes = {"sub": "a-third"}  # the address belongs to a linked user by now
    browser, _ = sign_in(server, issuer)
    third = browser.get("/api/v1/me").json()["user"]
    assert (third["id"] != known, third["email"]) == (True, None)


def test_who_is_switched_off_stays_outside(server: Server, issuer: Issuer) -> None:
    browser, _ = sign_in(server, issuer)
    user = browser.get("/api/v1/me").json()["user"]["id"]
    server.admin.patch(f"/api/v1/users/{user}", json={"disabled": True})
    _, refused = sign_in(server, issuer)
    assert (refused.status_code, code_of(refused)) == (401, "user_disabled")


def test_names_are_made_fit_and_unique(server: Server, issuer: Issuer) -> None:
    issuer.changes = {"preferred_username": "member\n\x00", "email": None}
    browser, _ = sign_in(server, issuer)
    assert browser.get("/api/v1/me").json()["user"]["name"] == "member-2"


def test_without_leave_nobody_becomes_a_user(data_dir: Path, issuer: Issuer) -> None:
    with installation(data_dir, issuer, oidc_create_users=False) as server:
        _, refused = sign_in(server, issuer)
        assert (refused.status_code, code_of(refused)) == (403, "oidc_no_user")
        known = add_user(server, "na", "li.na@example.com")
        browser, _ = sign_in(server, issuer)
        assert browser.get("/api/v1/me").json()["user"]["id"] == known


def test_only_verified_addresses_of_allowed_domains_come_in(data_dir: Path, issuer: Issuer) -> None:
    with installation(data_dir, issuer, oidc_allowed_domains="example.com") as server:
        assert sign_in(server, issuer)[1].status_code == 200
        for changes in (
            {"email": "x@evil.com"}, {"email_verified": "true"}, {"email": None},
            {"email": "x@notexample.com"}, {"email": "a@example.com@evil.com"},
        ):  # fmt: skip
            issuer.changes = changes
            _, refused = sign_in(server, issuer)
            assert code_of(refused) == "oidc_domain_not_allowed", changes


def test_a_group_of_the_provider_administrates(data_dir: Path, issuer: Issuer) -> None:
    with installation(data_dir, issuer, oidc_admin_group="staff") as server:
        browser, _ = sign_in(server, issuer)
        user = browser.get("/api/v1/me").json()["user"]
        assert user["is_admin"]
        issuer.changes = {"groups": ["others"]}
        browser, _ = sign_in(server, issuer)
        assert not browser.get("/api/v1/me").json()["user"]["is_admin"]
        issuer.changes = {}
        sign_in(server, issuer)
        with server.platform.database.write() as session:
            session.get_one(User, server.users["admin"]).is_admin = False
        issuer.changes = {"groups": []}
        browser, _ = sign_in(server, issuer)  # the last one stays
        assert browser.get("/api/v1/me").json()["user"]["is_admin"]


def test_a_provider_that_is_away_is_no_refusal(data_dir: Path, issuer: Issuer) -> None:
    with installation(data_dir, issuer, oidc_issuer="http://127.0.0.1:9") as server:
        answer = server.client("nobody").get(f"{OIDC}/login", follow_redirects=False)
        assert (answer.status_code, code_of(answer)) == (503, "oidc_unreachable")
        assert "127.0.0.1" not in answer.text


def test_a_provider_that_says_odd_things_of_itself_is_not_used(
    server: Server, issuer: Issuer
) -> None:
    issuer.metadata_changes = {"issuer": "https://evil.example"}
    answer = server.client("nobody").get(f"{OIDC}/login", follow_redirects=False)
    assert (answer.status_code, code_of(answer)) == (503, "oidc_unreachable")
    issuer.metadata_changes = {}
    issuer.padding = 1_000_000  # more than a provider may say
    _, answer = sign_in(server, issuer)
    assert (answer.status_code, code_of(answer)) == (503, "oidc_unreachable")


def test_without_settings_there_is_no_such_sign_in(data_dir: Path, issuer: Issuer) -> None:
    with installation(data_dir, issuer, oidc_issuer="") as server:
        browser = server.client("nobody")
        assert browser.get(OIDC).json()["is_on"] is False
        for path in ("login", "callback"):
            answer = browser.get(f"{OIDC}/{path}", follow_redirects=False)
            assert (answer.status_code, code_of(answer)) == (404, "oidc_off")
