"""FAULTS 33 over HTTP: a log that is written in parts is paged, followed and downloaded as one."""

from __future__ import annotations

from pathlib import Path

from tests.unit.api.conftest import Server
from tests.unit.api.training import submit
from tests.unit.runs.test_logs import LINE, noisy, numbers

LINES = 60_000


def log_of(data_dir: Path, job_id: str) -> Path:
    path = data_dir / "runs" / job_id / "logs" / "train.log"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_the_newest_comes_at_once_and_older_parts_on_request(
    server: Server, data_dir: Path
) -> None:
    job = submit(server)["id"]
    assert noisy(log_of(data_dir, job), 0, LINES).wait(60) == 0
    address = f"/api/v1/jobs/{job}/log"
    tail = server.viewer.get(address, params={"num_bytes": 1000}).json()
    assert tail["end"] == tail["size"] == LINES * LINE
    assert tail["text"].startswith(f"{LINES - 15:012d}.")
    assert 0 < tail["first"] < tail["start"]
    oldest = server.viewer.get(address, params={"start": 0, "num_bytes": 500}).json()
    assert oldest["start"] == tail["first"]  # what was before is gone, and the answer says so
    text, start = "", tail["first"]
    while start < tail["size"]:
        page = server.viewer.get(address, params={"start": start, "num_bytes": 1 << 18}).json()
        assert page["start"] == start
        text, start = text + page["text"], page["end"]
    assert numbers(text.encode()) == list(range(tail["first"] // LINE, LINES))
    whole = server.viewer.get(f"{address}/download")
    assert whole.content == text.encode()
    assert whole.headers["content-length"] == str(len(text))
    assert whole.headers["content-disposition"] == f'attachment; filename="{job}.log"'


def test_whoever_follows_misses_nothing_while_parts_are_begun(
    server: Server, data_dir: Path
) -> None:
    job = submit(server)["id"]
    process = noisy(log_of(data_dir, job), 0, LINES, TUNESMITH_LOG_PARTS="40")
    text, start, is_over = "", 0, False
    while not is_over:
        is_over = process.poll() is not None
        while True:
            page = server.viewer.get(
                f"/api/v1/jobs/{job}/log", params={"start": start, "num_bytes": 1 << 20}
            ).json()
            assert page["start"] == start
            text, start = text + page["text"], page["end"]
            if start == page["size"]:
                break
    assert numbers(text.encode()) == list(range(LINES))
