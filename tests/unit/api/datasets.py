"""What tests of datasets share: rows as files, imports that are waited for."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.api.conftest import Server


def lines(rows: int = 30, start: int = 0) -> bytes:
    """Questions and answers, one a line; the answers get longer."""
    told = [
        {"prompt": f"What is number {n}?", "completion": f"It is {n}, " + "so " * n + "there."}
        for n in range(start, start + rows)
    ]
    return b"".join(json.dumps(each).encode() + b"\n" for each in told)


def send(
    server: Server, content: bytes, name: str = "rows.jsonl", who: str = "member", **fields: Any
) -> str:
    answer = server.client(who).post("/api/v1/files", files={"file": (name, content)}, data=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def begin(server: Server, name: str, content: bytes, who: str = "member", **body: Any) -> Any:
    """The answer to a new dataset of one file; its task waits."""
    file = send(server, content, body.pop("filename", "rows.jsonl"), who)
    return server.client(who).post(
        "/api/v1/datasets", json={"name": name, "file_ids": [file], **body}
    )


def imported(
    server: Server,
    name: str = "support",
    content: bytes | None = None,
    who: str = "member",
    **body: Any,
) -> str:
    """A dataset with one version; its id."""
    answer = begin(server, name, lines() if content is None else content, who, **body)
    assert answer.status_code == 202, answer.text
    done(server, answer.json()["task"], who)
    return answer.json()["dataset"]["id"]


def done(server: Server, task: dict[str, Any], who: str = "member") -> dict[str, Any]:
    """The result of a task, once it is through."""
    told = finished(server, task, who)
    assert told["state"] == "succeeded", told["error"]
    return told["result"]


def finished(server: Server, task: dict[str, Any], who: str = "member") -> dict[str, Any]:
    server.finish_tasks()
    return server.client(who).get(f"/api/v1/tasks/{task['id']}").json()


def edit(server: Server, dataset: str, base: int | None = None, **operation: Any) -> Any:
    body = {"operation": operation, "base": base}
    return server.member.post(f"/api/v1/datasets/{dataset}/edit", json=body)


def rows(server: Server, dataset: str, number: int = 1, **query: Any) -> dict[str, Any]:
    path = f"/api/v1/datasets/{dataset}/versions/{number}/rows"
    answer = server.viewer.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def code(answer: Any) -> str:
    return answer.json()["error"]["code"]
