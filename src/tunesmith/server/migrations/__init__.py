"""Alembic: from an empty or older database to the tables of this version.

Read `upgrade.py` first: it is what `tunesmith serve` calls. The revisions lie in `versions/`,
inside the package, so that an installed tunesmith can migrate. Each is tested on SQLite and
PostgreSQL.
"""
