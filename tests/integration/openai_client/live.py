"""A live installation for the stock openai client, and one way to use both kinds of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai

ADMIN_TOKEN = "tsk-admin-of-the-conformance-tests"
PATIENCE = 150.0
BASE = "starter"
# Some seconds of training, so that a pause meets it: 20 rows, 2 at once, 15 epochs.
LONG = {"n_epochs": 15, "batch_size": 2}
LAST = 150
QUICK = {"rank": 4, "max_length": 64}
GRADER = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_text}}",
    "reference": "{{item.sum}}",
    "evaluation_metric": "fuzzy_match",
}


@dataclass
class Live:
    """A server process with its address, its log, and the tokens of two users."""

    url: str
    data_dir: Path
    log_path: Path
    member_token: str = ""
    project: str = ""
    other_project: str = ""
    made: dict[str, Any] = field(default_factory=dict)  # what several tests look at

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def native(self, token: str = ADMIN_TOKEN) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=60)


@contextmanager
def live_server(folder: Path, *, worker: bool = True, **settings: Any) -> Generator[Live]:
    """`tunesmith serve` in a process of its own, ended as Ctrl-C does."""
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / "serve.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    environment |= {f"TUNESMITH_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {"TUNESMITH_ADMIN_TOKEN": ADMIN_TOKEN, "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONFAULTHANDLER": "1"}
    command = [sys.executable, "-m", "tunesmith", "serve", "--data-dir", str(folder / "data")]
    # A line a request in the log: some tests look for theirs.
    command += ["--port", "0", "--verbose", *([] if worker else ["--no-worker"])]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
    try:
        url = _address(process, log_path)
        live = Live(url, folder / "data", log_path)
        _populate(live)
        yield live
    finally:
        died = process.poll()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert died is None, f"the server ended by itself: {died}"


def _address(process: subprocess.Popen[bytes], log_path: Path) -> str:
    def found() -> str | None:
        assert process.poll() is None, log_path.read_text()
        told = re.search(r"listens on (http://\S+)", log_path.read_text())
        return told[1] if told else None

    return wait_for(found)


def _populate(live: Live) -> None:
    with live.native() as admin:
        live.project = admin.get("/projects").json()["data"][0]["id"]
        live.other_project = admin.post("/projects", json={"name": "other"}).json()["id"]
        body = {"name": "member", "password": "a long enough password"}
        assert admin.post("/users", json=body).status_code == 201
    with httpx.Client(base_url=f"{live.url}/api/v1", headers={"Origin": live.url}) as member:
        told = member.post("/session", json={"name": "member", "password": body["password"]})
        assert told.status_code == 200, told.text
        made = member.post("/tokens", json={"name": "t", "scopes": ["read", "write"]})
        assert made.status_code == 201, made.text
        live.member_token = made.json()["secret"]


def wait_for(look: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first answer of `look` that is something."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)


class Driver:
    """A client, sync or async, that tests use in the same words."""

    def __init__(self, kind: str, live: Live) -> None:
        self.kind, self._live = kind, live
        self._runner = asyncio.Runner() if kind == "async" else None
        self.sent: list[str] = []
        self.told_to_wait = 0.0  # by the last refusal, in seconds
        self._opened: list[Any] = []
        self.c = self.client()

    def client(self, token: str = "", *, url: str = "", max_retries: int = 2) -> Any:
        """A fresh client of the kind; `sent` has every request that any of them sends."""
        url = url or f"{self._live.url}/v1"
        options: dict[str, Any] = {
            "base_url": url,
            "api_key": token or self._live.member_token,
            "max_retries": max_retries,
        }
        if self._runner is None:
            hooks = {"request": [self._note], "response": [self._look]}
            http = openai.DefaultHttpxClient(event_hooks=hooks)
            client: Any = openai.OpenAI(**options, http_client=http)
        else:
            hooks = {"request": [self._anote], "response": [self._alook]}
            http_async = openai.DefaultAsyncHttpxClient(event_hooks=hooks)
            client = openai.AsyncOpenAI(**options, http_client=http_async)
        self._opened.append(client)
        return client

    def __call__(self, value: Any) -> Any:
        """The result of a call: itself, or what comes of awaiting it."""
        if self._runner is None:
            return value

        async def awaited() -> Any:
            return await value

        return self._runner.run(awaited())

    def all(self, pages: Any) -> list[Any]:
        """Everything that an auto-paging iterator gives."""
        if self._runner is None:
            return list(pages)

        async def gathered() -> list[Any]:
            return [item async for item in pages]

        return self._runner.run(gathered())

    def finished(self, job_id: str, *statuses: str) -> Any:
        """The job once it has one of these statuses; another final one is a failure."""
        wanted = statuses or ("succeeded",)

        def look() -> Any:
            job = self(self.c.fine_tuning.jobs.retrieve(job_id))
            if job.status in wanted:
                return job
            assert job.status not in ("failed", "cancelled", "succeeded"), job.error or job.status
            return None

        return wait_for(look)

    def upload(self, content: bytes, purpose: str = "fine-tune", name: str = "train.jsonl") -> Any:
        return self(self.c.files.create(file=(name, content), purpose=purpose))

    def close(self) -> None:
        for client in self._opened:
            self(client.close())
        if self._runner is not None:
            self._runner.close()

    def _note(self, request: Any) -> None:
        self.sent.append(f"{request.method} {request.url.path}")

    async def _anote(self, request: Any) -> None:
        self._note(request)

    def _look(self, response: Any) -> None:
        if "retry-after" in response.headers:
            self.told_to_wait = float(response.headers["retry-after"])

    async def _alook(self, response: Any) -> None:
        self._look(response)


def chats(count: int, start: int = 0) -> bytes:
    """Rows for a training of some seconds."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {n} plus {n}?"},
                {"role": "assistant", "content": f"It is {2 * n}."},
            ]
        }
        for n in range(start, start + count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def preferences(count: int, kind: str) -> bytes:
    """Pairs of answers, in one of the two spellings of their keys."""
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"{kind}: {n} plus {n}?"}]},
            f"preferred_{kind}": [{"role": "assistant", "content": f"It is {2 * n}."}],
            f"non_preferred_{kind}": [{"role": "assistant", "content": "I cannot say."}],
        }
        for n in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def questions(count: int) -> bytes:
    """Questions with what their grader compares answers with."""
    rows = [
        {"messages": [{"role": "user", "content": f"What is {n} plus {n}?"}], "sum": f"{2 * n}"}
        for n in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@contextmanager
def cutting_proxy(live: Live) -> Iterator[tuple[str, list[int]]]:
    """A TCP proxy that throws the first answer away, once the server has given it.

    Yields its address, and the bytes of answers that it cut off.
    """
    host, port = live.url.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    cut: list[int] = []

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(near,), daemon=True).start()

    def handle(near: socket.socket) -> None:
        with near, socket.create_connection((host, int(port))) as far:
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            while answer := _received(far):
                if not cut:
                    cut.append(len(answer))
                    near.shutdown(socket.SHUT_RDWR)
                    return
                near.sendall(answer)

    def pump(near: socket.socket, far: socket.socket) -> None:
        while request := _received(near):
            far.sendall(request)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", cut
    finally:
        listener.close()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:  # the other direction has closed it
        return b""


# ---------------------------------------------------------------- what tests do often


def upload_once(live: Live, content: bytes) -> str:
    with closing(openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.member_token)) as client:
        return client.files.create(file=("rows.jsonl", content), purpose="fine-tune").id


def create(driver: Driver, live: Live, **changes: Any) -> Any:
    body = {"model": BASE, "training_file": live.made["training"], "extra_body": QUICK} | changes
    return driver(driver.c.fine_tuning.jobs.create(**body))


def cancelled(driver: Driver, live: Live, metadata: Any) -> str:
    job = create(driver, live, metadata=metadata)
    cancel(driver, job.id)
    return job.id


def cancel(driver: Driver, job_id: str) -> None:
    """So that nobody waits for it; it may have finished by now."""
    with suppress(openai.BadRequestError):
        driver(driver.c.fine_tuning.jobs.cancel(job_id))
