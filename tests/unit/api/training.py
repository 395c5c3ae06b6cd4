"""A worker and its engine as the database sees them, and datasets to train on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from tests.unit.api.conftest import Server

from tunesmith.data.store import Catalog
from tunesmith.data.store.rows import StoredRow, table_of
from tunesmith.data.store.version import digest_of
from tunesmith.server import claims, clock, ids, workers
from tunesmith.server.claims import Claim, Result
from tunesmith.server.tables import Dataset, DatasetVersion, Model
from tunesmith.server.workers import DeviceInfo

JOB = {"name": "bot", "base": "starter", "datasets": ["builtin:shop"]}


def submit(server: Server, who: str = "member", **changes: Any) -> dict[str, Any]:
    """A job made over HTTP."""
    answer = server.client(who).post("/api/v1/jobs", json={**JOB, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


def worker(server: Server, num_devices: int = 1, flavour: str = "h200") -> str:
    devices = [
        DeviceInfo(index, "H200", 141 * 2**30, flavour=flavour) for index in range(num_devices)
    ]
    return workers.register(server.platform.database, f"w-{flavour}", devices, host="w")


def started(server: Server, job_id: str, **kwargs: Any) -> Claim:
    """The job in the hands of a worker, before its first step."""
    claimed = claims.claim(server.platform.database, worker(server, **kwargs))
    assert claimed is not None
    assert claimed.job_id == job_id
    claims.started(server.platform.database, claimed)
    return claimed


def steps(server: Server, claimed: Claim, numbers: Iterable[int], seq: int = 1) -> int:
    """Steps as the engine reports them; the number of the next event."""
    events = [step(claimed.attempt, seq + n, number) for n, number in enumerate(numbers)]
    claims.record(server.platform.database, claimed, events)
    return seq + len(events)


def step(attempt: int, seq: int, number: int, **fields: Any) -> dict[str, Any]:
    event = {"run": "r", "attempt": attempt, "seq": seq, "type": "step"}
    event |= {"time": "2026-03-01T12:00:00.000+00:00", "step": number, "total_steps": 100}
    return event | {"loss": 2.0 / number, "learning_rate": 1e-4, "utilisation": None, **fields}


def succeeded(server: Server, claimed: Claim, name: str = "ft:starter:bot::1") -> str:
    result = Result(name, "adapter", bytes=10)
    return claims.succeed(server.platform.database, claimed, result, trained_tokens=5000)


def add_dataset(
    server: Server, data_dir: Path, name: str, rows: int, project: str | None = None
) -> str:
    """A published version of a dataset, on the disk and in the database; its id."""
    catalog = Catalog(data_dir)
    folder = f"{name}-{rows}"
    _publish(catalog, folder, rows)
    with server.platform.database.write() as session:
        now = clock.read(session).wall
        dataset = Dataset(
            id=ids.new(ids.DATASET, now),
            project_id=project or server.project,
            user_id=server.users["member"],
            name=name,
            folder=folder,
            created_at=now,
        )
        session.add(dataset)
        session.flush()
        version = DatasetVersion(
            id=ids.new(ids.DATASET_VERSION, now),
            dataset_id=dataset.id,
            number=1,
            user_id=server.users["member"],
            rows=rows,
            bytes=rows * 40,
            content="0" * 64,
            created_at=now,
        )
        session.add(version)
    return version.id


def _publish(catalog: Catalog, folder: str, rows: int) -> None:
    stored: list[StoredRow] = []
    for number in range(rows):
        turns = [{"role": "user", "content": f"q{number}"}]
        turns.append({"role": "assistant", "content": f"a{number}"})
        text = orjson.dumps({"messages": turns})
        stored.append(
            StoredRow(number + 1, "f", number + 1, "chat", text.decode(), None, digest_of(text))
        )
    with catalog.draft(folder) as draft:
        draft.append(table_of(stored))
        catalog.publish(draft, folder)


def add_model(server: Server, name: str, **columns: Any) -> str:
    """A model of the registry without files; a result of a job where nothing else is said."""
    with server.platform.database.write() as session:
        moment = clock.read(session)
        fields: dict[str, Any] = {
            "id": ids.new(ids.MODEL, moment.wall), "name": name, "project_id": server.project,
            "user_id": server.users["member"], "kind": "adapter", "source": "job",
            "base": "starter", "created_at": moment.wall,
        }  # fmt: skip
        row = Model(**fields | columns)
        session.add(row)
        return row.id
