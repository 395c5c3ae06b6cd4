"""The lines of `tunesmith doctor` about the server that one is signed in to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tunesmith import __version__
from tunesmith.cli.checks import Check
from tunesmith.errors import TunesmithError

if TYPE_CHECKING:
    from tunesmith.sdk import Client

_SOON = timedelta(days=7)


def login_checks(environment: Mapping[str, str] = os.environ) -> list[Check]:
    """Address and version, who one is there, and how long the token holds."""
    from tunesmith.sdk import Client
    from tunesmith.sdk.login import read

    if read() is None and not environment.get("TUNESMITH_TOKEN", "").strip():
        told = "not signed in; `tunesmith jobs` and the like need it, local training does not"
        return [Check("server", "ok", told, "tunesmith login URL")]
    try:
        with Client(retries=0) as client:
            return _asked(client)
    except TunesmithError as error:
        return [_not_usable(error)]


def _asked(client: Client) -> list[Check]:
    health = client.health()
    return [_version(client.base_url, health.version), *_who(client)]


def _version(address: str, version: str) -> Check:
    told = f"{address}, version {version}"
    if version.split(".")[:2] == __version__.split(".")[:2]:
        return Check("server", "ok", told)
    mend = f"Use one version on both sides: pip install 'tunesmith=={version}'"
    return Check("server", "warning", f"{told}; this is {__version__}", mend)


def _who(client: Client) -> list[Check]:
    try:
        me = client.me()
    except TunesmithError as error:
        return [_not_usable(error)]
    scopes = ", ".join(me.scopes)
    found = [Check("signed in", "ok", f"as {me.user.name}; the token may {scopes}")]
    return [*found, *_expiry(client)]


def _expiry(client: Client) -> list[Check]:
    """How long the token of this login holds; tokens show their beginning only."""
    secret = client.token
    own = next((each for each in client.tokens.list() if secret.startswith(each.prefix)), None)
    if own is None:
        return []
    if own.expires_at is None:
        return [Check("token", "ok", f"{own.name} never ends")]
    left = own.expires_at - datetime.now(UTC)
    told = f"{own.name} ends {own.expires_at:%Y-%m-%d} (in {max(0, left.days)} days)"
    if left > _SOON:
        return [Check("token", "ok", told)]
    return [Check("token", "warning", told, f"tunesmith login {client.base_url}")]


def _not_usable(error: TunesmithError) -> Check:
    """Not reachable is a warning, as training here needs no server; a refused token is an error."""
    is_refused = error.details.get("status") in (401, 403)
    return Check(
        "server",
        "error" if is_refused else "warning",
        error.message,
        error.hint or "tunesmith login URL",
    )
