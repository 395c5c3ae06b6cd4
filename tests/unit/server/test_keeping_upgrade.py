"""An upgrade copies the database first, and one that is killed leaves the old tables."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.unit.server.conftest import START, postgres_database

from tunesmith.server.database import Database
from tunesmith.server.errors import DatabaseRefused
from tunesmith.server.keeping.backup import verify
from tunesmith.server.keeping.restore import restore
from tunesmith.server.keeping.upgrading import migrate_with_backup
from tunesmith.server.migrations.revisions import SCRIPTS, newest_revision, revision_of
from tunesmith.server.settings import Settings
from tunesmith.server.tables import User

NEXT = '''
"""A revision of a later version: changes rows, then tables."""

import os
import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET name = 'changed'")
    op.add_column("users", sa.Column("colour", sa.Text(), nullable=True))
    if os.environ.get("DIE_IN_UPGRADE"):
        os._exit(9)
    op.create_table("colours", sa.Column("id", sa.Text(), primary_key=True))


def downgrade() -> None:
    raise NotImplementedError
'''
MIGRATE = """
import sys
from pathlib import Path
from tunesmith.server.database import Database
from tunesmith.server.keeping.upgrading import migrate_with_backup
migrate_with_backup(Database(sys.argv[1]), Path(sys.argv[2]), scripts=Path(sys.argv[3]))
"""


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The revisions of a version after this one."""
    scripts = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9000_later.py").write_text(NEXT.format(before=newest_revision()))
    return scripts


@pytest.fixture
def database(url: str) -> Database:
    database = Database(url)
    with database.write() as session:
        session.add(User(id="user-a", name="客人", created_at=START))
    database.close()
    return database


def names(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(text("SELECT name FROM users")))


def test_an_upgrade_copies_what_there_was_and_it_comes_back(
    database: Database, later: Path, tmp_path: Path
) -> None:
    made = migrate_with_backup(database, tmp_path / "backups", scripts=later)
    assert made is not None
    assert names(database) == ["changed"]
    assert revision_of(database) == "9000"
    manifest = verify(made)
    assert manifest.revision == newest_revision()
    assert not manifest.data
    (tmp_path / "data" / "files").mkdir(parents=True)
    (tmp_path / "data" / "files" / "file-a").write_text("stays")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TUNESMITH_DATABASE_URL", raising=False)
        settings = Settings(data_dir=tmp_path / "data")
    if database.is_sqlite:
        _comes_back(made, settings)
    else:
        with postgres_database() as url:
            _comes_back(made, Settings(data_dir=tmp_path / "data", database_url=url))
    database.close()


def _comes_back(made: Path, settings: Settings) -> None:
    restore(made, settings, database_only=True)
    again = Database(settings.database)
    assert names(again) == ["客人"]
    assert (settings.data_dir / "files" / "file-a").read_text() == "stays"
    again.close()


def test_nothing_is_copied_where_nothing_changes(empty_url: str, tmp_path: Path) -> None:
    database = Database(empty_url)
    assert migrate_with_backup(database, tmp_path / "backups") is None  # new
    assert migrate_with_backup(database, tmp_path / "backups") is None  # newest
    assert not (tmp_path / "backups").exists()
    database.close()


def test_without_a_copy_only_when_told_so(database: Database, later: Path, tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("a file: no copy can be made here")
    with pytest.raises(OSError, match="backups"):
        migrate_with_backup(database, tmp_path / "backups", scripts=later)
    assert revision_of(database) == newest_revision()
    assert names(database) == ["客人"]
    migrate_with_backup(database, tmp_path / "backups", backup=False, scripts=later)
    assert names(database) == ["changed"]
    database.close()


def test_an_upgrade_killed_half_way_leaves_the_old_tables_and_the_copy(
    database: Database, later: Path, tmp_path: Path
) -> None:
    """FAULTS 16."""
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", MIGRATE, url, str(tmp_path / "backups"), str(later)]
    assert subprocess.run(command, env={"DIE_IN_UPGRADE": "1"}, check=False).returncode == 9
    assert revision_of(database) == newest_revision()
    assert names(database) == ["客人"]
    (copy,) = (tmp_path / "backups").iterdir()
    assert verify(copy).revision == newest_revision()
    database.close()
    assert subprocess.run(command, check=False).returncode == 0
    assert revision_of(database) == "9000"
    assert names(database) == ["changed"]
    database.close()


def test_a_database_of_a_later_version_is_refused_before_anything_is_copied(
    database: Database, later: Path, tmp_path: Path
) -> None:
    migrate_with_backup(database, tmp_path / "backups", backup=False, scripts=later)
    with pytest.raises(DatabaseRefused, match="does not know") as found:
        migrate_with_backup(database, tmp_path / "backups")
    assert found.value.exit_code == 2
    assert not (tmp_path / "backups").exists()
    assert names(database) == ["changed"]
    database.close()
