"""Why an address was not called, or did not answer.

Neither names the address or what a name resolves to: addresses may hold secrets, and who may not
reach a network may not learn about it here either.
"""

from __future__ import annotations

from tunesmith.errors import InputError, TunesmithError


class AddressNotAllowed(InputError):
    """The policy refuses the address; `details['rule']` names the rule. Nothing was sent."""

    code = "address_not_allowed"


class FetchFailed(TunesmithError):
    """The address did not answer as needed; `details['reason']` says why."""

    code = "address_failed"


def refused(rule: str, why: str) -> AddressNotAllowed:
    return AddressNotAllowed(
        f"Address not allowed by policy: {why}.",
        hint="Use a public https address. An administrator can allow networks with "
        "TUNESMITH_ALLOWED_NETWORKS.",
        rule=rule,
    )


_REASONS = {
    "name": "its name cannot be resolved",
    "connect": "no connection",
    "tls": "the certificate or the encryption is not accepted",
    "timeout": "no complete answer in time",
    "too_large": "the answer is too large",
    "protocol": "the answer is not HTTP",
    "redirects": "too many redirects",
}


def failed(reason: str) -> FetchFailed:
    return FetchFailed(
        f"The address did not answer as needed: {_REASONS[reason]}.",
        hint="Check the address, and that it can be reached from the server.",
        reason=reason,
    )
