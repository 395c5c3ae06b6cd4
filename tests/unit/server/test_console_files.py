"""The files that the console takes are those that the platform reads."""

from __future__ import annotations

import re
from pathlib import Path

from tunesmith.data.readers import READERS
from tunesmith.data.readers.sources import PACKED
from tunesmith.server.services.datasets.archives import ENDINGS

LIST = Path(__file__).parents[3] / "console" / "src" / "logic" / "files.ts"


def test_the_console_takes_what_can_be_imported_and_nothing_else() -> None:
    taken = re.search(r"TAKEN = \[(.*?)\]", LIST.read_text(encoding="utf-8"), re.DOTALL)
    assert taken is not None
    known = {*READERS, *PACKED, *ENDINGS} - {".tar.gz"}  # which ends in .gz
    assert set(re.findall(r'"(\.\w+)"', taken[1])) == known
