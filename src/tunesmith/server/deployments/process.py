"""One serving process: started on a folder, found again after a restart, asked how it is.

    servings/SRV_ID/process.json     its number and start time: what a worker adopts it by
    servings/SRV_ID/key              the key that its address asks for, readable by us alone
    servings/SRV_ID/serving.log      all its output

It lives in a session of its own, so it outlives its worker, which finds it again.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tunesmith.runs.files import storage_errors, write_atomically
from tunesmith.runs.launch import engine_environment
from tunesmith.server.backends.local import Process
from tunesmith.server.deployments.states import BASE_NAME

log = logging.getLogger(__name__)
_TOLD_BYTES: Final = 4000
_LOOK_SECONDS: Final = 5.0
_MOST_SILENCES: Final = 12  # looks, each of which waits for 10 s: three minutes in all
_ASKING: Final = httpx.Timeout(10.0)
_LOADING: Final = httpx.Timeout(120.0)


@dataclass
class ServingProcess:
    """A process and its address."""

    id: str
    folder: Path
    address: str
    secret: str
    process: Process
    child: subprocess.Popen[bytes] | None = None  # None once it was adopted
    has_answered: bool = False  # with its base in memory
    loads_since: float | None = None  # lease time at which it was first heard to be loading
    silences: int = 0  # looks in a row to which there was no answer
    looked: float = 0.0
    loaded: set[str] | None = None  # the adapters that it has, once it was asked

    @classmethod
    def start(
        cls,
        folder: Path,
        base: str,
        *,
        host: str,
        environment: Mapping[str, str],
        devices: str = "",
    ) -> ServingProcess:
        """Start one for a base: a folder, `starter`, or an id of a hub. Its id names its folder."""
        folder = folder.absolute()
        with storage_errors(folder):
            folder.mkdir(parents=True)
            secret, port = secrets.token_urlsafe(32), _free_port(host)
            key = folder / "key"
            key.touch(mode=0o600)
            key.write_text(secret, encoding="ascii")
            output = (folder / "serving.log").open("ab")
        command = [
            *(sys.executable, "-m", "tunesmith.serving", base),
            *("--host", host, "--port", str(port), "--name", BASE_NAME, "--key-file", str(key)),
        ]
        visible = {"CUDA_VISIBLE_DEVICES": devices} if devices else {}
        with output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=engine_environment(environment) | visible,
                # A name such as runs/first, which users may send, is no folder from there.
                cwd=folder,
                start_new_session=True,
            )
        shown = f"[{host}]" if ":" in host else host
        made = cls(
            folder.name, folder, f"http://{shown}:{port}", secret, Process.of(child.pid), child
        )
        made.note()
        return made

    @classmethod
    def find(cls, folder: Path) -> ServingProcess | None:
        """The process of a folder, if it still lives."""
        try:
            noted = json.loads((folder / "process.json").read_bytes())
            process = Process(int(noted["pid"]), float(noted["started"]))
            address, secret = str(noted["address"]), (folder / "key").read_text(encoding="ascii")
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it was killed while it was being started
        if not process.is_alive():
            return None
        return cls(folder.name, folder, address, secret, process)

    def note(self) -> None:
        noted = {
            "pid": self.process.pid,
            "started": self.process.started,
            "address": self.address,
        }
        write_atomically(self.folder / "process.json", json.dumps(noted).encode())

    def is_alive(self) -> bool:
        if self.child is not None:
            self.child.poll()
        return self.process.is_alive()

    def is_ready(self) -> bool:
        """Whether it has answered with its base in memory; it is looked at again now and then."""
        if self.has_answered and time.monotonic() - self.looked < _LOOK_SECONDS:
            return True
        try:
            answer = httpx.get(f"{self.address}/health", timeout=_ASKING, trust_env=False)
        except httpx.TransportError:
            self.silences += 1
        else:
            self.silences = 0
            is_ready = answer.status_code == 200 and answer.json().get("status") == "ready"
            self.has_answered = self.has_answered or is_ready
        self.looked = time.monotonic()
        return self.has_answered

    def is_stuck(self) -> bool:
        """It was ready, lives, and has not answered for minutes."""
        return self.has_answered and self.silences >= _MOST_SILENCES

    def adapters(self) -> set[str]:
        """The names of the adapters that it has."""
        if self.loaded is None:
            answer = self._ask("GET", "/adapters")
            self.loaded = {str(row["name"]) for row in answer.json()["data"]}
        return self.loaded

    def load(self, name: str, adapter: Path) -> str:
        """Load an adapter; what is wrong with it, or nothing."""
        answer = self._ask("POST", "/adapters", {"name": name, "path": str(adapter)})
        if not answer.is_success:
            return _message(answer)
        self.adapters().add(name)
        return ""

    def unload(self, name: str) -> None:
        self._ask("DELETE", f"/adapters/{name}")
        self.adapters().discard(name)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.secret}"}
        return httpx.request(
            method,
            self.address + path,
            json=body,
            headers=headers,
            timeout=_LOADING,
            trust_env=False,
        )

    def last_words(self) -> str:
        """The end of its output, for the error of a deployment."""
        try:
            with (self.folder / "serving.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TOLD_BYTES))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:1000] if lines else ""

    def end(self, *, grace_seconds: float = 10.0) -> None:
        """Let it finish what it is answering, then end it; its folder goes too."""
        self.process.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill()
        self.clear(self.folder)

    def kill(self) -> None:
        """End it by force."""
        self.process.kill_group()
        if self.child is not None:
            self.child.wait()

    @staticmethod
    def clear(folder: Path) -> None:
        """Remove the folder of a process that is gone."""
        shutil.rmtree(folder, ignore_errors=True)


def _free_port(host: str) -> int:
    """A port that is free now; the process that finds it taken ends, and is started again."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The serving process answered {answer.status_code}."
