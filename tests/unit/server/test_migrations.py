"""The migrated tables are those of the code, on both databases, up, down and up again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from tunesmith.server.database import Database
from tunesmith.server.errors import DatabaseRefused
from tunesmith.server.migrations.revisions import (
    SCRIPTS,
    known_revisions,
    newest_revision,
    refuse_other_revision,
    revision_of,
)
from tunesmith.server.migrations.upgrade import downgrade, migrate, upgrade
from tunesmith.server.tables import Base


def tables_of(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        inspector = inspect(connection)
        metrics = inspector.get_table_names("metrics") if _has_metrics(inspector) else []
        return {*inspector.get_table_names(), *metrics} - {"alembic_version"}


def _has_metrics(inspector: object) -> bool:
    return "metrics" in inspector.get_schema_names()  # type: ignore[attr-defined]


def test_the_migrated_tables_are_those_of_the_code(empty_url: str) -> None:
    migrate(empty_url)
    database = Database(empty_url)
    options = {
        "include_schemas": True,
        "include_name": lambda name, kind, _: kind != "schema" or name in (None, "metrics"),
        "compare_type": True,
        "compare_server_default": True,
    }
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_every_named_constraint_and_index_is_migrated(empty_url: str) -> None:
    """Beyond what Alembic compares: checks, and the condition of partial indexes."""
    migrate(empty_url)
    database = Database(empty_url)
    with database.engine.connect() as connection:
        inspector = inspect(connection)
        for table in Base.metadata.sorted_tables:
            found = inspector.get_check_constraints(table.name, schema=table.schema)
            wanted = {
                str(c.name) for c in table.constraints if type(c).__name__ == "CheckConstraint"
            }
            assert {str(check["name"]) for check in found} == wanted
        indexes = inspector.get_indexes("models")
    partial = next(index for index in indexes if index["name"] == "uq_models_result_of_job")
    assert partial["unique"]
    conditions = [str(value) for value in partial["dialect_options"].values()]
    assert any("checkpoint_id IS NULL" in condition for condition in conditions)
    database.close()


def test_down_and_up_again(empty_url: str) -> None:
    database = Database(empty_url)
    assert revision_of(database) is None
    upgrade(database)
    made = tables_of(database)
    assert made == {table.name for table in Base.metadata.tables.values()}
    downgrade(database, "base")
    assert tables_of(database) == set()
    upgrade(database)
    assert tables_of(database) == made
    upgrade(database)  # nothing to do
    assert revision_of(database) == newest_revision()
    database.close()


def test_a_database_of_a_newer_version_is_refused_and_not_touched(empty_url: str) -> None:
    database = Database(empty_url)
    upgrade(database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseRefused, match="9999") as found:
        migrate(empty_url)
    assert found.value.code == "unknown_revision"
    assert found.value.exit_code == 2
    with pytest.raises(DatabaseRefused, match=newest_revision()):
        refuse_other_revision(database)
    assert revision_of(database) == "9999"
    database.close()


def test_a_migration_killed_half_way_leaves_the_old_database(empty_url: str) -> None:
    code = (
        "import os, sys\n"
        "from sqlalchemy import event\n"
        "from tunesmith.server.database import Database\n"
        "from tunesmith.server.migrations.upgrade import upgrade\n"
        "database = Database(sys.argv[1])\n"
        "@event.listens_for(database.engine, 'before_cursor_execute')\n"
        "def die(connection, cursor, statement, *rest):\n"
        "    if 'CREATE TABLE models' in statement: os._exit(9)\n"
        "upgrade(database)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, empty_url], check=False)
    assert done.returncode == 9
    database = Database(empty_url)
    assert tables_of(database) == set()
    upgrade(database)
    assert revision_of(database) == newest_revision()
    database.close()


def test_servers_that_start_together_migrate_once(empty_url: str) -> None:
    code = (
        "import sys; from tunesmith.server.migrations.upgrade import migrate; migrate(sys.argv[1])"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, empty_url], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told
    database = Database(empty_url)
    assert revision_of(database) == newest_revision()
    database.close()


def test_the_names_of_the_files_tell_the_revisions_that_alembic_knows() -> None:
    script = ScriptDirectory(str(SCRIPTS))
    assert known_revisions() == sorted(each.revision for each in script.walk_revisions())
    assert newest_revision() == script.get_current_head()


def test_the_revisions_are_part_of_the_package() -> None:
    from tunesmith.server.migrations import upgrade as module

    folder = Path(module.__file__).parent
    assert (folder / "env.py").is_file()
    assert os.listdir(folder / "versions")
