"""Settings: variables, the file, what is refused, and that all of them are documented."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr

from tunesmith.errors import TunesmithError
from tunesmith.server.errors import SettingsRefused
from tunesmith.server.settings import Settings

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("TUNESMITH_DATABASE_URL", raising=False)
    return tmp_path


def refused() -> SettingsRefused:
    with pytest.raises(SettingsRefused) as found:
        Settings.load()
    return found.value


def test_without_anything_set_one_machine_works(data_dir: Path) -> None:
    settings = Settings.load()
    assert settings.data_dir == data_dir
    assert settings.database == f"sqlite:///{data_dir}/tunesmith.db"
    assert settings.backup_before_upgrade


def test_options_win_over_variables_and_variables_over_the_file(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data_dir / "settings.yaml").write_text(
        "database_timeout: 3\nport: 8501\nrate_limit: 7\nallowed_hosts: [a.example, b.example]\n"
    )
    monkeypatch.setenv("TUNESMITH_PORT", "8502")
    monkeypatch.setenv("TUNESMITH_RATE_LIMIT", "8")
    settings = Settings.load(port=8503, host=None)
    assert (settings.database_timeout, settings.port, settings.rate_limit) == (3.0, 8503, 8)
    assert settings.allowed_hosts == ["a.example", "b.example"]
    monkeypatch.setenv("TUNESMITH_ALLOWED_HOSTS", "c.example, d.example")
    assert Settings.load().allowed_hosts == ["c.example", "d.example"]
    assert Settings.load().port == 8502


def test_another_file_is_named_by_a_variable(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = data_dir / "elsewhere.yaml"
    monkeypatch.setenv("TUNESMITH_SETTINGS", str(file))
    assert "elsewhere.yaml, which is not there" in refused().message
    file.write_text("port: 8504\n")
    assert Settings.load().port == 8504


def test_a_data_directory_is_a_path_or_a_file_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNESMITH_DATA_DIR", raising=False)
    assert Settings.load(data_dir=f"file://{tmp_path}/d").data_dir == tmp_path / "d"
    with pytest.raises(TunesmithError, match="is an address, not a folder"):
        Settings.load(data_dir="s3://bucket/data")


def test_everything_that_is_wrong_is_told_at_once(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data_dir / "settings.yaml").write_text("database_timout: 3\nport: many\nqwertz: 1\n")
    monkeypatch.setenv("TUNESMITH_QUOTA_RUNNING_JOBS", "-1")
    monkeypatch.setenv("TUNESMITH_RATE_LIMTI", "5")
    monkeypatch.setenv("TUNESMITH_SERVICE_HOST", "10.0.0.1")  # Kubernetes sets such
    error = refused()
    assert error.exit_code == 2
    told = "\n".join(error.details["problems"])
    assert "Did you mean database_timeout?" in told
    assert "qwertz" in told
    assert "port" in told
    assert "'many'" in told
    assert "TUNESMITH_QUOTA_RUNNING_JOBS (variable) = '-1'" in told
    assert "TUNESMITH_RATE_LIMTI (variable) is no setting. Did you mean TUNESMITH_RATE_LIMIT?" in (
        told
    )
    assert len(error.details["problems"]) == 5


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "many", "'many': must be a whole number."),
        ("PORT", "70000", "'70000': must be at most 65535."),
        ("DEPLOYMENT_GATE", "on", "'on': must be one of promote, reject, off."),
        ("PYTHON_GRADERS", "perhaps", "'perhaps': must be true or false."),
        ("ALLOWED_NETWORKS", "10.0.0.1/8", "it needs networks such as 10.0.0.0/8"),
    ],
)
def test_a_wrong_value_is_told_in_a_sentence_of_ours(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(f"TUNESMITH_{name}", value)
    (problem,) = refused().details["problems"]
    assert told in problem
    assert "nput should" not in problem


@pytest.mark.parametrize("value", ["x", "[", '{"name": "a"}', '[{"nam": "a"}]'])
def test_a_malformed_list_of_flavours_is_told_with_the_form_and_all_else(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TUNESMITH_FLAVOURS", value)
    monkeypatch.setenv("TUNESMITH_PORT", "many")
    error = refused()
    assert error.exit_code == 2
    assert "TUNESMITH_PORT (variable) = 'many'" in error.message
    assert "TUNESMITH_FLAVOURS (variable)" in error.message
    form = re.search(r"The form is: (.*)\.$", error.message, re.M)
    assert form is not None
    monkeypatch.setenv("TUNESMITH_FLAVOURS", form[1])
    monkeypatch.delenv("TUNESMITH_PORT")
    assert Settings.load().flavours[0].devices == 2


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_no_variable_of_any_content_ends_in_anything_but_a_refusal(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"TUNESMITH_{name.upper()}", '{"a')
    with suppress(SettingsRefused):
        Settings.load()


@pytest.mark.parametrize("token", ["hunter2", "h" * 23, "h" * 23 + " ", "h" * 30 + "\u00e9"])
def test_an_admin_token_that_can_be_guessed_or_not_be_sent_is_refused(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("TUNESMITH_ADMIN_TOKEN", token)
    error = refused()
    assert error.exit_code == 2
    assert "TUNESMITH_ADMIN_TOKEN (variable): it needs at least 24 characters" in error.message
    assert token not in f"{error} {error.to_dict()}"
    monkeypatch.setenv("TUNESMITH_ADMIN_TOKEN", "h" * 24)
    assert Settings.load().admin_token == SecretStr("h" * 24)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port: [1\n", "no valid YAML"),
        ("- port\n", "no `name: value` lines"),
        ("port: 1\nport: 2\n", "is written twice"),
        ("data_dir: /elsewhere\n", "cannot move the directory"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused(data_dir: Path, text: str, told: str) -> None:
    (data_dir / "settings.yaml").write_text(text)
    assert told in refused().message


def test_bytes_that_are_no_text_are_refused(data_dir: Path) -> None:
    (data_dir / "settings.yaml").write_bytes(b"\xff\xfe\x00port")
    assert "UTF-8" in refused().message


def test_secrets_are_shown_nowhere(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", "postgresql://u:hunter2@db/tunesmith")
    settings = Settings.load()
    assert settings.database == "postgresql://u:hunter2@db/tunesmith"
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    (data_dir / "settings.yaml").write_text("admin_token: [hunter3]\n")
    told = refused()
    assert "hunter3" not in f"{told} {told.to_dict()}"


def test_what_holds_a_secret_is_typed_as_one() -> None:
    for name, field in Settings.model_fields.items():
        if re.search(r"token|secret|password|database_url", name) and not name.endswith("_file"):
            assert SecretStr.__name__ in str(field.annotation), name


@pytest.mark.parametrize("guide", ["operating.md", "operating.zh.md"])
def test_every_setting_is_documented_with_its_default(guide: str) -> None:
    rows = re.findall(r"^\| `(TUNESMITH_\w+)` \| (.*?) \|", (DOCS / guide).read_text("utf-8"), re.M)
    documented = dict(rows)
    for name, field in Settings.model_fields.items():
        variable = f"TUNESMITH_{name.upper()}"
        assert variable in documented, f"{guide} says nothing of {variable}"
        default = field.get_default(call_default_factory=True)
        if isinstance(default, bool | int | float | str) and default != "":
            plain = default.is_integer() if isinstance(default, float) else False
            shown = str(int(default)) if plain else str(default).lower()
            assert f"`{shown}`" in documented[variable], f"{guide}: the default of {variable}"
    known = {f"TUNESMITH_{name.upper()}" for name in Settings.model_fields}
    assert set(documented) <= known | {"TUNESMITH_SETTINGS", "TUNESMITH_DEBUG"}
