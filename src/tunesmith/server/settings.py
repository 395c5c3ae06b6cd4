"""What an installation sets: environment variables, each with a default that works on one machine.

TUNESMITH_DATA_DIR, TUNESMITH_DATABASE_URL, TUNESMITH_DATABASE_TIMEOUT; the limits of each user who
has none of their own: TUNESMITH_QUOTA_RUNNING_JOBS, TUNESMITH_QUOTA_DEVICE_HOURS (in 30 days),
TUNESMITH_QUOTA_STORAGE_BYTES.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tunesmith.runs.files import data_directory


class Settings(BaseSettings):
    """Read once, at the start of a process, and handed on."""

    model_config = SettingsConfigDict(env_prefix="TUNESMITH_", frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=data_directory)
    database_url: str = Field("", description="Empty: a SQLite file in the data directory.")
    database_timeout: float = Field(
        10.0, gt=0, description="Seconds to wait for a lock or a connection before giving up."
    )
    quota_running_jobs: int | None = Field(None, ge=0)
    quota_device_hours: float | None = Field(None, ge=0)
    quota_storage_bytes: int | None = Field(None, ge=0)

    @field_validator("data_dir")
    @classmethod
    def _whole_path(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def database(self) -> str:
        """The URL of the database in use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'tunesmith.db'}"
