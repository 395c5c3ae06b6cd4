"""Which addresses the server may call for a user: public ones, over http or https.

    check_url("http://2130706433/")       refused: ip_spelling
    check_url("https://a:b@example.com")  refused: user_info
    check_ip("10.0.0.1")                  refused: private, unless 10.0.0.0/8 is allowed

The name in a URL proves nothing: it is the resolved address that is checked, and that is called
(client.py). The networks are those of IANA's registries of special addresses, and one more: the
public address at which a cloud's machines find their own settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, Final

from tunesmith.server.outgoing.errors import refused

if TYPE_CHECKING:
    import httpx

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

LONGEST_URL: Final = 2048
_WEB_PORTS: Final = frozenset({80, 443})

_WORDS: Final = {
    "private": "it is in a private network",
    "loopback": "it is the server itself",
    "link_local": "it is a link-local address",
    "shared": "it is in a network shared by a provider",
    "multicast": "it is a multicast address",
    "reserved": "it is a reserved address",
    "metadata": "it is a service of a cloud for its own machines",
    "embedded": "it is an IPv6 address with an IPv4 address inside",
}
_REFUSED_V4: Final = [
    (IPv4Network(network), rule)
    for network, rule in (
        ("0.0.0.0/8", "reserved"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "metadata"),
        ("169.254.0.0/16", "link_local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]
_REFUSED_V6: Final = [
    (IPv6Network(network), rule)
    for network, rule in (
        ("::1/128", "loopback"),
        ("::/128", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("2001::/23", "reserved"),
        ("2620:4f:8000::/48", "reserved"),
        ("3fff::/20", "reserved"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link_local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
]
_PUBLIC_V6: Final = IPv6Network("2000::/3")  # all else is not given to anybody
# Where an IPv4 address stands in an IPv6 one: the network, and the bits to its right.
_EMBEDDED: Final = [
    (IPv6Network(network), shift)
    for network, shift in (
        ("::ffff:0:0/96", 0),  # mapped
        ("::ffff:0:0:0/96", 0),  # translated
        ("64:ff9b::/96", 0),  # NAT64
        ("64:ff9b:1::/48", 0),  # NAT64 of a network of one's own
        ("2002::/16", 80),  # 6to4
        ("::/96", 0),  # compatible, long out of use
    )
]
_TEREDO: Final = IPv6Network("2001::/32")


@dataclass(frozen=True)
class AddressPolicy:
    """What an administrator decided; `allowed` networks are called whatever they are."""

    allowed: tuple[Network, ...] = ()
    schemes: frozenset[str] = frozenset({"https", "http"})

    @classmethod
    def of(cls, networks: Iterable[str]) -> AddressPolicy:
        """ValueError for what is not a network, such as 10.0.0.1/8."""
        return cls(tuple(ip_network(network.strip()) for network in networks))

    def check_url(self, text: str) -> httpx.URL:
        """The URL as it will be called; its host's addresses are checked when it is."""
        url = _parsed(text)
        if url.scheme not in self.schemes:
            raise refused("scheme", f"only {' and '.join(sorted(self.schemes))} are called")
        if url.userinfo:
            raise refused("user_info", "it holds a user name or a password")
        if not url.host:
            raise refused("host", "it names no host")
        if url.port is not None and url.port not in _WEB_PORTS and not 1024 <= url.port <= 65535:
            raise refused("port", f"port {url.port} is none of the web")
        _refuse_odd_numbers(url.host)
        return url

    def check_ip(self, text: str) -> None:
        """AddressNotAllowed for an address that is not public and not allowed."""
        address = ip_address(text.partition("%")[0])
        inner = _embedded(address)
        is_allowed = any(
            address in network for network in self.allowed if network.version == address.version
        )
        if inner is not None and is_allowed:  # who allows NAT64 does not allow all behind it
            self.check_ip(str(inner))
        elif not is_allowed and (rule := rule_against(address)) is not None:
            raise refused(rule, _WORDS[rule])


def rule_against(address: Address) -> str | None:
    """The rule that refuses an address where no network is allowed; None for a public one."""
    if _embedded(address) is not None:
        return "embedded"
    if isinstance(address, IPv4Address):
        return next((rule for network, rule in _REFUSED_V4 if address in network), None)
    found = next((rule for network, rule in _REFUSED_V6 if address in network), None)
    return found or (None if address in _PUBLIC_V6 else "reserved")


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that a packet to an IPv6 one ends at."""
    if isinstance(address, IPv4Address) or int(address) < 2:  # :: and ::1 are addresses themselves
        return None
    if address in _TEREDO:
        return IPv4Address(~int(address) & 0xFFFFFFFF)
    for network, shift in _EMBEDDED:
        if address in network:
            return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return None


def _parsed(text: str) -> httpx.URL:
    import httpx  # brings a terminal's libraries along: not before somebody asks

    if len(text) > LONGEST_URL:
        raise refused("length", f"it is longer than {LONGEST_URL} characters")
    # Programs disagree about what these mean, so that a check of one reading is none of another.
    if not text.isprintable() or re.search(r"[\s\\]", text):
        raise refused("characters", "it holds spaces, backslashes or control characters")
    try:
        return httpx.URL(text)
    except httpx.InvalidURL:
        raise refused("url", "it is not a URL") from None


def _refuse_odd_numbers(host: str) -> None:
    """127.1, 0x7f000001, 2130706433 and 0177.0.0.1 all are 127.0.0.1 to some resolvers."""
    if "%" in host:
        raise refused("ip_spelling", "it names a network interface")
    last = host.rstrip(".").rpartition(".")[2]
    if not re.fullmatch(r"\d+|0x[0-9a-f]*", last, re.IGNORECASE):
        return
    try:
        IPv4Address(host)
    except ValueError:
        raise refused("ip_spelling", "its number is not written as 192.0.2.1 is") from None
