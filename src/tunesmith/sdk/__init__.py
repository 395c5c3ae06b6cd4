"""A typed client of the native API.

    from tunesmith.sdk import Client

    with Client("http://127.0.0.1:8400", token="tsk-...") as client:
        data = client.datasets.upload("support", "support.jsonl")
        job = client.jobs.create(base="starter", datasets=[data.name], recipe={...})
        for event in client.jobs.follow(job.id):
            print(event.type, event.message)
        client.models.download(client.jobs.get(job.id).model_id, "result")

Read `client.py` first; `connection.py` has retries and errors, the others one noun each.
"""

from __future__ import annotations

from tunesmith.sdk.client import Client
from tunesmith.sdk.connection import ApiError, NotReachable

__all__ = ["ApiError", "Client", "NotReachable"]
