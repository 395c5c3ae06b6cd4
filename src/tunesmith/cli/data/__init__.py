"""`tunesmith data ...`: bring data in, see what is in it, mend it, take it out.

Read `commands.py` first; quality.py has those on quality and diversity. reading.py holds options
that several commands have, told.py and told_quality.py what they print.
"""

from tunesmith.cli.data import quality as _quality  # registers its commands
from tunesmith.cli.data.commands import app

assert _quality.app is app

__all__ = ["app"]
