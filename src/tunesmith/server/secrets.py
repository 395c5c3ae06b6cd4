"""Tokens and passwords: made here, compared here, stored as hashes only.

A token has 192 bits of chance, so one SHA-256 of it is enough; passwords take argon2.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from functools import cache
from typing import Final

from pwdlib import PasswordHash

_MARK: Final = "tsk-"
_SHOWN: Final = 12  # characters of a token that people may see again
SHORTEST_PASSWORD: Final = 10


@dataclass(frozen=True)
class FreshToken:
    """A token at the one time it can be seen."""

    secret: str
    prefix: str
    token_hash: str


def new_token() -> FreshToken:
    return token_of(_MARK + secrets.token_hex(24))


def token_of(secret: str) -> FreshToken:
    """What is stored of a token that somebody chose or sent."""
    return FreshToken(
        secret, secret[:_SHOWN], hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    )


def hash_password(password: str) -> str:
    return _passwords().hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """False also without a hash, after the same time, so that nobody learns who has one."""
    known = password_hash or _of_nobody()
    return _passwords().verify(password, known) and password_hash is not None


@cache
def _passwords() -> PasswordHash:
    return PasswordHash.recommended()


@cache
def _of_nobody() -> str:
    return hash_password(secrets.token_hex(16))
