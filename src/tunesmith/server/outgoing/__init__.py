"""The one way in which the server calls addresses that users gave. Read `policy.py` first.

`policy.py` says which addresses are allowed, `client.py` calls them and nothing else.
"""

from __future__ import annotations

from tunesmith.server.outgoing.client import Caps, Outgoing, Reply, Resolver, resolve
from tunesmith.server.outgoing.errors import AddressNotAllowed, FetchFailed
from tunesmith.server.outgoing.policy import AddressPolicy

__all__ = [
    "AddressNotAllowed",
    "AddressPolicy",
    "Caps",
    "FetchFailed",
    "Outgoing",
    "Reply",
    "Resolver",
    "resolve",
]
