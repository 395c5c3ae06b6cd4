"""A whole training on a server, from files here to a model here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.sdk.living import ADMIN_TOKEN, Live, live_server, proxied, wait_for

from tunesmith.sdk import Client

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server(tmp_path_factory.mktemp("live"), worker=True) as running:
        yield running


@pytest.fixture
def environment(live: Live) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    return kept | {"TUNESMITH_URL": live.url, "TUNESMITH_TOKEN": ADMIN_TOKEN}


def recipe(folder: Path, *, epochs: int) -> Path:
    rows = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {n + n}."}
            for n in range(120)]  # fmt: skip
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: dict[str, Any] = {
        "name": "sums",
        "model": {"base": "starter"},
        "adapter": {"kind": "lora"},
        "data": {"train": [{"dataset": "sums.jsonl"}], "max_length": 64},
        "training": {
            "epochs": epochs,
            "batch_size": 16,
            "device": "cpu",
            "learning_rate": 1e-4,
        },
        "report": {"tensorboard": False},
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(told))
    return file


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "tunesmith", *map(str, words)]


def test_a_training_on_a_server_from_file_to_answer(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    options: dict[str, Any] = {"env": environment, "cwd": tmp_path, "text": True}
    done = subprocess.run(
        command("train", recipe(tmp_path, epochs=1), "--remote"),
        **options, check=False, capture_output=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sums.jsonl was sent: sums.jsonl@1" in done.stderr
    assert "Plan:" in done.stdout
    assert "step 7/7 (100%)" in done.stdout
    [line] = [line for line in done.stdout.splitlines() if "models download" in line]
    fetch = [*command(*line.split()[1:]), "--json"]
    got = json.loads(subprocess.run(fetch, **options, check=True, stdout=subprocess.PIPE).stdout)
    assert got["bytes"] > 100_000
    adapter = tmp_path / "result" / "adapter"
    assert (adapter / "adapter_model.safetensors").is_file()
    ask = command("chat", adapter, "--prompt", "What is 2 plus 2?", "--json", "--device", "cpu")
    told = json.loads(subprocess.run(ask, **options, check=True, stdout=subprocess.PIPE).stdout)
    assert told


def test_a_broken_connection_and_ctrl_c_leave_the_job_running(
    tmp_path: Path, live: Live, environment: dict[str, str]
) -> None:
    """The proxy breaks the stream while steps come; then the terminal is left."""
    with proxied(live.url) as proxy, Client(live.url, ADMIN_TOKEN) as client:
        out = tmp_path / "out.txt"
        with out.open("wb") as file:
            process = subprocess.Popen(
                command("train", recipe(tmp_path, epochs=200), "--remote"),
                env=environment | {"TUNESMITH_URL": proxy.url},
                cwd=tmp_path, stdout=file, stderr=file,
            )  # fmt: skip
        wait_for(lambda: b"step 1/" in out.read_bytes())
        proxy.break_now()
        [job] = [one for one in client.jobs.list() if one.status == "running"]
        seen = out.read_bytes().count(b"step ")
        wait_for(lambda: out.read_bytes().count(b"step ") > seen)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert b"tunesmith jobs follow" in out.read_bytes()
        # Before, lines of progress tell that the server works, as often as it takes long.
        told = out.read_text().partition(f"Job {job.id}")[2].splitlines()
        told = [line for line in told if line]
        assert len(told) == len(set(told)), "nothing was told twice"
        before = client.jobs.get(job.id)
        assert before.status == "running"
        wait_for(lambda: client.jobs.get(job.id).step > before.step)
        client.jobs.pause(job.id)
        done = subprocess.run(
            command("jobs", "follow", job.id), env=environment, check=False, capture_output=True
        )
        assert done.returncode == 75, done.stderr
        assert b"tunesmith jobs resume" in done.stdout
        client.jobs.resume(job.id)
        wait_for(lambda: client.jobs.get(job.id).status == "running")
        client.jobs.stop(job.id)
        events = list(client.jobs.follow(job.id))
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        ended = client.jobs.get(job.id)
        assert ended.status == "succeeded", (ended.error, client.jobs.log(job.id).text)
        assert ended.model_id is not None
