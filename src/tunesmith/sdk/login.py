"""Where a server is and who one is there: given, from the environment, or as stored by a login."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tunesmith.errors import InputError
from tunesmith.schemas.people import Session, TokenCreated
from tunesmith.sdk.connection import Connection, checked_address

DEFAULT_URL: Final = "http://127.0.0.1:8400"


@dataclass(frozen=True)
class Login:
    """The address of a server, and a token that it knows."""

    url: str
    token: str
    token_id: str = ""  # of a token that was made by signing in, so that logging out can revoke it


def find(url: str | None = None, token: str | None = None) -> Login:
    """What is given wins over TUNESMITH_URL and TUNESMITH_TOKEN, and those over what is stored.

    A stored token goes to the address that it is stored with, and to no other; one that is given
    goes nowhere without an address, as whoever listens there would learn it.
    """
    stored = read()
    url = url or os.environ.get("TUNESMITH_URL", "").strip()
    token = token or os.environ.get("TUNESMITH_TOKEN", "").strip()
    if token and not url:
        raise InputError(
            "There is a token, but no address of the server that it is for.",
            hint=f"Set TUNESMITH_URL beside TUNESMITH_TOKEN, such as {DEFAULT_URL}.",
            code="no_address",
            url=DEFAULT_URL,
        )
    if not url:
        url = stored.url if stored is not None else DEFAULT_URL
    url = checked_address(url)
    if token:
        return Login(url, token)
    if stored is not None and stored.url == url:
        return stored
    raise InputError(
        f"There is no token for {url}.",
        hint=f"Run `tunesmith login {url}`, or set TUNESMITH_TOKEN.",
        code="no_token",
        url=url,
    )


def sign_in(url: str, name: str, password: str) -> Login:
    """A token of one's own for this machine, by name and password; it ends after 90 days."""
    connection = Connection(url, "")
    origin = {"Origin": connection.base_url}  # a change with a cookie has to say where it is from
    try:
        body = {"name": name, "password": password}
        session = connection.send("POST", "/api/v1/session", Session, body)
        scopes = ["read", "write", *(["admin"] if session.user.is_admin else [])]
        wanted = {"name": f"login on {platform.node() or 'a terminal'}"[:100], "scopes": scopes}
        answer = connection.request("POST", "/api/v1/tokens", json=wanted, headers=origin)
        made = TokenCreated.model_validate_json(answer.content)
        connection.request("DELETE", "/api/v1/session", headers=origin)
        return Login(connection.base_url, made.secret, made.id)
    finally:
        connection.close()


def place() -> Path:
    """The file of the login in the user's configuration."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "tunesmith" / "login.json"


def read() -> Login | None:
    """The stored login; None where there is none, or the file is not readable as one."""
    try:
        document = json.loads(place().read_text(encoding="utf-8"))
        return Login(checked_address(document["url"]), document["token"], document["token_id"])
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None


def store(login: Login) -> Path:
    """Keep a login, readable by this user alone."""
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        part.unlink()
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        json.dump(asdict(login), stream, indent=2)
    part.replace(path)
    return path


def forget() -> bool:
    """Remove the stored login; whether there was one."""
    try:
        place().unlink()
    except FileNotFoundError:
        return False
    return True
