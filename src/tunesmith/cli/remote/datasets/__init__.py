"""`tunesmith datasets ...`: datasets of a server.

Read `commands.py` first; edits.py has the commands that change a dataset, quality.py those on
quality, diversity, near repetitions and splits.
"""

from tunesmith.cli.remote.datasets import edits, quality  # each registers its commands
from tunesmith.cli.remote.datasets.commands import app

__all__ = ["app", "edits", "quality"]
