"""The address that a process listens on."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from tunesmith.errors import InputError
from tunesmith.runs.listening import listening


def test_answers_on_a_kept_connection_do_not_wait_for_acknowledgements() -> None:
    async def accepted(address: socket.socket) -> int:
        found = asyncio.get_running_loop().create_future()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            found.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(serve, sock=address):
            _, client = await asyncio.open_connection(*address.getsockname())
            no_delay = await found
            client.close()
            await client.wait_closed()
            return no_delay

    with closing(listening("127.0.0.1", 0, hint="")) as address:
        assert asyncio.run(accepted(address)) == 1


def test_an_address_that_somebody_has_is_said() -> None:
    with closing(listening("127.0.0.1", 0, hint="")) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port} cannot be listened on") as found:
            listening("127.0.0.1", port, hint="Take another.")
    assert found.value.code == "address_not_free"
    assert found.value.hint == "Take another."


def test_a_name_that_leads_nowhere_is_not_taken_for_a_port_in_use() -> None:
    with pytest.raises(InputError, match="cannot be listened on") as found:
        listening("nowhere.invalid", 8400, hint="Take another port.")
    assert found.value.hint == "Check the name."
