"""Events as lines of a log, for people who read train.log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def line_of(kind: str, fields: Mapping[str, Any]) -> str:
    """One line for an event; empty for those that say nothing to a reader."""
    tell = _LINES.get(kind)
    return "" if tell is None else tell(fields)


def _started(fields: Mapping[str, Any]) -> str:
    start = fields.get("resumed_from_step")
    whence = "" if start is None else f", goes on from step {start}"
    return (
        f"{fields['name']}: {fields['stage']} of {fields['base']}, method {fields['method']}, "
        f"on {fields['device']}, attempt {fields['attempt']}{whence}"
    )


def _plan(fields: Mapping[str, Any]) -> str:
    return (
        f"{fields['total_steps']} steps over {fields['rows']} rows "
        f"({fields['validation_rows']} held out for validation), "
        f"{fields['trainable_parameters']:,} of {fields['parameters']:,} parameters are trained"
    )


def _step(fields: Mapping[str, Any]) -> str:
    return (
        f"Step {fields['step']}/{fields['total_steps']}: training loss={_number(fields['loss'])}, "
        + (f"reward={_number(fields['reward'])}, " if "reward" in fields else "")
        + f"learning rate={fields['learning_rate']:.3g}, "
        f"gradient norm={_number(fields['grad_norm'])}, "
        f"{fields['tokens_per_second']:.0f} tokens/s"
    )


def _evaluation(fields: Mapping[str, Any]) -> str:
    best = ", the best so far" if fields.get("best") else ""
    return f"Step {fields['step']}: validation loss={_number(fields['loss'])}{best}"


def _finished(fields: Mapping[str, Any]) -> str:
    return f"Finished at step {fields['step']} ({fields['reason']}) after {fields['seconds']} s"


def _number(value: float | None) -> str:
    return "nan" if value is None or not math.isfinite(value) else f"{value:.4f}"


_LINES: dict[str, Any] = {
    "started": _started,
    "plan": _plan,
    "step": _step,
    "evaluation": _evaluation,
    "checkpoint": lambda fields: f"Checkpoint of step {fields['step']} saved",
    "artifact": lambda fields: f"Written: {fields['kind']} in {fields['path']}",
    "paused": lambda fields: f"Paused at step {fields['step']}",
    "finished": _finished,
    "warning": lambda fields: f"{fields['message']} {fields.get('hint', '')}".strip(),
}
