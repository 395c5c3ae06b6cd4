"""`tunesmith data ...`: bring data in, see what is in it, mend it, take it out.

Read `commands.py` first; edits.py has the commands that change a dataset, quality.py those on
quality and diversity. reading.py holds options that several commands have, told.py and
told_quality.py what they print.
"""

from tunesmith.cli.data import edits, quality  # each registers its commands
from tunesmith.cli.data.commands import app

__all__ = ["app", "edits", "quality"]
