"""A limit of time for code that others wrote, such as the loops of a chat template.

Such code is Python in the end, so an exception that is raised in its thread from outside ends it at
the next instruction. The thread is its own, so that a late one hits nothing else.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
_AGAIN_SECONDS = 0.05
_LAST_SECONDS = 5.0  # for one long instruction, such as a product of texts


class TooSlow(Exception):
    """The time is over; what ran was ended."""


class _Ended(BaseException):
    """Raised in the thread; no `except Exception` of a template engine has it."""


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises; TooSlow when it takes longer."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="template", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _end(thread)
        raise TooSlow
    if errors:
        raise errors[0]
    return results[0]


def _end(thread: threading.Thread) -> None:
    tries = round(_LAST_SECONDS / _AGAIN_SECONDS)
    for _ in range(tries):
        if not thread.is_alive():
            return
        number = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(_Ended))
        thread.join(_AGAIN_SECONDS)
