"""A served model as a process: its address, its guide, clients that leave, signals that come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

ROOT = Path(__file__).parents[2]
GUIDES = ("docs/serving.md", "docs/serving.zh.md")
SECONDS = 120.0
MESSAGES: Any = [{"role": "user", "content": "I cannot log in to my account"}]


@dataclass
class Address:
    """A server that is ready, and its process."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def metric(self, name: str) -> float:
        found = re.search(
            rf"^tunesmith_serving_{name} (\S+)$",
            httpx.get(f"{self.url}/metrics").text,
            re.MULTILINE,
        )
        assert found
        return float(found[1])

    def body(self, **more: Any) -> dict[str, Any]:
        return {"model": "starter", "messages": MESSAGES, "temperature": 0, **more}


def wait_until(holds: Callable[[], bool], seconds: float = SECONDS) -> float:
    """Seconds until something holds."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds
        time.sleep(0.01)
    return time.monotonic() - started


def command(base: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "tunesmith", "serve-model", base, *words]


@contextmanager
def served(folder: Path, base: str, *words: str) -> Generator[Address]:
    ready, log = folder / "ready.json", folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(base, "--port", "0", "--ready-file", str(ready), *words),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"},
        )
    try:
        wait_until(lambda: ready.is_file() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield Address(json.loads(ready.read_text())["url"], process, log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[Address]:
    folder = tmp_path_factory.mktemp("served")
    with served(folder, "starter", "--max-concurrent", "4", "--queue", "20") as made:
        yield made


@pytest.mark.parametrize("guide", GUIDES)
def test_the_example_of_the_guide_runs(
    address: Address, guide: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / guide).read_text("utf-8"), re.DOTALL)
    assert "http://127.0.0.1:8500/v1" in example
    here: dict[str, Any] = {}
    exec(example.replace("http://127.0.0.1:8500", address.url), here)
    here["client"].close()
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith(" tokens")
    assert said[0] == said[1]  # whole and as a stream
    assert len(said[0]) > 10


def test_the_stock_client_reads_errors_and_models(address: Address) -> None:
    with openai.OpenAI(base_url=f"{address.url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["starter"]
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="nobody", messages=MESSAGES)
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as refused:
            client.completions.create(model="starter", prompt="word " * 3000)
        assert refused.value.code == "context_length_exceeded"


def test_chats_at_once_say_what_they_say_alone(address: Address) -> None:
    questions = [f"Where is parcel {number}?" for number in range(6)]

    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=f"{address.url}/v1", api_key="none") as client:

            async def one(question: str) -> str | None:
                told = await client.chat.completions.create(
                    model="starter",
                    messages=[{"role": "user", "content": question}],
                    temperature=0,
                    max_tokens=30,
                )
                return told.choices[0].message.content

            together = await asyncio.gather(*map(one, questions))
            return [*together, *[await one(question) for question in questions]]

    told = asyncio.run(ask())
    assert told[:6] == told[6:]
    assert all(told)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slots_within_a_second(
    address: Address, stream: bool
) -> None:
    body = address.body(n=4, temperature=1, ignore_eos=True, stream=stream)
    before = address.metric("cancelled_total")
    host, port = address.url.removeprefix("http://").split(":")
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode() + content)
        wait_until(lambda: address.metric("running") == 4)
    gone = wait_until(lambda: address.metric("running") == 0, 10)
    assert address.metric("cancelled_total") == before + 4
    assert gone < 1.0


def test_a_thousand_requests_at_once_are_answered_or_told_to_come_again(address: Address) -> None:
    async def ask() -> Counter[int]:
        limits = httpx.Limits(max_connections=1000)
        async with httpx.AsyncClient(timeout=SECONDS, limits=limits) as client:

            async def one() -> httpx.Response:
                return await client.post(
                    f"{address.url}/v1/chat/completions", json=address.body(max_tokens=2)
                )

            answers = await asyncio.gather(*[one() for _ in range(1000)])
            assert all("retry-after" in a.headers for a in answers if a.status_code == 429)
            return Counter(answer.status_code for answer in answers)

    counts = asyncio.run(ask())
    assert set(counts) <= {200, 429}
    assert counts[200] >= 24
    assert httpx.get(f"{address.url}/health").json()["running"] == 0


def test_whoever_comes_again_as_told_is_answered_so_nobody_starves(address: Address) -> None:
    async def ask() -> list[int]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(timeout=SECONDS, limits=limits) as client:

            async def one() -> int:
                tries = 1
                url, body = f"{address.url}/v1/chat/completions", address.body(max_tokens=1)
                while (answer := await client.post(url, json=body)).status_code == 429:
                    await asyncio.sleep(float(answer.headers["retry-after"]))
                    tries += 1
                assert answer.status_code == 200
                return tries

            return await asyncio.gather(*[one() for _ in range(100)])

    tries = asyncio.run(ask())
    assert len(tries) == 100
    assert max(tries) > 1  # the queue was full in between


def test_sigterm_lets_answers_end_and_takes_no_more(tmp_path: Path) -> None:
    with served(tmp_path, "starter", "--name", "mine") as address:
        told: list[httpx.Response] = []
        body = address.body(model="mine", max_tokens=300, ignore_eos=True)
        url = f"{address.url}/v1/chat/completions"
        asking = threading.Thread(
            target=lambda: told.append(httpx.post(url, json=body, timeout=SECONDS))
        )
        asking.start()
        wait_until(lambda: address.metric("running") == 1)
        address.process.send_signal(signal.SIGTERM)
        asking.join()
        assert told[0].json()["usage"]["completion_tokens"] == 300
        assert address.process.wait(SECONDS) == 0
        assert "Traceback" not in address.log.read_text()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address.url}/health")


def test_a_model_that_cannot_be_loaded_is_told_in_the_ready_file(tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    (broken / "pytorch_model.bin").write_bytes(b"pickle")
    ready = tmp_path / "ready.json"
    done = subprocess.run(
        command(str(broken), "--port", "0", "--ready-file", str(ready)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    told = json.loads(ready.read_text())
    assert told["status"] == "failed"
    assert told["error"]["code"] == "model_is_pickle"
    assert "is a pickle" in done.stderr


def test_a_process_ends_with_the_one_that_started_it() -> None:
    starts = (
        "import os, subprocess, sys\n"
        "words = [sys.executable, '-m', 'tunesmith.serving', 'starter', '--port', '0']\n"
        "child = subprocess.Popen([*words, '--parent', str(os.getpid())], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starts], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    try:
        child.wait(30)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
