"""A door in front of PostgreSQL that can be shut: to its clients the server has stopped."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url


class Gate:
    """Listens on a port of this machine and hands on what comes, while it is open."""

    def __init__(self, url: str) -> None:
        """`url`: of the database behind it; `self.url` is the way through the gate."""
        target = make_url(url)
        self._target = target
        self._door: socket.socket | None = None
        self._pairs: list[socket.socket] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        plain = target.difference_update_query(["host", "port"])
        self.url = plain.set(host="127.0.0.1", port=self._port).render_as_string(
            hide_password=False
        )
        self.open()

    def open(self) -> None:
        door = socket.create_server(("127.0.0.1", self._port))
        self._door = door
        threading.Thread(target=self._accept, args=(door,), daemon=True).start()

    def shut(self) -> None:
        """Whoever is inside is thrown out, whoever comes is refused."""
        if self._door is not None:
            with suppress(OSError):
                self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
            self._door = None
        for end in self._pairs:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._pairs = []

    def _accept(self, door: socket.socket) -> None:
        while True:
            try:
                client, _ = door.accept()
            except OSError:
                return
            server = self._connected()
            self._pairs += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()

    def _connected(self) -> socket.socket:
        host = self._target.query.get("host") or self._target.host or "127.0.0.1"
        port = self._target.port or 5432
        if str(host).startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((str(host), port))


@contextmanager
def gate(url: str) -> Generator[Gate]:
    made = Gate(url)
    try:
        yield made
    finally:
        made.shut()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(1 << 16):
            sink.sendall(block)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
