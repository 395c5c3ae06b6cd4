"""Requests of every kind against both OpenAPI documents: never an answer that blames the server.

Schemathesis makes them from the documents, valid and broken ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from tests.unit.api.conftest import ADMIN_TOKEN, Server, serving

from tunesmith.server.settings import Settings

DOCUMENTS = {"native": "/api/v1/openapi.json", "openai": "/v1/openapi.json"}
# Streams that never end, and what says 501 on purpose: they have tests of their own.
LEFT_OUT = r"/stream$|/(embeddings|responses|completions)$"
# The same ones each time; TUNESMITH_TEST_EXAMPLES=500 looks further.
EXAMPLES = int(os.environ.get("TUNESMITH_TEST_EXAMPLES", "8"))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("any") / "data"
    shutil.copytree(migrated, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_DATA_DIR", str(folder))
        with serving(
            Settings.load(data_dir=folder, rate_limit=0, allowed_hosts=["testserver"])
        ) as server:
            yield server


@schemathesis.serializer("application/offset+octet-stream")
def as_bytes(_: Any, value: Any) -> bytes:
    """The body of an upload: whatever was made up, as bytes."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_request_is_answered_with_a_server_error(installation: Server, document: str) -> None:
    schema = schemathesis.openapi.from_asgi(DOCUMENTS[document], installation.app)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    done: list[str] = []
    for result in schema.exclude(path_regex=LEFT_OUT).get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=[not_a_server_error])

        ask()
        done.append(operation.label)
    assert len(done) > 5
