"""Files and jobs as a client of the OpenAI API makes them."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.api.conftest import Server


def chats(count: int, start: int = 0) -> bytes:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": f"answer {n}"},
            ]
        }
        for n in range(start, start + count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def upload(
    server: Server, content: bytes, who: str = "member", purpose: str = "fine-tune", **fields: str
) -> dict[str, Any]:
    answer = server.client(who).post(
        "/v1/files",
        files={"file": ("train.jsonl", content)},
        data={"purpose": purpose, **fields},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def create(
    server: Server, who: str = "member", headers: dict[str, str] | None = None, **body: Any
) -> dict[str, Any]:
    """A job, still `validating_files`; `server.finish_tasks()` validates it."""
    if "training_file" not in body:
        body["training_file"] = upload(server, chats(20), who)["id"]
    answer = server.client(who).post(
        "/v1/fine_tuning/jobs", json={"model": "starter", **body}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(server: Server, path: str, who: str = "member", **query: Any) -> dict[str, Any]:
    answer = server.client(who).get(f"/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """The error of an answer in the shape of the OpenAI API."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code, error
    if param is not None:
        assert error["param"] == param
    return error
