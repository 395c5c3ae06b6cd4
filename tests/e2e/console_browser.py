"""A server and a browser for the tests of the console; what a page must never do is seen to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    sync_playwright,
)

TOKEN = "tsk-admin-of-the-tests-of-the-console"
WAIT_MS = 120_000  # a machine with all its cores busy
_CHROMIUM = os.environ.get("TUNESMITH_TEST_CHROMIUM", "/usr/bin/chromium")
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_WATCH = """
window.hostile = 0;
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


class Server:
    """`tunesmith serve` on a port that stays when it is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        log_path = self.folder / "serve.log"
        environment = os.environ | {
            "TUNESMITH_DATA_DIR": str(self.folder / "data"),
            "TUNESMITH_ADMIN_TOKEN": TOKEN,
            "TUNESMITH_WORKER_NAME": "tested",
        }
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tunesmith.api", "--port", str(self.port)],
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + WAIT_MS / 1000
        while not (found := re.search(r"listens on \S+:(\d+)", log_path.read_text("utf-8"))):
            assert self._process.poll() is None, log_path.read_text("utf-8")
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)
        self.port = int(found[1])

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(60)

    def api(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=60)

    def task(self, client: httpx.Client, task_id: str) -> dict[str, Any]:
        """The result of a background task, once it is done."""
        deadline = time.monotonic() + WAIT_MS / 1000
        while time.monotonic() < deadline:
            task = client.get(f"/tasks/{task_id}").json()
            if task["state"] not in ("queued", "running"):
                assert task["state"] == "succeeded", task
                return task["result"]
            time.sleep(0.1)
        raise AssertionError("the task does not end")

    def dataset(self, client: httpx.Client, name: str, rows: bytes) -> str:
        """The id of a dataset that is made of JSON lines."""
        file = client.post("/files", files={"file": (f"{name}.jsonl", rows)}).json()
        answer = client.post("/datasets", json={"name": name, "file_ids": [file["id"]]})
        assert answer.status_code == 202, answer.text
        self.task(client, answer.json()["task"]["id"])
        return answer.json()["dataset"]["id"]


@dataclass
class Watched:
    """A page, and everything that it did wrong."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list[str])

    def said(self, message: ConsoleMessage) -> None:
        """An error in the console; a refused request is told better by its answer."""
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def heard(self, answer: Response) -> None:
        """A refused request; that something is not there yet, or nobody signed in, is none."""
        if answer.status >= 400 and answer.status not in (401, 404):
            self.faults.append(f"{answer.status} {answer.request.method} {answer.url}")

    def open(self, path: str) -> None:
        """Go to an address and wait until the page has its title and no request is left."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector("h1, .ant-result-title", timeout=WAIT_MS)
        self.page.wait_for_selector(".ant-skeleton", state="detached", timeout=WAIT_MS)

    def next(self, page: str) -> None:
        """Go on in the form of a training, to the page of this name.

        Two clicks on one drawn button are one step: the second page is waited for.
        """
        self.page.get_by_role("button", name="Next").click()
        self.page.locator(".ant-steps-item-active", has_text=page).wait_for()

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")


@contextmanager
def browser() -> Generator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=_CHROMIUM, args=[*_OPTIONS])
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def watched(
    chromium: Browser,
    server: Server,
    *,
    language: str = "en",
    look: str = "light",
    width: int = 1440,
    signed_in: bool = True,
) -> Generator[Watched]:
    """A browser of somebody, with nothing stored; errors of its console and policy are faults."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        locale="zh-CN" if language == "zh" else "en-GB",
        color_scheme="dark" if look == "dark" else "light",
        reduced_motion="reduce",  # a click meets what has its place already
    )
    context.set_default_timeout(WAIT_MS)
    context.add_init_script(_WATCH)
    if signed_in:
        _sign_in(context, server)
    page = context.new_page()
    found = Watched(page, server.url)
    page.on("console", found.said)
    page.on("pageerror", lambda error: found.faults.append(str(error)))
    page.on("response", found.heard)
    try:
        yield found
    finally:
        context.close()


def _sign_in(context: BrowserContext, server: Server) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = context.request.post(f"{server.url}/api/v1/session/token", headers=headers)
    assert answer.ok, answer.text()
