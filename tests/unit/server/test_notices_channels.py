"""Each channel against a real server: what goes over the wire, and what a refusal is taken for."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import hmac
import logging
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpcore
import orjson
import pytest
from tests.unit.server.receivers import Mailbox, Receiver, certificate, mail_server, receiving

from tunesmith.server.notices import gateways
from tunesmith.server.notices.addresses import AddressRefused, masked, normal
from tunesmith.server.notices.channels import Message, Outcome, Sender
from tunesmith.server.notices.gateways import NoticeSettings
from tunesmith.server.notices.outbox import EVENTS, TEST
from tunesmith.server.notices.texts import LANGUAGES, compose, plain
from tunesmith.server.outgoing import AddressPolicy, Outgoing

# Apprise imports a module that Python 3.13 no longer has, and says nothing of it there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTS = {
    "wecom": "qyapi.weixin.qq.com",
    "dingtalk": "oapi.dingtalk.com",
    "feishu": "open.feishu.cn",
    "slack": "hooks.slack.com",
}
KEYS = {
    "wecom": "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa",
    "dingtalk": "a1b2c3d4e5f6a1b2c3d4",
    "feishu": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "slack": "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7",
}
PATHS = {
    "wecom": "/cgi-bin/webhook/send?key={}",
    "dingtalk": "/robot/send?access_token={}",
    "feishu": "/open-apis/bot/v2/hook/{}",
    "slack": "/services/{}",
}
TAKEN = {
    "wecom": b'{"errcode":0,"errmsg":"ok"}',
    "dingtalk": b'{"errcode":0,"errmsg":"ok"}',
    "feishu": b'{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}',
    "slack": b"ok",
}
REFUSED = {
    "wecom": b'{"errcode":93000,"errmsg":"invalid webhook url"}',
    "dingtalk": b'{"errcode":310000,"errmsg":"keywords not in content"}',
    "feishu": b'{"code":19021,"msg":"sign match fail or timestamp is not within one hour"}',
}
NASTY = '<at user_id="all">x</at>\x1b[31m\r\n<!channel>\u202eevil'


class Products:
    """The chat products' names lead to a local server, whose certificate is good for them."""

    def __init__(self, receiver: Receiver, outgoing: Outgoing) -> None:
        self.receiver, self.outgoing = receiver, outgoing


@pytest.fixture
def products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Products]:
    server, client = certificate(tmp_path, list(HOSTS.values()))
    with receiving(server) as receiver:

        def local(_: str, __: int) -> Sequence[str]:
            return ["127.0.0.1"]

        policy = AddressPolicy.of(["127.0.0.0/8"])
        outgoing = Outgoing(policy, resolver=local, tls=client)
        connect = httpcore.SyncBackend.connect_tcp

        # Port 443 of this machine is not ours to listen on.
        def to_port(self: Any, host: str, port: int, *rest: Any) -> Any:
            return connect(self, host, receiver.port if port == 443 else port, *rest)

        monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", to_port)
        yield Products(receiver, outgoing)


def message(channel: str, address: str, **changes: Any) -> Message:
    facts: dict[str, Any] = {"name": "mine", "project": "team", "reason": "worker_lost"}
    fields: dict[str, Any] = {
        "id": "notice-1",
        "event": "job.requeued",
        "body": {
            "event": {
                "id": "evt_1",
                "object": "event",
                "type": "fine_tuning.job.requeued",
                "created_at": int(NOW.timestamp()),
                "data": {"id": "ftjob-1"},
            },
            "facts": facts | changes.pop("facts", {}),
        },
        "secrets": (),
        "language": "en",
    }
    return Message(channel=channel, address=address, **(fields | changes))


def send(outgoing: Outgoing | None, what: Message, **settings: Any) -> Outcome:
    settings = {"public_url": "https://tune.example.com/"} | settings
    return Sender(NoticeSettings(**settings), outgoing).send(what, NOW)


@pytest.mark.parametrize("channel", list(HOSTS))
def test_a_chat_product_gets_a_text_at_its_own_host(products: Products, channel: str) -> None:
    products.receiver.body = TAKEN[channel]
    outcome = send(products.outgoing, message(channel, KEYS[channel]))
    assert (outcome.is_sent, outcome.status_code) == (True, 200)
    (seen,) = products.receiver.seen
    assert seen.headers["host"] == HOSTS[channel]
    assert seen.path == PATHS[channel].format(KEYS[channel])
    said = text_of(channel, orjson.loads(seen.body))
    assert said.splitlines()[0] == 'Job "mine" was interrupted and waits to go on'
    assert "Project: team" in said
    assert "Reason: its worker was lost" in said
    assert "https://tune.example.com/jobs/ftjob-1" in said


def text_of(channel: str, payload: dict[str, Any]) -> str:
    if channel == "slack":
        assert payload["mrkdwn"] is False
        return str(payload["text"])
    kind = payload.get("msgtype") or payload["msg_type"]
    assert kind == "text"
    return str(payload["content"]["text"] if channel == "feishu" else payload["text"]["content"])


@pytest.mark.parametrize("channel", list(HOSTS))
def test_a_name_in_a_notice_can_mention_nobody(products: Products, channel: str) -> None:
    products.receiver.body = TAKEN[channel]
    assert send(products.outgoing, message(channel, KEYS[channel], facts={"name": NASTY})).is_sent
    said = text_of(channel, orjson.loads(products.receiver.seen[0].body))
    assert not set("<>\x1b\u202e") & set(said)
    assert "at user_id" in said  # it is shown, as text
    assert len(said.splitlines()) == 6


@pytest.mark.parametrize("channel", list(REFUSED))
def test_a_refusal_with_status_200_is_a_failure(products: Products, channel: str) -> None:
    products.receiver.body = REFUSED[channel]
    outcome = send(products.outgoing, message(channel, KEYS[channel]))
    assert (outcome.is_sent, outcome.status_code) == (False, 200)
    code = orjson.loads(REFUSED[channel])
    assert outcome.error == f"code {code.get('errcode', code.get('code'))}"


def test_slack_refuses_by_its_status(products: Products) -> None:
    products.receiver.status, products.receiver.body = 404, b"no_service"
    outcome = send(products.outgoing, message("slack", KEYS["slack"]))
    assert (outcome.is_sent, outcome.status_code) == (False, 404)


def test_a_chat_product_that_redirects_is_not_followed(products: Products) -> None:
    with receiving() as other:
        products.receiver.status = 307
        products.receiver.headers = {"location": other.url()}
        outcome = send(products.outgoing, message("feishu", KEYS["feishu"]))
        assert (outcome.is_sent, outcome.status_code) == (False, 307)
        assert other.seen == []


def test_a_chat_host_that_resolves_to_a_private_address_is_refused() -> None:
    def inside(_: str, __: int) -> Sequence[str]:
        return ["10.0.0.1"]

    outcome = send(Outgoing(resolver=inside), message("wecom", KEYS["wecom"]))
    assert outcome.error == "address_not_allowed: private"


def test_dingtalk_and_feishu_are_signed_with_the_secret_of_the_robot(products: Products) -> None:
    secret = "SECabc123456"
    products.receiver.body = TAKEN["dingtalk"]
    assert send(products.outgoing, message("dingtalk", KEYS["dingtalk"], secrets=(secret,))).is_sent
    query = parse_qs(urlsplit(products.receiver.seen[0].path).query)
    (stamp,) = query["timestamp"]
    assert query["sign"] == [signature(secret, f"{stamp}\n{secret}")]
    products.receiver.body = TAKEN["feishu"]
    assert send(products.outgoing, message("feishu", KEYS["feishu"], secrets=(secret,))).is_sent
    payload = orjson.loads(products.receiver.seen[1].body)
    assert payload["sign"] == signature(f"{payload['timestamp']}\n{secret}", "")


def signature(key: str, text: str) -> str:
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), hashlib.sha256)).decode()


@pytest.fixture
def mailbox() -> Generator[Mailbox]:
    with mail_server() as box:
        yield box


def mail_url(box: Mailbox) -> str:
    return (
        f"mailto://tune:pass@127.0.0.1:{box.port}"
        "?smtp=127.0.0.1&mode=insecure&from=tune@example.com&to={address}"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mail_is_plain_text_to_one_person(mailbox: Mailbox, language: str) -> None:
    what = message(
        "mail", "ada+x@example.org", language=language, facts={"name": "我的 <b>mine</b>"}
    )
    assert send(None, what, mail_url=mail_url(mailbox)).is_sent
    assert mailbox.recipients == ["ada+x@example.org"]
    mail = email.message_from_string(mailbox.mails[0], policy=email.policy.default)
    assert mail["to"] == "ada+x@example.org"
    assert "我的 <b>mine</b>" in mail["subject"]
    assert [part.get_content_type() for part in mail.walk() if not part.is_multipart()] == [
        "text/plain"
    ]
    body = mail.get_body(("plain",))
    assert body is not None
    assert ("项目：team" if language == "zh" else "Project: team") in body.get_content()


def test_a_mail_that_is_not_taken_is_a_failure(mailbox: Mailbox) -> None:
    mailbox.refuses = True
    outcome = send(None, message("mail", "ada@example.org"), mail_url=mail_url(mailbox))
    assert (outcome.is_sent, outcome.error) == (False, "gateway_refused")
    assert mailbox.mails == []


def test_a_name_adds_no_header_to_a_mail(mailbox: Mailbox) -> None:
    nasty = "x\r\nBcc: eve@example.net\r\n\r\n"
    what = message("mail", "ada@example.org", facts={"name": nasty})
    assert send(None, what, mail_url=mail_url(mailbox)).is_sent
    mail = email.message_from_string(mailbox.mails[0], policy=email.policy.default)
    assert mail["bcc"] is None
    assert mailbox.recipients == ["ada@example.org"]


def test_a_short_message_goes_to_the_gateway_of_the_installation() -> None:
    with receiving() as gateway:
        url = f"json://127.0.0.1:{gateway.port}/send?:to={{address}}"
        what = message("sms", "+8613800000000", language="zh")
        assert send(None, what, sms_url=url).is_sent
        payload = orjson.loads(gateway.seen[0].body)
        assert payload["to"] == "+8613800000000"
        expected = "任务 “mine” 已中断，等待继续 https://tune.example.com/jobs/ftjob-1"
        assert payload["message"] == expected


def test_without_a_gateway_nothing_is_tried_again() -> None:
    outcome = send(None, message("sms", "+8613800000000"))
    assert (outcome.is_sent, outcome.is_final, outcome.error) == (False, True, "no_gateway")


def test_no_log_holds_an_address_or_a_key(
    products: Products, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    products.receiver.status = 500
    for channel, key in KEYS.items():
        send(products.outgoing, message(channel, key, secrets=("SECabc123456",)))
    mailbox.refuses = True
    send(None, message("mail", "ada@example.org"), mail_url=mail_url(mailbox))
    for secret in (*KEYS.values(), "SECabc123456", "ada@example.org", "tune:pass"):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("channel", "address", "kept"),
    [
        ("mail", " ada@example.org ", "ada@example.org"),
        ("sms", "+86 138-0000 0000", "+8613800000000"),
        ("slack", "https://hooks.slack.com/services/" + KEYS["slack"], KEYS["slack"]),
        ("wecom", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=" + KEYS["wecom"], None),
        ("dingtalk", "https://oapi.dingtalk.com/robot/send?access_token=a1b2c3d4", "a1b2c3d4"),
        ("feishu", "https://open.feishu.cn/open-apis/bot/v2/hook/" + KEYS["feishu"], None),
        ("feishu", KEYS["feishu"], None),
    ],
)
def test_an_address_may_be_given_as_the_product_hands_it_out(
    channel: str, address: str, kept: str | None
) -> None:
    assert normal(channel, address) == (kept or KEYS[channel])


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("mail", "ada lovelace"),
        ("mail", "ada@localhost"),
        ("mail", "ada@example.org,eve@example.net"),
        ("mail", "ada@example.org?cc=eve@example.net"),
        ("mail", "mailtos://user:pass@smtp.example.net"),
        ("sms", "112"),
        ("sms", "+8613800000000/+8613900000000"),
        ("wecom", "https://qyapi.weixin.qq.com.evil.example/cgi-bin/webhook/send?key=12345678"),
        ("wecom", "https://127.0.0.1/cgi-bin/webhook/send?key=12345678"),
        ("wecom", "12345678&debug=1"),
        ("wecom", "wecombot://12345678"),
        ("dingtalk", "a1b2c3d4/../../x"),
        ("dingtalk", "http://oapi.dingtalk.com/robot/send?access_token=a1b2c3d4"),
        ("feishu", "feishu://0f8fad5b"),
        ("slack", "https://hooks.slack.com/services/T1/A1"),
        ("slack", "json://127.0.0.1/"),
        ("slack", "T1/A1/../x"),
    ],
)
def test_what_is_no_address_of_a_channel_is_refused(channel: str, address: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        normal(channel, address)
    assert refused.value.code == "bad_notice_address"
    assert address not in str(refused.value)


def test_addresses_are_shown_masked() -> None:
    assert masked("mail", "ada@example.org") == "a***@example.org"
    assert masked("sms", "+8613800001234") == "***234"
    assert (
        masked("webhook", "https://a.example:8443/hook/s3cret?k=v") == "https://a.example:8443/***"
    )
    for channel, key in KEYS.items():
        assert masked(channel, key) == f"***{key[-4:]}"


def test_every_event_has_a_text_in_both_languages() -> None:
    for event in (*EVENTS, TEST):
        body = dict(message("mail", "", event=event).body)
        english, chinese = (compose(event, body, language, "") for language in LANGUAGES)
        assert english.title != chinese.title
        assert english.title.isascii()
        assert event == TEST or ("mine" in english.title and "mine" in chinese.title)


def test_a_finished_job_is_told_with_its_model_and_a_link() -> None:
    facts = {"reason": "", "model": "ft:starter:org::1", "step": 120, "total_steps": 200}
    text = compose(
        "job.succeeded",
        dict(message("mail", "", facts=facts).body),
        "en",
        "https://tune.example.com",
    )
    assert text.title == 'Job "mine" succeeded'
    assert text.body.splitlines() == [
        "Project: team",
        "Model: ft:starter:org::1",
        "Step: 120 / 200",
        "Time: 2026-03-01 12:00 UTC",
        "Id: ftjob-1",
        "https://tune.example.com/jobs/ftjob-1",
    ]


def test_texts_are_plain() -> None:
    assert plain("a\x00\x1b[1m\r\nb\u2028c\u202ed\u200be\ud800", 99) == "a[1m b cde"
    assert plain("x" * 50, 10) == "x" * 9 + "…"
    assert plain("{name} 你好", 99) == "{name} 你好"


@pytest.mark.parametrize(
    ("channel", "url", "problem"),
    [
        ("mail", "mailtos://u:p@smtp.example.com", "address"),
        ("mail", "dbus://{address}", "begins with"),
        ("sms", "syslog://{address}", "begins with"),
        ("sms", "{address}", "begins with"),
    ],
)
def test_a_gateway_that_sends_nothing_is_refused(channel: str, url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        gateways.check(channel, url)


def test_an_address_cannot_change_the_url_of_a_gateway() -> None:
    url = gateways.filled("mailtos://u:p@h?to={address}", "a%2c&cc=b@example.org/?x#")
    assert url == "mailtos://u:p@h?to=a%252c%26cc%3Db%40example.org%2F%3Fx%23"
