"""What Alembic runs for each command; the connection comes from upgrade.py, in a transaction."""

from __future__ import annotations

from typing import Any

from alembic import context

from tunesmith.server.tables import Base


def include_name(name: str | None, kind: str, _: Any) -> bool:
    """Our schemas only: the default one, and that of the metric points."""
    return kind != "schema" or name in (None, "metrics")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_schemas=True,
    include_name=include_name,
    transactional_ddl=True,  # SQLite too: our connections begin their transactions themselves
)
with context.begin_transaction():
    context.run_migrations()
