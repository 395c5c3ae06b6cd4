"""A small OpenAI-compatible server that answers from a table: any address of a third party."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], "str | tuple[int, Any]"]


@dataclass
class Served:
    """A running server: what it was asked, and how it answers."""

    url: str
    answer: Answer
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    keys: list[str] = field(default_factory=list[str])
    most_at_once: int = 0
    seconds: float = 0.0  # that each answer takes
    retry_after: str = ""
    _now: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def enter(self, body: dict[str, Any], key: str) -> None:
        with self._lock:
            self.requests.append(body)
            self.keys.append(key)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)

    def leave(self) -> None:
        with self._lock:
            self._now -= 1


def last_words(body: dict[str, Any]) -> str:
    """What the user said last."""
    return str(body["messages"][-1]["content"])


def from_table(table: dict[str, str], otherwise: str = "") -> Answer:
    """Answers by the last thing that the user said."""
    return lambda body: table.get(last_words(body), otherwise)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        models = [{"id": "table", "object": "model"}]
        self._send(200, {"object": "list", "data": models} if "models" in self.path else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.served.enter(body, self.headers.get("authorization", ""))
        try:
            time.sleep(self.served.seconds)
            found = self.served.answer(body)
        finally:
            self.served.leave()
        if isinstance(found, tuple):
            self._send(*found)
        else:
            self._send(200, _completion(found))

    def _send(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        if status == 429 and self.served.retry_after:
            self.send_header("retry-after", self.served.retry_after)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


def _completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 5, "completion_tokens": len(text.split())}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}


@contextmanager
def serving(answer: Answer, port: int = 0, **options: Any) -> Generator[Served]:
    """A server on this machine for as long as the block runs."""
    handler: Any = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    handler.served = Served(f"http://127.0.0.1:{server.server_address[1]}/v1", answer, **options)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield handler.served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
