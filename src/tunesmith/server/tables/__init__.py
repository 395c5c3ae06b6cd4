"""What is stored. Files, dataset versions, models and runs lie on the disk; rows here index them.

Read `base.py` first, then `work.py`: jobs, attempts, events, workers. `people.py` has users and
what they may do, `assets.py` files, datasets and models, `notices.py` who is told of what.
"""

from __future__ import annotations

from tunesmith.server.tables.assets import (
    Dataset,
    DatasetVersion,
    File,
    Model,
    ModelDataset,
    Upload,
    UploadPart,
)
from tunesmith.server.tables.base import Base, Json, UtcTime
from tunesmith.server.tables.notices import Notice, Subscription
from tunesmith.server.tables.people import AuditEntry, Membership, Project, Token, User
from tunesmith.server.tables.work import (
    Attempt,
    Checkpoint,
    CheckpointPermission,
    Device,
    Event,
    Job,
    JobDataset,
    LeaseClock,
    MetricPoint,
    Submission,
    Worker,
)

__all__ = [
    "Attempt",
    "AuditEntry",
    "Base",
    "Checkpoint",
    "CheckpointPermission",
    "Dataset",
    "DatasetVersion",
    "Device",
    "Event",
    "File",
    "Job",
    "JobDataset",
    "Json",
    "LeaseClock",
    "Membership",
    "MetricPoint",
    "Model",
    "ModelDataset",
    "Notice",
    "Project",
    "Submission",
    "Subscription",
    "Token",
    "Upload",
    "UploadPart",
    "User",
    "UtcTime",
    "Worker",
]
