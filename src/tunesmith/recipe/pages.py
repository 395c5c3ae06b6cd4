"""Pages of the documents that are made from the recipe: written, or only looked at. Read `keep`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def keep(texts: Mapping[str, str], command: str, arguments: Sequence[str] | None = None) -> int:
    """Write the pages; with --check only say whether they are up to date."""
    parser = argparse.ArgumentParser(description=keep.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of the pages")
    options = parser.parse_args(arguments)
    stale = [name for name, text in texts.items() if not _is_current(options.docs / name, text)]
    for name in stale:
        path: Path = options.docs / name
        if options.check:
            sys.stderr.write(f"{path} is stale; run {command}\n")
        else:
            path.write_text(texts[name], encoding="utf-8")
            sys.stderr.write(f"wrote {path}\n")
    return 1 if stale and options.check else 0


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
