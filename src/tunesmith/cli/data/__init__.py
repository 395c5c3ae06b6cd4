"""`tunesmith data ...`: bring data in, see what is in it, mend it, take it out.

commands.py holds the commands; the other files hold what they print.
"""

from tunesmith.cli.data.commands import app

__all__ = ["app"]
