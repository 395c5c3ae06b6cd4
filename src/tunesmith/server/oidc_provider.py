"""The identity provider of an installation: its addresses and keys, codes for tokens, proof.

Its address is an administrator's setting, so any network is allowed; time and size are bounded as
for every call that goes out. Redirects are not followed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, cast
from urllib.parse import urlencode

from authlib.oauth2.auth import encode_client_secret_basic, encode_client_secret_post
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tunesmith.errors import TunesmithError
from tunesmith.server.oidc_errors import refused, unreachable
from tunesmith.server.outgoing import AddressPolicy, Caps, Outgoing
from tunesmith.server.settings import Settings

# Signatures that only the provider can make; `none` and the ones by a shared secret are not there.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
)  # fmt: skip
CAPS: Final = Caps(seconds=10.0, response_bytes=256 * 1024)
_FRESH_SECONDS: Final = 3600.0
_LEAST_SECONDS: Final = 30.0  # between two looks for new keys
_LEEWAY_SECONDS: Final = 60  # clocks of two machines


@dataclass
class _Known:
    """What the provider said of itself, and when."""

    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    keys: KeySet | None = None
    metadata_at: float = -1e9
    keys_at: float = -1e9


class Provider:
    """One provider; what it says of itself is remembered for an hour."""

    def __init__(self, settings: Settings) -> None:
        self.issuer = settings.oidc_issuer
        self.client_id = settings.oidc_client_id
        secret = settings.oidc_client_secret
        self.client_secret = secret.get_secret_value() if secret else ""
        self._scope = " ".join(dict.fromkeys(["openid", *settings.oidc_scopes]))
        self._outgoing = Outgoing(AddressPolicy.of(["0.0.0.0/0", "::/0"]))
        self._known, self._lock = _Known(), Lock()

    def sign_in_address(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent."""
        return prepare_grant_uri(
            self._endpoint("authorization_endpoint"),
            self.client_id,
            "code",
            redirect_uri,
            scope=self._scope,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )

    def claims_of(
        self, code: str, redirect_uri: str, nonce: str, verifier: str
    ) -> Mapping[str, Any]:
        """Who somebody is, by the code that their browser brought back."""
        answer = self._exchange(code, redirect_uri, verifier)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise refused("no_id_token")
        return self._proven(token, nonce, answer.get("access_token"))

    def _exchange(self, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        uri = self._endpoint("token_endpoint")
        body = urlencode(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "client_id": self.client_id,
                "code_verifier": verifier,
            }
        )
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        if self.client_secret:
            encode = (
                encode_client_secret_basic if self._takes_basic() else encode_client_secret_post
            )
            uri, headers, body = encode(self, "POST", uri, headers, body)
        status, answer = self._call("POST", uri, headers, body.encode())
        if status != 200:
            raise refused("code_not_accepted", _word(answer.get("error")))
        return answer

    def _takes_basic(self) -> bool:
        methods = self._metadata().get("token_endpoint_auth_methods_supported")
        return not isinstance(methods, list) or "client_secret_basic" in methods

    def _proven(self, token: str, nonce: str, access_token: Any) -> Mapping[str, Any]:
        """The claims of an id token whose signature, issuer, audience, times and nonce hold."""
        try:
            decoded = self._decoded(token)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self.client_id},
                    "sub": {"essential": True},
                    "exp": {"essential": True},
                    "nonce": {"essential": True, "value": nonce},
                },
                params={
                    "nonce": nonce, "client_id": self.client_id, "access_token": access_token,
                },
            )  # fmt: skip
            claims.validate(int(time.time()), _LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError) as error:
            raise refused("id_token_not_valid", _word(str(error))) from error
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise refused("nobody")
        return cast("Mapping[str, Any]", claims)

    def _decoded(self, token: str) -> jwt.Token:
        """Its key may be newer than the keys we know: then they are asked for once more."""
        try:
            return jwt.decode(token, self._keys(), algorithms=list(ALGORITHMS))
        except (JoseError, ValueError):
            if time.monotonic() - self._known.keys_at < _LEAST_SECONDS:
                raise
            return jwt.decode(token, self._keys(fresh=True), algorithms=list(ALGORITHMS))

    def _endpoint(self, name: str) -> str:
        address = self._metadata().get(name)
        if not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise unreachable(f"its settings name no {name}")
        if self.issuer.startswith("https://") and not address.startswith("https://"):
            raise unreachable(f"its {name} is not encrypted")
        return address

    def _metadata(self) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() - self._known.metadata_at > _FRESH_SECONDS:
                address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
                status, found = self._call("GET", address)
                if status != 200 or found.get("issuer") != self.issuer:
                    raise unreachable("its settings are not those of the issuer that is set")
                self._known.metadata, self._known.metadata_at = found, time.monotonic()
            return self._known.metadata

    def _keys(self, *, fresh: bool = False) -> KeySet:
        address = self._endpoint("jwks_uri")
        with self._lock:
            age = time.monotonic() - self._known.keys_at
            if self._known.keys is None or fresh or age > _FRESH_SECONDS:
                status, found = self._call("GET", address)
                self._known.keys = _key_set(status, found)
                self._known.keys_at = time.monotonic()
            return self._known.keys

    def _call(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
    ) -> tuple[int, dict[str, Any]]:
        try:
            with self._outgoing.open(
                method, address, headers=headers, content=content, caps=CAPS
            ) as reply:
                status, body = reply.status_code, reply.read()
            found: Any = json.loads(body)
        except (TunesmithError, ValueError, RecursionError) as error:
            raise unreachable("it did not answer as needed") from error
        return status, cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _key_set(status: int, found: dict[str, Any]) -> KeySet:
    """Keys that sign; those of kinds that we do not know are left out."""
    rows = found.get("keys") if status == 200 else None
    if not isinstance(rows, list):
        raise unreachable("it shows no keys")
    usable = [
        row
        for row in cast("list[Any]", rows)
        if isinstance(row, dict) and row.get("kty") in ("RSA", "EC") and row.get("use") != "enc"
    ]
    try:
        return KeySet.import_key_set({"keys": cast("list[Any]", usable)})
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise unreachable("its keys are not understood") from error


def _word(text: Any) -> str:
    """What another machine said, as far as it may be shown: a few plain characters."""
    plain = "".join(c for c in str(text) if c.isascii() and (c.isalnum() or c in " _-.:'"))
    return plain[:80] or "no reason given"
