"""Requests to a running engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.runs import RunDir, clear_control, read_control, write_control


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", "name: x\n", recipe_name="x")


def test_the_last_request_counts(run: RunDir) -> None:
    assert read_control(run) is None
    first = write_control(run, "pause", by="terminal")
    second = write_control(run, "cancel", by="小王")
    assert read_control(run) == second
    assert first.id != second.id
    assert second.by == "小王"


def test_an_obeyed_request_is_forgotten_but_not_a_newer_one(run: RunDir) -> None:
    first = write_control(run, "pause", by="a")
    second = write_control(run, "stop", by="b")
    clear_control(run, first)
    assert read_control(run) == second
    clear_control(run, second)
    assert read_control(run) is None
    clear_control(run)


def test_an_unknown_intent_cannot_be_asked_for(run: RunDir) -> None:
    with pytest.raises(ValueError, match="pause, stop, cancel"):
        write_control(run, "explode", by="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"id": 1}', '{"id":"1","intent":"x","by":"","time":""}']
)
def test_a_request_that_cannot_be_read_ends_no_run(
    run: RunDir, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    run.control_path.write_text(content)
    assert read_control(run) is None
    assert "ignored" in caplog.text
