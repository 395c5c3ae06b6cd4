"""What is said of work on data while it runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tunesmith.cli import work


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_LINE_SECONDS", 0.0)


@pytest.mark.usefixtures("lines")
def test_slow_work_does_not_look_as_if_it_stood(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 0.0, 0.0, 0.0, 8.0, 8.0])
    monkeypatch.setattr(work, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with work.progress() as advance:
        advance("ask", 0, 20)
        advance("ask", 2, 20)
    assert "2 rows of 20 rows · 0.25 rows/s · 1m 12s left" in capsys.readouterr().err


@pytest.mark.usefixtures("lines")
def test_a_line_is_said_once_while_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    with work.progress() as advance:
        for _ in range(3):
            advance("wait", 0, 0)
        advance("check", 0, 0)
    assert capsys.readouterr().err.splitlines() == ["Waiting for the server", "Checking"]


@pytest.mark.usefixtures("lines")
def test_progress_is_told_in_chinese(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNESMITH_LANG", "zh")
    with work.progress() as advance:
        advance("check", 5, 10)
        advance("check", 10, 10)
    assert "检查: 100% · 10 行 / 10 行" in capsys.readouterr().err
