"""What happened to a job, in the words of the OpenAI API: newest first, steps among the rest.

Programs read numbers out of some of these texts, so they stay as they are:

    Created fine-tuning job          Step 90/100: training loss=0.12
    New fine-tuned model created: ft:...          The job has successfully completed
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.errors import InputError
from tunesmith.schemas.openai.jobs import EventObject
from tunesmith.server import ids
from tunesmith.server.tables import Event, Job, MetricPoint

# Ticks of a progress bar are no events for people; they are in the native API.
_HIDDEN: Final = ("progress",)


@dataclass(frozen=True)
class EventPage:
    """Part of the events, newest first."""

    items: Sequence[EventObject]
    has_more: bool


def page_of_events(session: Session, job: Job, *, after: str | None, limit: int) -> EventPage:
    """Those before the event `after`; none comes twice, whatever happens meanwhile."""
    below = job.event_count + 1 if after is None else _number(after, job)
    events = session.scalars(
        select(Event)
        .where(Event.job_id == job.id, Event.number < below, Event.type.not_in(_HIDDEN))
        .order_by(Event.number.desc())
        .limit(limit + 1)
    )
    points = session.scalars(
        select(MetricPoint)
        .where(MetricPoint.job_id == job.id, MetricPoint.number < below)
        .order_by(MetricPoint.number.desc())
        .limit(limit + 1)
    )
    found: list[Event | MetricPoint] = sorted(
        [*events, *points], key=lambda each: each.number, reverse=True
    )
    shown = found[: limit + 1]
    trained = _steps_of(session, job.id, shown)
    items = [_object(job, each, trained) for each in shown[:limit]]
    return EventPage(items, len(shown) > limit)


def _number(after: str, job: Job) -> int:
    number = ids.event_number(after, job.id)
    if number is None or not 0 < number <= job.event_count:
        raise InputError(
            f"{after[:100]!r} is no event of job {job.id}.",
            hint="Write the id of the last event of the page before.",
            code="unknown_event",
            form="after",
            event=after[:100],
            param="after",
        )
    return number


def _steps_of(
    session: Session, job_id: str, shown: Sequence[Event | MetricPoint]
) -> dict[int, Mapping[str, Any]]:
    """The steps that evaluations belong to."""
    wanted = [
        int(each.data["step"])
        for each in shown
        if isinstance(each, Event) and each.type == "evaluation"
    ]
    if not wanted:
        return {}
    points = session.execute(
        select(MetricPoint.step, MetricPoint.data)
        .where(MetricPoint.job_id == job_id, MetricPoint.step.in_(wanted))
        .order_by(MetricPoint.number)
    )
    return {row.step: row.data for row in points}


def _object(
    job: Job, row: Event | MetricPoint, trained: Mapping[int, Mapping[str, Any]]
) -> EventObject:
    if isinstance(row, MetricPoint):
        kind, level, message = "metrics", "info", _step_text(row.data, job)
        data = _metrics(row.data, {}, job)
    elif row.type == "evaluation":
        step = trained.get(int(row.data["step"]), {})
        kind, level, message = "metrics", "info", _evaluation_text(row.data, step, job)
        data = _metrics({**step, "step": row.data["step"]}, row.data, job)
    else:
        kind, level, message = "message", row.level, row.message or _text(row)
        data = {}
    return EventObject.model_validate(
        {
            "id": ids.event_id(row.job_id, row.number),
            "created_at": row.created_at,
            "level": level,
            "message": message,
            "type": kind,
            "data": data,
        }
    )


def _metrics(step: Mapping[str, Any], evaluation: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """Known names only; what is no finite number is null."""
    values: dict[str, Any] = {
        "step": step["step"],
        "train_loss": _finite(step.get("loss")),
        "train_mean_token_accuracy": _finite(step.get("token_accuracy")),
        "total_steps": step.get("total_steps") or job.total_steps,
    }
    if evaluation:
        loss = _finite(evaluation.get("loss"))
        accuracy = _finite(evaluation.get("token_accuracy"))
        values |= {
            "valid_loss": loss,
            "valid_mean_token_accuracy": accuracy,
            "full_valid_loss": loss,
            "full_valid_mean_token_accuracy": accuracy,
        }
    return values


def _step_text(step: Mapping[str, Any], job: Job) -> str:
    return f"{_place(step, job)}: training loss={_shown(step.get('loss'))}"


def _evaluation_text(evaluation: Mapping[str, Any], step: Mapping[str, Any], job: Job) -> str:
    loss = _shown(evaluation.get("loss"))
    trained = f"training loss={_shown(step.get('loss'))}, " if step else ""
    return (
        f"{_place(evaluation, job)}: {trained}validation loss={loss}, full validation loss={loss}"
    )


def _place(step: Mapping[str, Any], job: Job) -> str:
    total = step.get("total_steps") or job.total_steps
    return f"Step {step['step']}/{total}" if total else f"Step {step['step']}"


def _text(event: Event) -> str:
    """The words of an event of the engine that has none itself."""
    data = event.data
    if event.type == "started":
        resumed = data.get("resumed_from_step")
        onward = "" if resumed is None else f", goes on from step {resumed}"
        return f"Fine-tuning job started on {data.get('device', 'a device')}{onward}"
    if event.type == "plan":
        return (
            f"Trains {data.get('rows')} examples in {data.get('total_steps')} steps, "
            f"{data.get('validation_rows') or 0} examples for validation"
        )
    if event.type == "checkpoint":
        return f"Checkpoint created at step {data.get('step')}"
    if event.type == "artifact":
        return f"Result written: {data.get('kind')}"
    if event.type == "finished":
        return f"Training finished at step {data.get('step')}: {data.get('reason')}"
    if event.type == "paused":
        return f"Training paused at step {data.get('step')}"
    return event.type.replace("_", " ").capitalize()


def _finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _shown(value: Any) -> str:
    finite = _finite(value)
    return "nan" if finite is None else f"{finite:.4g}"
