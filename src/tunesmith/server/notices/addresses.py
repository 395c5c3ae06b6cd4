"""What an address of each channel may be, and how much of it may be seen again.

    mail, sms                        a mail address, a phone number: a gateway of the installation
    wecom, dingtalk, feishu, slack   the webhook URL that the product hands out, or the key in it
    webhook                          any URL that the policy for outgoing addresses allows

Of the chat products only the key is kept: the host is always the product's own, so nobody can
lead the server elsewhere with one. URLs of Apprise are refused, whatever their scheme.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn
from urllib.parse import urlsplit

from tunesmith.errors import InputError

CHANNELS: Final = ("mail", "sms", "wecom", "dingtalk", "feishu", "slack", "webhook")
CHATS: Final = ("wecom", "dingtalk", "feishu", "slack")
WITH_OWN_SECRET: Final = ("dingtalk", "feishu")  # robots that may want messages signed

_MAIL: Final = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")
_PHONE: Final = re.compile(r"\+?[0-9]{6,15}")
_SECRET: Final = re.compile(r"[A-Za-z0-9]{8,128}")
_KEYS: Final = {
    "wecom": (
        re.compile(r"https://qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=(.*)"),
        re.compile(r"[A-Za-z0-9_-]{8,128}"),
    ),
    "dingtalk": (
        re.compile(r"https://oapi\.dingtalk\.com/robot/send\?access_token=(.*)"),
        re.compile(r"[A-Za-z0-9]{8,128}"),
    ),
    "feishu": (
        re.compile(r"https://open\.feishu\.cn/open-apis/bot/v2/hook/(.*?)/?"),
        re.compile(r"[A-Za-z0-9_-]{8,128}"),
    ),
    "slack": (
        re.compile(r"https://hooks\.slack\.com/services/(.*)"),
        re.compile(r"[A-Z0-9]{1,32}/[A-Z0-9]{1,32}/[A-Za-z0-9]{1,64}"),
    ),
}
_FORMS: Final = {
    "mail": "a mail address such as ada@example.com",
    "sms": "a phone number with its country such as +8613800000000",
    "wecom": "the webhook URL of the group robot (https://qyapi.weixin.qq.com/...), or its key",
    "dingtalk": "the webhook URL of the group robot (https://oapi.dingtalk.com/...), or its token",
    "feishu": "the webhook URL of the group robot (https://open.feishu.cn/...), or its key",
    "slack": "the URL of an incoming webhook (https://hooks.slack.com/services/...)",
}


class AddressRefused(InputError):
    """The address is none of its channel; nothing was stored."""

    code = "bad_notice_address"


def normal(channel: str, address: str) -> str:
    """What is stored of an address; AddressRefused where it is none. Webhooks: see the policy."""
    address = address.strip()
    if channel == "webhook":
        return address
    if channel == "mail":
        return address if _MAIL.fullmatch(address) else _refuse(channel)
    if channel == "sms":
        number = re.sub(r"[ ()-]", "", address)
        return number if _PHONE.fullmatch(number) else _refuse(channel)
    whole, key = _KEYS[channel]
    found = whole.fullmatch(address)
    address = found.group(1) if found else address
    return address if key.fullmatch(address) else _refuse(channel)


def normal_secret(channel: str, secret: str) -> str:
    """The secret with which a chat robot wants messages signed."""
    if channel not in WITH_OWN_SECRET or not _SECRET.fullmatch(secret):
        raise AddressRefused(
            "The secret cannot be used; nothing was stored.",
            hint="Robots of DingTalk and Feishu have one, of letters and digits; "
            "the secret of a webhook is made here.",
            param="secret",
        )
    return secret


def masked(channel: str, address: str) -> str:
    """Enough to recognise an address, too little to use it."""
    if channel == "mail":
        name, _, host = address.partition("@")
        return f"{name[:1]}***@{host}"
    if channel == "sms":
        return f"***{address[-3:]}"
    if channel == "webhook":
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.netloc}/***"
    return f"***{address[-4:]}"


def _refuse(channel: str) -> NoReturn:
    raise AddressRefused(
        f"The address is not one for {channel}; nothing was stored.",
        hint=f"Give {_FORMS[channel]}.",
        param="address",
    )
