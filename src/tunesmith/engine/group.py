"""Several processes of one training on this machine: started together, ended together.

One process a device, as torchrun starts them. When one ends before its time the others are ended
too, since a collective would wait for it for half an hour; the run then goes on from its last
checkpoint, all of it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

LAST_WORD_SECONDS = 5  # for the first process, once another one has given up
LEAVE_SECONDS = 30  # after the first process is done: to close their connections
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, <sys/prctl.h>


def train_together(num_ranks: int, train: Callable[[], int]) -> int:
    """Run `train` in a process a rank; the exit code is that of the first rank."""
    port = _free_port()
    ranks = {_fork(rank, num_ranks, port, train): rank for rank in range(num_ranks)}
    first = next(pid for pid, rank in ranks.items() if rank == 0)
    # A request to pause is the first rank's to take: it tells the others at the next step.
    signal.signal(signal.SIGTERM, lambda number, _: _signal([first], number))
    code, result = 0, 1
    while ranks:
        pid, status = os.waitpid(-1, 0)
        rank = ranks.pop(pid, None)
        if rank is None:
            continue
        code = os.waitstatus_to_exitcode(status)
        if rank == 0:
            result = code
            _end_within(LEAVE_SECONDS, ranks)
        elif code < 0:
            _signal(ranks, signal.SIGKILL)
        elif code and 0 in ranks.values():
            # What is wrong for one is wrong for all: the first may be about to write it down.
            _end_within(LAST_WORD_SECONDS, ranks)
    return result if result >= 0 else 1


def _fork(rank: int, num_ranks: int, port: int, train: Callable[[], int]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        _die_with(parent)
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(num_ranks),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        code = train()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int) -> None:
    """End this process when the one that started it is killed."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(70)


def _end_within(seconds: int, ranks: dict[int, int]) -> None:
    signal.signal(signal.SIGALRM, lambda *_: _signal(ranks, signal.SIGKILL))
    signal.alarm(seconds)


def _signal(pids: list[int] | dict[int, int], number: int) -> None:
    for pid in list(pids):
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
