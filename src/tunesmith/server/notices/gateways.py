"""How this installation sends mail and short messages: an URL of Apprise with {address} in it.

    TUNESMITH_MAIL_URL=mailtos://name:password@smtp.example.com?from=tune@example.com&to={address}
    TUNESMITH_SMS_URL=twilio://SID:TOKEN@+15550100/{address}

Only an administrator writes these; users give the address alone. A gateway with an interface of its
own is reached by `jsons://gateway.example.com/send?:to={address}`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tunesmith.server.sealing import Seal

if TYPE_CHECKING:
    from tunesmith.server.settings import Settings

PLACE: Final = "{address}"
_OWN: Final = frozenset({"json", "jsons"})
_SCHEMES: Final = {
    "mail": _OWN
    | {"mailto", "mailtos", "azure", "o365", "brevo", "mailersend", "mailgun", "postmark"}
    | {"resend", "sendgrid", "ses", "smtp2go", "sparkpost"},
    "sms": _OWN
    | {"bulksms", "clickatell", "clicksend", "d7sms", "httpsms", "infobip", "kavenegar"}
    | {"msgbird", "nexmo", "octopush", "plivo", "seven", "sinch", "smseagle", "smseagles"}
    | {"smsmanager", "sns", "telnyx", "twilio", "voipms", "vonage"},
}


@dataclass(frozen=True)
class NoticeSettings:
    """What notices need to know of an installation; an empty gateway sends nothing."""

    public_url: str = ""
    mail_url: str = ""
    sms_url: str = ""
    allowed_networks: tuple[str, ...] = ()
    seal: Seal = field(default_factory=Seal)  # of what the database holds

    @classmethod
    def of(cls, settings: Settings) -> NoticeSettings:
        return cls(
            settings.public_url,
            settings.mail_url.get_secret_value(),
            settings.sms_url.get_secret_value(),
            tuple(settings.allowed_networks),
            Seal.of(settings),
        )

    def gateway(self, channel: str) -> str:
        """The URL for mail or sms."""
        return self.mail_url if channel == "mail" else self.sms_url


def check(channel: str, url: str) -> None:
    """ValueError for the URL of a gateway through which no message could go."""
    scheme = url.partition("://")[0].lower()
    if url and scheme not in _SCHEMES[channel]:
        known = ", ".join(sorted(_SCHEMES[channel]))
        raise ValueError(f"{channel} cannot go through this kind of URL; it begins with {known}")
    if url and PLACE not in url:
        raise ValueError(f"{PLACE} must stand where the recipient goes")


def filled(url: str, address: str) -> str:
    """The URL for one recipient; `address` was checked (addresses.py) and is quoted."""
    return url.replace(PLACE, quote(address, safe=""))
