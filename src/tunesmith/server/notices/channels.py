"""The ways a notice can go: one try each, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import orjson

from tunesmith.server.notices import signing
from tunesmith.server.notices.addresses import CHATS
from tunesmith.server.notices.gateways import NoticeSettings, filled
from tunesmith.server.notices.texts import Text, compose
from tunesmith.server.outgoing import (
    AddressNotAllowed,
    AddressPolicy,
    Caps,
    FetchFailed,
    Outgoing,
)
from tunesmith.server.sealing import SealBroken

_CAPS: Final = Caps(seconds=15.0)
_GONE: Final = 410
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Message:
    """A notice on its way; `secrets` are the newest first."""

    id: str
    event: str
    body: Mapping[str, Any]
    channel: str
    address: str
    secrets: tuple[str, ...]
    language: str


@dataclass(frozen=True)
class Outcome:
    """What came of one try. `is_final`: another one would end the same; `is_gone`: for ever."""

    is_sent: bool
    status_code: int | None = None
    error: str = ""
    is_final: bool = False
    is_gone: bool = False
    retry_after: float = 0.0


class Sender:
    """Sends notices; safe to share between threads."""

    def __init__(self, settings: NoticeSettings, outgoing: Outgoing | None = None) -> None:
        self.settings = settings
        self.outgoing = outgoing or Outgoing(AddressPolicy.of(settings.allowed_networks))

    def send(self, message: Message, now: datetime) -> Outcome:
        """One try. Never raises for what the other side does, and logs no address."""
        try:
            message = self._opened(message)
            if message.channel == "webhook":
                return self._call_webhook(message, now)
            text = compose(
                message.event, dict(message.body), message.language, self.settings.public_url
            )
            if message.channel in CHATS:
                return self._chat(message, text)
            return self._through_gateway(message, text)
        except AddressNotAllowed as error:
            return Outcome(False, error=f"{error.code}: {error.details['rule']}", is_final=True)
        except FetchFailed as error:
            return Outcome(False, error=error.details["reason"])
        except SealBroken as error:
            return Outcome(False, error=error.code, is_final=True)
        except Exception as error:  # a library's mistake must not stop the other notices
            _log.error("Notice %s: %s in %s", message.id, type(error).__name__, message.channel)
            return Outcome(False, error=type(error).__name__)

    def _opened(self, message: Message) -> Message:
        """Address and secrets as they are; in the database they are sealed."""
        unseal = self.settings.seal.open
        secrets = tuple(unseal(secret) for secret in message.secrets)
        return replace(message, address=unseal(message.address), secrets=secrets)

    def _call_webhook(self, message: Message, now: datetime) -> Outcome:
        """A redirect counts as a failure: the signed body goes to the given address only."""
        content = orjson.dumps(message.body["event"])
        headers = signing.headers(message.secrets, message.id, int(now.timestamp()), content)
        with self.outgoing.open(
            "POST",
            message.address,
            headers={"content-type": "application/json", **headers},
            content=content,
            caps=_CAPS,
        ) as reply:  # the body is of no interest, and nobody may read it through us
            return Outcome(
                200 <= reply.status_code < 300,
                reply.status_code,
                is_gone=reply.status_code == _GONE,
                retry_after=_seconds(reply.headers.get("retry-after", "")),
            )

    def _chat(self, message: Message, text: Text) -> Outcome:
        from tunesmith.server.notices import chat  # slow to import

        chat.silence()
        robot = chat.robot(
            message.channel, message.address, "".join(message.secrets[:1]), self.outgoing
        )
        is_sent = robot.say(_literal(text.title), _literal(text.body))
        return Outcome(is_sent, robot.status_code, "" if is_sent else f"code {robot.code}")

    def _through_gateway(self, message: Message, text: Text) -> Outcome:
        url = self.settings.gateway(message.channel)
        if not url:
            return Outcome(False, error="no_gateway", is_final=True)
        from apprise import Apprise, NotifyFormat  # slow to import

        from tunesmith.server.notices import chat

        chat.silence()
        gateway: Any = Apprise.instantiate(filled(url, message.address), asset=chat.ASSET)
        if gateway is None:
            return Outcome(False, error="bad_gateway_url", is_final=True)
        title, body = (text.title, text.body) if message.channel == "mail" else ("", text.short)
        is_sent = bool(gateway.notify(title=title, body=body, body_format=NotifyFormat.TEXT))
        return Outcome(is_sent, error="" if is_sent else "gateway_refused")


def _literal(text: str) -> str:
    """Chat products read <...> as a mention, of everybody even; these look alike and are text."""
    return text.replace("<", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}").replace(
        ">", "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
    )


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
