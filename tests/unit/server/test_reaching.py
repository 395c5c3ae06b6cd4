"""A database that cannot be used is told in one message, without its password, at the start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url
from tests.unit.server.conftest import POSTGRES, postgres_database

from tunesmith.server.database import Database
from tunesmith.server.errors import DatabaseRefused, DatabaseUnavailable
from tunesmith.server.migrations.revisions import revision_of
from tunesmith.server.reaching import masked

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        (f"postgresql://u:{SECRET}@127.0.0.1:9/x", 1, "postgresql://u:***@127.0.0.1:9/x"),
        (f"mysql://u:{SECRET}@h/x", 2, "mysql is not supported"),
        (f"postgresql://u:{SECRET}@[::1/x", 2, "it is not a URL"),
        ("sqlite:///{folder}/file.txt", 2, "file is not a database"),
        ("sqlite:///{folder}/file.txt/x.db", 2, "cannot be made"),
    ],
)
def test_serve_says_what_is_wrong_with_its_database(
    tmp_path: Path, url: str, code: int, told: str
) -> None:
    (tmp_path / "file.txt").write_text("no database at all\n" * 100)
    words = ["--data-dir", str(tmp_path / "data"), "--port", "0", "--no-worker"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    environment |= {"TUNESMITH_DATABASE_URL": url.format(folder=tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith.api", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    error, mend = done.stderr.strip().splitlines()[-2:]
    assert error.startswith("Error: The ")
    assert told in error
    assert mend
    assert SECRET not in done.stderr + done.stdout


def test_a_host_that_is_not_there_says_which_setting_names_it() -> None:
    database = Database(f"postgresql://u:{SECRET}@no-such-host.invalid/x", timeout=2)
    with pytest.raises(DatabaseUnavailable) as found:
        revision_of(database)
    database.close()
    assert found.value.code == "database_unreachable"
    assert "no-such-host.invalid" in found.value.message
    assert "TUNESMITH_DATABASE_URL" in found.value.hint
    assert SECRET not in str(found.value)


def test_no_password_is_shown_wherever_it_stands() -> None:
    shown = masked(make_url(f"postgresql+psycopg://u:{SECRET}@h/x?password={SECRET}&sslmode=off"))
    assert SECRET not in shown
    assert shown.startswith("postgresql://u:***@h/x")
    assert "sslmode=off" in shown


@pytest.mark.skipif(not POSTGRES, reason="TUNESMITH_TEST_POSTGRES is not set")
@pytest.mark.parametrize(
    ("change", "code", "mend"),
    [
        ({"database": "no_such_database"}, "database_missing", "createdb"),
        ({"username": "no_such_user"}, "database_login_refused", "createuser"),
    ],
)
def test_a_server_that_refuses_says_why(change: dict[str, str], code: str, mend: str) -> None:
    with postgres_database() as url:
        wrong = make_url(url).set(**change)  # type: ignore[arg-type]
        database = Database(wrong.render_as_string(hide_password=False), timeout=5)
        with pytest.raises(DatabaseRefused) as found:
            revision_of(database)
        database.close()
    assert found.value.code == code
    assert mend in found.value.hint
    assert next(iter(change.values())) in found.value.message
