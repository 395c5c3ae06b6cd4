"""Following an engine to its end. The engine here is a small program of its own: real processes,
real signals, the real event stream.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.cli.display import Display
from tunesmith.cli.follow import PAUSED, Outcome, earlier_outcome, tail_of_log, train_run
from tunesmith.cli.progress import Notice
from tunesmith.runs import RunDir, read_control, write_control, write_manifest
from tunesmith.runs.launch import Engine

_PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from tunesmith.runs import EventWriter, RunDir, next_attempt, read_control
run = RunDir(Path(sys.argv[1]))
events = EventWriter(run, next_attempt(run))
events.emit("started", name="x", attempt=1)
"""


def _ask_to_stop(name: str) -> str:
    """The end of a program that has the one who follows it interrupted once it is ready for it."""
    return f"os.kill(os.getppid(), signal.{name})\ntime.sleep(60)\n"


class _Recorder(Display):
    """Keeps what is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def _write_notice(self, notice: Notice) -> None:
        self.notes.append(notice.text)


class _Script:
    """Starts a program in the place of the engine."""

    def __init__(self, code: str, prelude: str = _PRELUDE) -> None:
        self.code = prelude + code

    def __call__(self, run: RunDir, *, resume: bool) -> Engine:
        assert resume is False
        with run.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", self.code, str(run.path)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "a run 一", "name: x\n", recipe_name="x")


def _train(run: RunDir, code: str, prelude: str = _PRELUDE) -> tuple[Outcome, _Recorder]:
    display = _Recorder()
    outcome = train_run(run, resume=False, display=display, launch=_Script(code, prelude))
    return outcome, display


def test_a_run_that_finishes_ends_with_0(run: RunDir) -> None:
    outcome, _ = _train(
        run,
        "events.emit('step', step=3, total_steps=3, loss=1.0)\n"
        "events.emit('artifact', kind='adapter', path='artifacts/adapter')\n"
        "events.emit('finished', step=3, reason='done')\n",
    )
    assert (outcome.status, outcome.exit_code) == ("finished", 0)
    assert outcome.state.artifacts == (("adapter", "artifacts/adapter"),)


def test_a_run_that_fails_says_its_message_and_hint(run: RunDir) -> None:
    outcome, _ = _train(
        run,
        "events.emit('failed', code='nan', message='Loss became NaN at step 3.', hint='Lower.')\n"
        "sys.exit(1)\n",
    )
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert (outcome.message, outcome.hint) == ("Loss became NaN at step 3.", "Lower.")


def test_wrong_input_that_the_engine_finds_ends_with_2(run: RunDir) -> None:
    outcome, _ = _train(run, "events.emit('failed', message='Line 3.')\nsys.exit(2)\n")
    assert outcome.exit_code == 2


def test_an_engine_that_is_killed_is_reported_with_the_last_checkpoint(run: RunDir) -> None:
    """FAULTS row 1: no `failed` event, a real SIGKILL."""
    checkpoint = run.checkpoints_dir / "step-000100"
    checkpoint.mkdir()
    write_manifest(checkpoint, step=100)
    outcome, _ = _train(
        run,
        "events.emit('step', step=120, total_steps=200, loss=1.0)\n"
        "print('about to die', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    assert (outcome.status, outcome.exit_code) == ("died", 1)
    assert "killed by SIGKILL at step 120; the last checkpoint is at step 100" in outcome.message
    assert "about to die" in outcome.message
    assert str(run.log_path) in outcome.message
    assert "memory" in outcome.hint


def test_an_engine_that_was_killed_after_it_began_is_not_started_again(run: RunDir) -> None:
    """Its log may be empty, but its events say that it was at work."""
    outcome, display = _train(
        run,
        "events.emit('step', step=23, total_steps=200, loss=1.0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    assert (outcome.status, outcome.exit_code) == ("died", 1)
    assert "killed by SIGKILL at step 23; nothing was saved" in outcome.message
    assert "memory ran out" in outcome.hint
    assert display.state.title == ("x",)  # a second attempt would call itself one


def test_an_engine_that_died_on_standby_is_started_once_more(run: RunDir) -> None:
    outcome, _ = _train(run, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", prelude="")
    assert outcome.exit_code == 2  # of the real engine, which has no use for this recipe
    assert "data" in outcome.message


def test_an_engine_that_cannot_start_shows_the_end_of_its_own_log(run: RunDir) -> None:
    run.log_path.write_text("the log of an attempt before\n")
    outcome, _ = _train(run, "import a_module_that_is_not_there", prelude="")
    assert outcome.status == "died"
    assert "No module named 'a_module_that_is_not_there'" in outcome.message
    assert "attempt before" not in outcome.message


def test_the_first_interrupt_pauses_with_a_checkpoint(run: RunDir) -> None:
    """FAULTS row 28."""
    outcome, display = _train(
        run,
        "def pause(*_):\n"
        "    assert read_control(run).intent == 'pause'\n"
        "    events.emit('paused', step=7)\n"
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, pause)\n" + _ask_to_stop("SIGINT"),
    )
    assert (outcome.status, outcome.exit_code) == ("paused", PAUSED)
    assert outcome.state.end["step"] == 7
    assert any("Pausing" in note for note in display.notes)
    control = read_control(run)
    assert control is not None
    assert control.by == "terminal"


def test_an_engine_that_is_still_starting_can_be_paused_too(run: RunDir) -> None:
    outcome, _ = _train(run, _ask_to_stop("SIGTERM"))
    assert (outcome.status, outcome.exit_code) == ("paused", PAUSED)


def test_the_second_interrupt_ends_an_engine_that_does_not_listen(run: RunDir) -> None:
    outcome, display = _train(
        run,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(0.3)\n" + _ask_to_stop("SIGINT"),
    )
    assert outcome.exit_code == 1
    assert "killed by SIGKILL" in outcome.message
    assert "memory" not in outcome.hint
    assert any("Ending at once" in note for note in display.notes)


def test_the_handlers_of_the_caller_come_back(run: RunDir) -> None:
    before = signal.getsignal(signal.SIGINT)
    _train(run, "")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_old_request_does_not_end_the_new_attempt(run: RunDir) -> None:
    write_control(run, "pause", by="yesterday")
    outcome, _ = _train(run, "events.emit('finished' if read_control(run) is None else 'paused')")
    assert outcome.status == "finished"


def test_events_of_attempts_before_are_part_of_the_state_but_not_shown(run: RunDir) -> None:
    _train(
        run, "events.emit('warning', message='old')\nevents.emit('evaluation', step=1, loss=1.0)"
    )
    outcome, display = _train(run, "events.emit('finished', step=1)")
    assert display.notes == []
    assert outcome.state.best == (1, 1.0)


def test_the_tail_of_a_log_is_text_without_control_characters(run: RunDir) -> None:
    run.log_path.write_bytes(b"\x1b[31mred\n\n" + "中文\n".encode() + b"\xff broken\n")
    assert tail_of_log(run) == [" [31mred", "中文", "� broken"]
    run.log_path.unlink()
    assert tail_of_log(run) == []


def test_a_run_that_has_finished_is_not_trained_again(run: RunDir) -> None:
    assert earlier_outcome(run) is None
    _train(run, "events.emit('paused', step=3)\nsys.exit(75)")
    assert earlier_outcome(run) is None
    _train(run, "events.emit('finished', step=9, reason='done', seconds=3)")
    outcome = earlier_outcome(run)
    assert outcome is not None
    assert (outcome.exit_code, outcome.state.end["step"]) == (0, 9)
