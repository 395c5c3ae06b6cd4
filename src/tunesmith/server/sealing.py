"""What a database must not hold in plain words: addresses and secrets of notices, sealed at rest.

The key is made of TUNESMITH_SECRET_KEY, of the file that `secret_key_file` names, or of the file
`secret` in the data directory. Several keys, the newest first, let an old one fade out: the first
seals, all of them open. What has no mark was written before it was sealed, and is read as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from tunesmith.errors import TunesmithError
from tunesmith.server.datadir import DataDir

if TYPE_CHECKING:
    from tunesmith.server.settings import Settings

_MARK: Final = "sealed:"
_PURPOSE: Final = b"tunesmith notices at rest"


class SealBroken(TunesmithError):
    """What is sealed was sealed with a key that this installation does not have."""

    code = "seal_broken"


class Seal:
    """Seals texts and opens them again; without a key texts stay as they are."""

    def __init__(self, keys: Callable[[], Sequence[bytes]] = tuple) -> None:
        self._keys = keys

    @classmethod
    def of(cls, settings: Settings) -> Seal:
        """The keys are read when they are needed first: a start makes the file."""
        return cls(lambda: _keys_of(settings))

    def close(self, text: str) -> str:
        """The text as the database gets it."""
        return text if self._box is None else _MARK + self._box.encrypt(text.encode()).decode()

    def open(self, text: str) -> str:
        """The text as it was; SealBroken where its key is gone."""
        if not text.startswith(_MARK):
            return text
        from cryptography.fernet import InvalidToken

        try:
            if self._box is None:
                raise InvalidToken
            return self._box.decrypt(text.removeprefix(_MARK)).decode()
        except InvalidToken:
            raise SealBroken(
                "An address or a secret cannot be read: it was sealed with another key.",
                hint="Set TUNESMITH_SECRET_KEY to the old key beside the new one, bring the file "
                "`secret` back, or write the address anew.",
            ) from None

    @cached_property
    def _box(self) -> Any:
        """None without a key."""
        from cryptography.fernet import Fernet, MultiFernet  # loaded when somebody subscribes

        made = [Fernet(_derived(key)) for key in self._keys()]
        return MultiFernet(made) if made else None


def _derived(key: bytes) -> bytes:
    """A key for this purpose alone, whatever the length of what it is made of."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    raw = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key)
    return base64.urlsafe_b64encode(raw)


def _keys_of(settings: Settings) -> Sequence[bytes]:
    if settings.secret_key is not None:
        return [key.encode() for key in settings.secret_keys]
    if settings.secret_key_file is not None:
        return [settings.secret_key_file.read_bytes().strip()]
    return [DataDir(settings.data_dir).secret()]
