"""Jobs as lists show them: rows without recipes, from statements that are made once a shape.

What makes a list slow is neither the database nor the network but building the same statement and
the same objects for every request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select
from sqlalchemy.orm import Session

from tunesmith.data.names import builtin_datasets
from tunesmith.server.queue import JobFilter
from tunesmith.server.tables import (
    Attempt,
    Checkpoint,
    Dataset,
    DatasetVersion,
    Job,
    JobDataset,
    Model,
)

_T: Final = Job.__table__.c
_LEFT_OUT: Final = ("recipe", "request", "flavour", "flavour_name", "expected")
_COLUMNS: Final = (
    *(column for column in _T if column.name not in _LEFT_OUT),
    _T.flavour_name.label("flavour"),  # users know it by this name
)
_ESCAPE: Final = "/"
JobRow = Row[Any]

# One job, and what lies beside it.
_ONE: Final = select(*_COLUMNS, _T.expected).where(
    _T.id == bindparam("job_id"), _T.deleted_at.is_(None)
)
_DATASETS: Final = (
    select(JobDataset.dataset_version_id, JobDataset.role, Dataset.name, DatasetVersion.number)
    .join(DatasetVersion, DatasetVersion.id == JobDataset.dataset_version_id)
    .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
    .where(JobDataset.job_id == bindparam("job_id"))
    .order_by(JobDataset.role, JobDataset.dataset_version_id)
)
_DATA: Final = select(Job.recipe["data"]).where(Job.id == bindparam("job_id"))
_ATTEMPTS: Final = (
    select(*Attempt.__table__.c)
    .where(Attempt.__table__.c.job_id == bindparam("job_id"))
    .order_by(Attempt.__table__.c.number)
)
_MODEL: Final = select(Model.id).where(
    Model.job_id == bindparam("job_id"), Model.checkpoint_id.is_(None), Model.deleted_at.is_(None)
)
_CHECKPOINTS: Final = (
    select(func.count())
    .select_from(Checkpoint)
    .where(Checkpoint.job_id == bindparam("job_id"), Checkpoint.deleted_at.is_(None))
)


def listed(session: Session, wanted: JobFilter, after: str | None, limit: int) -> Sequence[JobRow]:
    """The newest jobs that fit, so many at most."""
    keys = tuple(sorted(wanted.labels))
    given = {
        "statuses": sorted(wanted.statuses),
        "user_id": wanted.user_id,
        "text": _escaped(wanted.text),
        "base": wanted.base,
        "after": after,
    }
    used = {name: value for name, value in given.items() if value}
    values: Mapping[str, Any] = {
        **used,
        **{f"label_{number}": wanted.labels[key] for number, key in enumerate(keys)},
        "projects": list(wanted.project_ids),
        "limit": limit,
    }
    statement = _statement(frozenset(used), keys, wanted.without_labels)
    return session.connection().execute(statement, values).all()


def one(session: Session, job_id: str) -> JobRow | None:
    """A job by its id, without its recipe."""
    return session.connection().execute(_ONE, {"job_id": job_id}).one_or_none()


def beside(session: Session, job_id: str) -> dict[str, Any]:
    """Datasets, attempts, result and number of checkpoints of a job."""
    connection, values = session.connection(), {"job_id": job_id}
    versions = [tuple(row) for row in connection.execute(_DATASETS, values)]
    builtin = builtin_datasets({"data": connection.execute(_DATA, values).scalar()})
    return {
        "datasets": [*versions, *((name, role, name, None) for name, role in builtin)],
        "attempts": connection.execute(_ATTEMPTS, values).all(),
        "model_id": connection.execute(_MODEL, values).scalar(),
        "num_checkpoints": connection.execute(_CHECKPOINTS, values).scalar_one(),
    }


@lru_cache(256)
def _statement(
    used: frozenset[str], label_keys: tuple[str, ...], without_labels: bool
) -> Select[Any]:
    """The statement for one combination of filters."""
    filters: dict[str, ColumnElement[bool]] = {
        "statuses": _T.status.in_(bindparam("statuses", expanding=True)),
        "user_id": _T.user_id == bindparam("user_id"),
        "text": _T.name.icontains(bindparam("text"), escape=_ESCAPE)
        | _T.id.startswith(bindparam("text"), escape=_ESCAPE),
        "base": _T.base == bindparam("base"),
        "after": _T.id < bindparam("after"),
    }
    conditions = [filters[name] for name in sorted(used)]
    conditions += [
        Job.labels[key].as_string() == bindparam(f"label_{number}")
        for number, key in enumerate(label_keys)
    ]
    if without_labels:
        conditions.append(_T.labels.is_(None))
    return (
        select(*_COLUMNS)
        .where(
            _T.deleted_at.is_(None),
            _T.project_id.in_(bindparam("projects", expanding=True)),
            *conditions,
        )
        .order_by(_T.id.desc())
        .limit(bindparam("limit"))
    )


def _escaped(text: str) -> str:
    """Text that LIKE takes letter by letter."""
    for mark in (_ESCAPE, "%", "_"):
        text = text.replace(mark, _ESCAPE + mark)
    return text
