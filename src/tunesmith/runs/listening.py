"""The address that a process of ours listens on."""

from __future__ import annotations

import socket

from tunesmith.errors import InputError


def listening(host: str, port: int, *, hint: str) -> socket.socket:
    """The address, bound but not yet listening; InputError where somebody else has it.

    The protocol is named, as asyncio turns Nagle's algorithm off only for sockets that say TCP:
    without it the second half of each answer on a kept connection waits some 40 ms for an ACK.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise InputError(
            f"{host}:{port} cannot be listened on: {error.strerror}.",
            hint="Check the name." if isinstance(error, socket.gaierror) else hint,
            code="address_not_free",
        ) from error
    return taken
