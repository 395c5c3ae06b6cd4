"""What is stored. Files, dataset versions, models and runs lie on the disk; rows here index them.

Read `base.py` first, then `work.py`: jobs, attempts, events, workers. `people.py` has users and
what they may do, `assets.py` files, datasets and models, `deployments.py` models that answer,
`evaluations.py` what was found out about them, `notices.py` who is told of what.
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
from tunesmith.server.tables.deployments import AskedRequest, Deployment, Serving
from tunesmith.server.tables.evaluations import Evaluation
from tunesmith.server.tables.notices import Delivery, Notice, Subscription
from tunesmith.server.tables.people import (
    AuditEntry,
    Membership,
    Project,
    Token,
    UsedSignIn,
    User,
)
from tunesmith.server.tables.tasks import Task
from tunesmith.server.tables.work import (
    Attempt,
    Checkpoint,
    CheckpointPermission,
    CreditHold,
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
    "AskedRequest",
    "Attempt",
    "AuditEntry",
    "Base",
    "Checkpoint",
    "CheckpointPermission",
    "CreditHold",
    "Dataset",
    "DatasetVersion",
    "Delivery",
    "Deployment",
    "Device",
    "Evaluation",
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
    "Serving",
    "Submission",
    "Subscription",
    "Task",
    "Token",
    "Upload",
    "UploadPart",
    "UsedSignIn",
    "User",
    "UtcTime",
    "Worker",
]
