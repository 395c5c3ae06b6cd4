"""The key of what is sealed: from the data directory, a file, or a variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.server.datadir import prepare
from tunesmith.server.errors import SettingsRefused
from tunesmith.server.sealing import Seal, SealBroken
from tunesmith.server.settings import Settings

TEXT = "https://hooks.example.com/?key=s3cret 客服"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return prepare(tmp_path / "data").root


def test_what_is_sealed_is_unreadable_and_never_twice_the_same(data: Path) -> None:
    seal = Seal.of(Settings(data_dir=data))
    first, second = seal.close(TEXT), seal.close(TEXT)
    assert first != second
    assert "s3cret" not in first
    assert seal.open(first) == seal.open(second) == TEXT
    assert Seal.of(Settings(data_dir=data)).open(first) == TEXT  # another process
    with pytest.raises(SealBroken):
        seal.open(first[:-4] + "AAAA")


def test_without_the_key_nothing_opens(data: Path, tmp_path: Path) -> None:
    sealed = Seal.of(Settings(data_dir=data)).close(TEXT)
    with pytest.raises(SealBroken):
        Seal.of(Settings(data_dir=prepare(tmp_path / "other").root)).open(sealed)
    with pytest.raises(SealBroken):
        Seal().open(sealed)


def test_several_machines_share_a_key_by_variable_or_file(data: Path, tmp_path: Path) -> None:
    key, older = "k" * 40, "o" * 40
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    elsewhere = prepare(tmp_path / "other").root
    by_variable = Seal.of(Settings(data_dir=data, secret_key=key))
    by_file = Seal.of(Settings(data_dir=elsewhere, secret_key_file=file))
    assert by_file.open(by_variable.close(TEXT)) == TEXT
    assert by_variable.open(by_file.close(TEXT)) == TEXT
    aged = Seal.of(Settings(data_dir=elsewhere, secret_key=older)).close(TEXT)
    turned = Seal.of(Settings(data_dir=data, secret_key=f"{key},{older}"))
    assert turned.open(aged) == TEXT
    assert by_variable.open(turned.close(TEXT)) == TEXT


def test_a_weak_or_missing_key_is_refused_at_the_start_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_SECRET_KEY", "hunter2")
    with pytest.raises(SettingsRefused) as found:
        Settings.load(data_dir=tmp_path)
    assert "openssl rand" in found.value.message
    assert "hunter2" not in str(found.value)
    monkeypatch.delenv("TUNESMITH_SECRET_KEY")
    monkeypatch.setenv("TUNESMITH_SECRET_KEY_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsRefused, match="cannot be read"):
        Settings.load(data_dir=tmp_path)
