"""Workers, disk and health of an installation."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from tunesmith.schemas.common import Answer

_JOB = "ftjob-01kat3v9m0b6"


class DeviceRead(Answer):
    """A device; `used_bytes` and `utilisation` (percent) only while a job tells them."""

    index: int = Field(examples=[0])
    name: str = Field(examples=["NVIDIA H200"])
    flavour: str = Field(examples=["h200"])
    memory_bytes: int | None = Field(examples=[150_754_820_096])
    is_busy: bool = Field(examples=[True])
    is_missing: bool = Field(examples=[False], description="Configured, but not found any more.")
    job_id: str | None = Field(examples=[_JOB])
    job_name: str | None = Field(examples=["support-bot"])
    used_bytes: int | None = Field(examples=[61_203_283_968])
    utilisation: float | None = Field(examples=[94.0])


class WorkerRead(Answer):
    """A worker; one that `accepts_jobs` and does not run was lost."""

    id: str = Field(examples=["worker-01kat3v9m0b6"])
    name: str = Field(examples=["rack-1"])
    host: str = Field(examples=["rack-1.example.com"])
    backend: str = Field(examples=["local"])
    version: str = Field(examples=["1.0.0"])
    is_running: bool = Field(examples=[True])
    accepts_jobs: bool = Field(examples=[True])
    registered_at: datetime = Field(examples=["2026-11-02T08:00:00Z"])
    seen_at: datetime = Field(examples=["2026-11-21T08:00:00Z"])
    devices: list[DeviceRead]


class StoredPartRead(Answer):
    name: Literal["files", "datasets", "models", "checkpoints"] = Field(examples=["models"])
    count: int = Field(examples=[12])
    bytes: int = Field(examples=[9_663_676_416])


class StorageRead(Answer):
    """The disk of the data directory, and by kind what the platform keeps."""

    total_bytes: int = Field(examples=[2_000_398_934_016])
    free_bytes: int = Field(examples=[1_215_752_192_000])
    parts: list[StoredPartRead]


class DoctorCheck(Answer):
    """What was looked at, how it is, and what to do about it."""

    name: str = Field(examples=["data"])
    status: Literal["ok", "warning", "error"] = Field(examples=["warning"])
    detail: str = Field(examples=["/srv/tunesmith, 7.2 GiB free"])
    mend: str = Field(examples=["`tunesmith clean` says what may go."])


class DoctorRead(Answer):
    checks: list[DoctorCheck]
