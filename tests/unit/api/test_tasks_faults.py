"""Background tasks in their real processes: stuck, killed, cancelled where nothing listens."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.datasets import edit, imported
from tests.unit.api.openai.making import create, get

from tunesmith.server.task_runner import TaskRunner

# Each `a` more doubles the time that this pattern takes, within one call that nothing interrupts.
EVIL = 'matches(question, "(a+)+$")'
ROW = {"prompt": "a" * 60 + "!", "completion": "yes"}


@contextmanager
def running(server: Server, **seconds: float) -> Generator[TaskRunner]:
    """The runner beside the server of a test, which wakes it."""
    runner = TaskRunner(server.platform, at_once=1, **seconds)
    server.platform.tasks.on_submit = runner.wake
    runner.start()
    try:
        yield runner
    finally:
        for pid in runner.processes().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        runner.stop()


def until(reached: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def task_of(server: Server, task_id: str) -> dict[str, Any]:
    return server.viewer.get(f"/api/v1/tasks/{task_id}").json()


def process_of(runner: TaskRunner, task_id: str, *besides: int) -> int:
    """The process that works on a task, once there is one other than `besides`."""

    def found() -> int | None:
        pids = (pid for claimed, pid in runner.processes().items() if claimed.task_id == task_id)
        return next((pid for pid in pids if pid not in besides), None)

    return until(found)


def stuck(server: Server) -> dict[str, Any]:
    """An edit whose condition will not be decided while this universe lasts."""
    dataset = imported(server, content=json.dumps(ROW).encode() + b"\n")
    answer = edit(server, dataset, operation="keep", where=EVIL)
    assert answer.status_code == 202, answer.text
    return answer.json()["task"]


def is_busy(pid: int) -> bool:
    """Whether it has computed for half a second: it is in the middle of the pattern then."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > 1.5


def leftovers(data_dir: Path) -> list[Path]:
    return [*data_dir.glob("datasets/*/draft-*"), *data_dir.glob("cache/tasks/*")]


@pytest.mark.slow
def test_a_cancelled_task_that_hears_nothing_is_ended_by_force_and_leaves_nothing(
    server: Server, data_dir: Path
) -> None:
    task = stuck(server)
    with running(server, grace_seconds=0.5) as runner:
        pid = process_of(runner, task["id"])
        until(lambda: is_busy(pid))
        assert leftovers(data_dir)
        assert server.member.post(f"/api/v1/tasks/{task['id']}/cancel").status_code == 200
        asked = time.monotonic()
        until(lambda: task_of(server, task["id"])["state"] == "cancelled", 60)
        assert time.monotonic() - asked < 60
        assert not Path(f"/proc/{pid}").exists()
        assert leftovers(data_dir) == []
    error = task_of(server, task["id"])["error"]
    assert error["code"] == "task_ended_by_force"
    assert "did not end by itself after the cancel" in error["message"]


@pytest.mark.slow
def test_a_task_that_is_stuck_loses_its_lease_and_its_process_each_time(
    server: Server, data_dir: Path
) -> None:
    """The kernel ends it: no thread of that process runs, so nothing in it can."""
    task = stuck(server)
    with running(server, stuck_seconds=1.5):
        until(lambda: task_of(server, task["id"])["state"] == "failed", 60)
        assert leftovers(data_dir) == []
    told = task_of(server, task["id"])["error"]
    assert told["code"] == "task_stuck"
    assert "was stuck in one step" in told["message"]
    assert "tried 3 times" in told["message"]
    assert "regular expression" in told["hint"]


def test_a_check_of_files_whose_process_is_killed_is_done_again_at_once(server: Server) -> None:
    job = create(server)
    (task,) = server.member.get("/api/v1/tasks", params={"target": job["id"]}).json()["data"]
    with running(server) as runner:
        os.kill(process_of(runner, task["id"]), signal.SIGKILL)
        until(lambda: get(server, f"/fine_tuning/jobs/{job['id']}")["status"] == "queued", 30)


def test_a_check_of_files_that_dies_three_times_fails_its_job_in_words(server: Server) -> None:
    job = create(server)
    (task,) = server.member.get("/api/v1/tasks", params={"target": job["id"]}).json()["data"]
    killed: list[int] = []
    with running(server) as runner:
        for _ in range(3):
            killed.append(process_of(runner, task["id"], *killed))
            os.kill(killed[-1], signal.SIGKILL)
        failed = until(
            lambda: (
                (found := get(server, f"/fine_tuning/jobs/{job['id']}"))["status"] == "failed"
                and found
            ),
            30,
        )
    assert failed["error"]["code"] == "server_error"
    assert "ended 3 times" in failed["error"]["message"]
    assert "submit the job again" in failed["error"]["message"]
    told = task_of(server, task["id"])["error"]
    assert told["code"] == "task_died"
    assert "was killed (SIGKILL)" in told["message"]
    chinese = {"Accept-Language": "zh"}
    read = server.viewer.get(f"/api/v1/tasks/{task['id']}", headers=chinese).json()["error"]
    assert read["message"].startswith("该后台任务的进程意外结束（SIGKILL，共尝试 3 次）")
    shown = server.viewer.get(f"/api/v1/jobs/{job['id']}", headers=chinese).json()["error"]
    assert shown["message"].startswith("无法检查该任务的文件：检查进程 3 次意外结束。")


def test_the_check_of_a_cancelled_job_does_not_live_on(server: Server) -> None:
    job = create(server)
    (task,) = server.member.get("/api/v1/tasks", params={"target": job["id"]}).json()["data"]
    with running(server, grace_seconds=0.5) as runner:
        pid = process_of(runner, task["id"])
        os.kill(pid, signal.SIGSTOP)
        until(lambda: task_of(server, task["id"])["state"] == "running")
        server.member.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        until(lambda: not Path(f"/proc/{pid}").exists(), 20)
        until(lambda: task_of(server, task["id"])["state"] == "cancelled", 20)
    assert get(server, f"/fine_tuning/jobs/{job['id']}")["status"] == "cancelled"


def test_a_server_that_ends_takes_no_try_of_its_tasks(server: Server) -> None:
    job = create(server)
    (task,) = server.member.get("/api/v1/tasks", params={"target": job["id"]}).json()["data"]
    for _ in range(4):
        with running(server) as runner:
            os.kill(process_of(runner, task["id"]), signal.SIGSTOP)
    with running(server):
        until(lambda: get(server, f"/fine_tuning/jobs/{job['id']}")["status"] == "queued", 30)
