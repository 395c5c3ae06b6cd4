"""`tunesmith data ...`: bring data in, see what is in it, mend it, take it out.

Read `commands.py` first; reading.py holds options that several commands have, told.py what they
print.
"""

from tunesmith.cli.data.commands import app

__all__ = ["app"]
