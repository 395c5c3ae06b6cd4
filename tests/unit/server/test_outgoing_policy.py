"""Which addresses are called for a user: every form of one that is not public is refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.server.outgoing import AddressNotAllowed, AddressPolicy
from tunesmith.server.outgoing.policy import rule_against

PUBLIC = AddressPolicy()


def rule_of(url: str, policy: AddressPolicy = PUBLIC) -> str:
    with pytest.raises(AddressNotAllowed) as refused:
        policy.check_url(url)
    assert refused.value.code == "address_not_allowed"
    assert refused.value.message.startswith("Address not allowed by policy: ")
    return refused.value.details["rule"]


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("file:///etc/passwd", "scheme"),
        ("gopher://example.com/", "scheme"),
        ("ftp://example.com/", "scheme"),
        ("//example.com/", "scheme"),
        ("example.com", "scheme"),
        ("", "scheme"),
        ("https:///path", "host"),
        ("https://user@example.com/", "user_info"),
        ("https://user:password@example.com/", "user_info"),
        ("https://example.com@127.0.0.1/", "user_info"),
        ("https://example.com:22/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:25/", "port"),
        ("http://2130706433/", "ip_spelling"),
        ("http://0x7f000001/", "ip_spelling"),
        ("http://0X7F.0.0.1/", "ip_spelling"),
        ("http://0177.0.0.1/", "url"),
        ("http://127.1/", "ip_spelling"),
        ("http://127.0.0.01/", "url"),
        ("http://127.0.0.1./", "ip_spelling"),
        ("http://example.1/", "ip_spelling"),
        ("http://[fe80::1%25eth0]/", "ip_spelling"),
        ("https://example.com\\@127.0.0.1/", "characters"),
        ("https://example.com/a b", "characters"),
        ("https://example.com/\r\nx: y", "characters"),
        ("https://example.com/\x00", "characters"),
        ("https://example.com/" + "a" * 3000, "length"),
        ("https://[::1", "url"),
        ("https://example.com:99999999/", "port"),
    ],
)
def test_a_url_that_is_no_plain_web_address_is_refused(url: str, rule: str) -> None:
    assert rule_of(url) == rule


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?key=1#part",
        "http://example.com:8080/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://例子.测试/钩子",
        "https://1password.com/",
        "https://a1.example/",
    ],
)
def test_a_plain_web_address_is_accepted(url: str) -> None:
    assert PUBLIC.check_url(url).host


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "reserved"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "link_local"),
        ("100.64.0.1", "shared"),
        ("100.100.100.200", "shared"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "reserved"),
        ("198.18.0.1", "reserved"),
        ("203.0.113.9", "reserved"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::1", "loopback"),
        ("::", "reserved"),
        ("fe80::1", "link_local"),
        ("fe80::1%eth0", "link_local"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "reserved"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("::ffff:127.0.0.1", "embedded"),
        ("::ffff:8.8.8.8", "embedded"),
        ("::ffff:0:127.0.0.1", "embedded"),
        ("::127.0.0.1", "embedded"),
        ("64:ff9b::a9fe:a9fe", "embedded"),
        ("64:ff9b:1::a9fe:a9fe", "embedded"),
        ("2002:7f00:1::", "embedded"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "embedded"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str, rule: str) -> None:
    with pytest.raises(AddressNotAllowed) as refused:
        PUBLIC.check_ip(address)
    assert refused.value.details["rule"] == rule
    assert address not in str(refused.value)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_a_public_address_is_accepted(address: str) -> None:
    PUBLIC.check_ip(address)


@given(st.integers(0, 2**32 - 1))
def test_no_address_passes_that_python_knows_as_special(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert rule_against(address) is not None


@given(st.integers(0, 2**32 - 1), st.sampled_from(["::ffff:0:0", "64:ff9b::", "2002::", "::"]))
def test_an_ipv4_address_inside_an_ipv6_one_never_passes(number: int, base: str) -> None:
    shift = 80 if base == "2002::" else 0
    address = ipaddress.IPv6Address(int(ipaddress.IPv6Address(base)) | number << shift)
    assert rule_against(address) is not None


def test_an_administrator_allows_networks() -> None:
    policy = AddressPolicy.of(["10.0.0.0/8", "::1/128"])
    policy.check_ip("10.1.2.3")
    policy.check_ip("::1")
    for other in ("192.168.0.1", "127.0.0.1", "::ffff:10.0.0.1"):
        with pytest.raises(AddressNotAllowed):
            policy.check_ip(other)


def test_who_allows_nat64_does_not_allow_what_lies_behind_it() -> None:
    policy = AddressPolicy.of(["64:ff9b::/96"])
    policy.check_ip("64:ff9b::808:808")
    with pytest.raises(AddressNotAllowed) as refused:
        policy.check_ip("64:ff9b::a9fe:a9fe")
    assert refused.value.details["rule"] == "link_local"


def test_a_network_with_host_bits_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="host bits"):
        AddressPolicy.of(["10.0.0.1/8"])
