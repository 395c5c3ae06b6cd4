"""Robots of WeCom, DingTalk, Feishu and Slack: Apprise's, called through the checked client.

Apprise knows the hosts, the limits on length and the escapes of each product. Two things are done
here instead. The call itself goes out as all other calls do (outgoing), so no redirect and no
odd address of a name leads it elsewhere. And the answer is read: the three Chinese products say
200 and a code in the body when they refuse a message, which Apprise takes for sent.

Importing this module takes a moment, so only who sends does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import time
from typing import Any, Final, cast
from urllib.parse import urlencode

import orjson
from apprise import AppriseAsset, NotifyFormat
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.slack import NotifySlack
from apprise.plugins.wecombot import NotifyWeComBot

from tunesmith.server.outgoing import Caps, Outgoing

ASSET: Final = AppriseAsset(
    app_id="tunesmith", app_desc="tunesmith", app_url="", async_mode=False, http_redirects=False
)
_CAPS: Final = Caps(response_bytes=64 * 1024)


class Robot:
    """What the four have in common; `status_code` and `code` are what the product answered last."""

    outgoing: Outgoing
    status_code: int = 0
    code: int = 0

    def call(self, url: str, payload: dict[str, Any]) -> bool:
        """Send one message; whether the product took it."""
        with self.outgoing.open(
            "POST",
            url,
            headers={"content-type": "application/json; charset=utf-8"},
            content=orjson.dumps(payload),
            caps=_CAPS,
        ) as reply:
            self.status_code, answer = reply.status_code, reply.read()
        self.code = _code_in(answer)
        return self.status_code == 200 and self.code == 0

    def say(self, title: str, body: str) -> bool:
        """Send a text, through Apprise."""
        plugin = cast("Any", self)
        return bool(plugin.notify(title=title, body=body, body_format=NotifyFormat.TEXT))


class WeCom(Robot, NotifyWeComBot):
    def send(self, body: str, title: str = "", *_: Any, **__: Any) -> bool:  # noqa: ARG002
        return self.call(self.api_url, {"msgtype": "text", "text": {"content": body}})


class DingTalk(Robot, NotifyDingTalk):
    def send(self, body: str, title: str = "", *_: Any, **__: Any) -> bool:
        url = self.notify_url.format(token=self.token)
        if self.secret:
            timestamp = str(round(time.time() * 1000))
            signature = _hmac(self.secret, f"{timestamp}\n{self.secret}")
            url += "&" + urlencode({"timestamp": timestamp, "sign": signature})
        content = f"{title}\n{body}" if title else body
        return self.call(url, {"msgtype": "text", "text": {"content": content}})


class Feishu(Robot, NotifyFeishu):
    secret: str = ""

    def send(self, body: str, title: str = "", *_: Any, **__: Any) -> bool:  # noqa: ARG002
        payload: dict[str, Any] = {"msg_type": "text", "content": {"text": body}}
        if self.secret:
            timestamp = str(round(time.time()))
            payload |= {
                "timestamp": timestamp,
                "sign": _hmac(f"{timestamp}\n{self.secret}", ""),
            }
        return self.call(self.notify_url.format(token=self.token).rstrip("/"), payload)


class Slack(Robot, NotifySlack):
    def send(self, body: str, title: str = "", *_: Any, **__: Any) -> bool:
        url = f"{self.webhook_url}/{self.token_a}/{self.token_b}/{self.token_c}"
        text = f"{title}\n{body}" if title else body
        return self.call(url, {"text": text, "mrkdwn": False, "unfurl_links": False})


def robot(channel: str, key: str, secret: str, outgoing: Outgoing) -> Robot:
    """The robot of a chat group; `key` was checked (addresses.py)."""
    made: Robot
    if channel == "wecom":
        made = WeCom(key=key, asset=ASSET)
    elif channel == "dingtalk":
        made = DingTalk(token=key, secret=secret or None, asset=ASSET)
    elif channel == "feishu":
        made = Feishu(token=key, asset=ASSET)
        made.secret = secret
    else:
        first, second, third = key.split("/")
        made = Slack(token_a=first, token_b=second, token_c=third, asset=ASSET)
    made.outgoing = outgoing
    return made


def silence() -> None:
    """Apprise and what it calls write addresses and keys to their logs; ours hold none."""
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


def _hmac(key: str, text: str) -> str:
    made = hmac.new(key.encode("utf-8"), text.encode("utf-8"), hashlib.sha256).digest()
    return base64.b64encode(made).decode("ascii")


def _code_in(answer: bytes) -> int:
    """The code in an answer; 0 where it has none, as Slack's."""
    try:
        value = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return 0
    if not isinstance(value, dict):
        return 0
    found = cast("dict[str, Any]", value)
    code = found.get("errcode", found.get("code", found.get("StatusCode", 0)))
    return code if isinstance(code, int) else -1
