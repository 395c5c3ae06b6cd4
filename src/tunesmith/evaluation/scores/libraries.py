"""Libraries that only some scores need."""

from __future__ import annotations

from importlib.util import find_spec

from tunesmith.errors import InputError


class LibraryMissing(InputError):
    """A score needs a library that is not installed."""

    code = "scores_not_installed"


def is_there(library: str) -> bool:
    """Whether a library can be imported."""
    return find_spec(library) is not None


def need(*libraries: str) -> None:
    """LibraryMissing with the command that installs them."""
    missing = [library for library in libraries if not is_there(library)]
    if missing:
        raise LibraryMissing(
            f"This score needs {' and '.join(missing)}, which this Python has not installed.",
            hint="pip install 'tunesmith[scores]'",
        )
