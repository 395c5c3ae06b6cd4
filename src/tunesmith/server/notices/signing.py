"""The proof that a webhook is ours, by Standard Webhooks.

webhook-id: notice-...              the same on every try, so a receiver can drop a second one
webhook-timestamp: 1772366400       of this try
webhook-signature: v1,BASE64        HMAC-SHA256 over id.timestamp.body; two after a rotation
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

_MARK: Final = "whsec_"
_KEY_BYTES: Final = 32


def new_secret() -> str:
    """whsec_ and the key in base64, as receivers' libraries want it."""
    return _MARK + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii")


def headers(
    secrets_: Sequence[str], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The three headers of one try; each secret signs once."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets_),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_MARK))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")
