"""Where the traceback of an unexpected error goes: a file, not the screen."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from datetime import datetime
from pathlib import Path

from tunesmith import __version__


def write_crash_report(error: BaseException) -> Path:
    """Write the traceback with versions below the data directory, else to a temporary folder."""
    text = "\n".join(
        [
            f"tunesmith {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"command: {sys.argv}",
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
    from tunesmith.runs.files import data_directory

    name = f"error-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    try:
        folder = data_directory() / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:  # the data directory may be what is broken
        folder = Path(tempfile.mkdtemp(prefix="tunesmith-"))
        (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    return folder / name
