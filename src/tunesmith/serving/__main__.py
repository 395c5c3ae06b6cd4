"""`python -m tunesmith.serving BASE ...`: one model behind an address; the command line starts it.

address taken -> HTTP answers /health -> model loaded in a thread -> ready -> SIGTERM -> drained
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import closing
from typing import Any

# As in the engine: threads that spin on make everything beside them slow, and OpenMP reads this
# when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import orjson
import uvicorn

from tunesmith.errors import TunesmithError
from tunesmith.runs.files import write_atomically
from tunesmith.runs.listening import listening
from tunesmith.serving.app import create_app
from tunesmith.serving.options import parse_options
from tunesmith.serving.state import State, read_key

log = logging.getLogger("tunesmith.serving")
_PARENT_SECONDS = 1.0


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal; returns the exit code."""
    options = parse_options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    log.setLevel(logging.DEBUG if options.verbose else logging.INFO)
    if options.engine == "vllm":
        from tunesmith.serving.vllm import become_vllm

        become_vllm(options)
    signal.signal(signal.SIGTERM, _leave)
    # Answers are written between the short steps of the engine, not only every 5 ms.
    sys.setswitchinterval(0.001)
    if options.parent is not None:
        threading.Thread(target=_end_with, args=(options.parent,), daemon=True).start()
    state = State(options, read_key(options))
    free = "--port 0 takes a free one."
    with closing(listening(options.host, options.port, hint=free)) as address:
        return _serve(state, address)


def _end_with(parent: int) -> None:
    """In a thread: who started this process may be killed, and nobody else would end it."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    log.warning("process %d, which started this one, is gone", parent)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(number: int, _: object) -> None:
    """uvicorn has ended in order and raises its signal again."""
    _ = number
    sys.exit(0)


def _serve(state: State, address: socket.socket) -> int:
    options = state.options
    server = _Server(
        uvicorn.Config(
            create_app(state),
            log_level="warning",
            access_log=False,
            server_header=False,
            backlog=4096,
            timeout_graceful_shutdown=max(int(options.grace), 1),
            timeout_keep_alive=75,
        ),
        state,
    )
    threading.Thread(target=_load, args=(state, server, address), daemon=True).start()
    server.run(sockets=[address])
    if state.served is not None:
        state.served.engine.close(1.0)
    if state.error is not None:
        _complain(state.error)
        return state.error.exit_code
    return 0


class _Server(uvicorn.Server):
    """Takes no more requests once it was told to end, and finishes what it has."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self._state.phase in ("ready", "loading"):
            self._state.phase = "draining"
        super().handle_exit(sig, frame)


def _load(state: State, server: _Server, address: socket.socket) -> None:
    """In a thread: load everything, say so, or end the server with the reason."""

    def say(activity: str) -> None:
        state.activity = activity
        log.info(activity)

    def progress(done: int, total: int, unit: str) -> None:
        state.activity = f"downloading: {done:,} of {total:,} {unit}"

    try:
        say("importing")
        from tunesmith.serving.loading import load_served

        served = load_served(
            state.options, deliver=state.postman.deliver, on_progress=progress, say=say
        )
        served.engine.on_gave_up = lambda error: _end(state, server, error)
    except Exception as error:
        _end(state, server, error)
        return
    if state.phase == "loading":
        state.become_ready(served)
        _write_ready_file(state, address)
        _announce(state, address)


def _end(state: State, server: _Server, error: Exception) -> None:
    """Nothing can be answered: say why and leave."""
    if not isinstance(error, TunesmithError):
        log.error("".join(traceback.format_exception(error)))
        error = TunesmithError(
            f"The server failed: {type(error).__name__}: {error}", code="serving_failed"
        )
    state.fail(error)
    _write_ready_file(state, None)
    server.should_exit = True


def url_of(address: socket.socket) -> str:
    """Where clients find it."""
    host, port = address.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _write_ready_file(state: State, address: socket.socket | None) -> None:
    file = state.options.ready_file
    if file is not None:
        told = {**state.health(), "pid": os.getpid()}
        if address is not None:
            told["url"] = url_of(address)
        write_atomically(file, orjson.dumps(told))


def _announce(state: State, address: socket.socket) -> None:
    assert state.served is not None
    names = ", ".join(voice.name for voice in state.served.voices)
    sys.stdout.write(f"Serving {names} on {url_of(address)}/v1  (Ctrl-C ends it)\n")
    sys.stdout.flush()


def _complain(error: TunesmithError) -> None:
    if os.environ.get("TUNESMITH_DEBUG"):
        traceback.print_exception(error)
    sys.stderr.write(f"Error: {error.message}\n" + (f"{error.hint}\n" if error.hint else ""))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except TunesmithError as error:
        _complain(error)
        sys.exit(error.exit_code)
