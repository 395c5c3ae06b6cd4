"""What a training looks like: events become a state, and a state becomes text. Pure functions.

`advance(state, event)` is the new state, `notices(event)` are the lines that stay on the screen,
`panel(state, ...)` is the part that is redrawn, `plain_line(state)` the same without a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tunesmith.runs.files import format_bytes

Event = Mapping[str, Any]
Line = list[tuple[str, str]]
"""One line of a panel: pieces of text, each with the name of its style."""

SMOOTHING = 0.9
HISTORY = 64


@dataclass(frozen=True)
class Marks:
    """The characters to draw with."""

    full: str
    tip: str
    empty: str
    sparks: str
    dot: str


UNICODE = Marks(full="━", tip="╸", empty="─", sparks="▁▂▃▄▅▆▇█", dot=" · ")
ASCII = Marks(full="#", tip="", empty=".", sparks="_.-=+*#@", dot=" | ")


@dataclass(frozen=True)
class Notice:
    """A line that stays: `style` is info, good, warning or error."""

    style: str
    text: str
    hint: str = ""


@dataclass(frozen=True)
class Progress:
    """All that is known of a running training; None where nothing was said yet."""

    title: tuple[str, ...] = ()
    stage: str = ""
    status: str = "starting"
    step: int = 0
    total_steps: int = 0
    epoch: float | None = None
    epochs: float | None = None
    loss: float | None = None
    loss_is_nan: bool = False
    smoothed: float | None = None
    weight: float = 0.0
    token_accuracy: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    memory_bytes: float | None = None
    utilisation: float | None = None
    eta_seconds: float | None = None
    validation: tuple[int, float] | None = None
    best: tuple[int, float] | None = None
    checkpoint_step: int | None = None
    checkpoint_path: str | None = None
    activity: tuple[str, float, float, str] | None = None
    curve: tuple[float, ...] = ()
    curve_stride: int = 1
    artifacts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    end: Mapping[str, Any] = field(default_factory=dict[str, Any])


def advance(state: Progress, event: Event) -> Progress:
    """The state after an event; an event of a kind that is not known changes nothing."""
    handler = _HANDLERS.get(str(event.get("type")))
    return handler(state, event) if handler else state


def notices(event: Event) -> list[Notice]:
    """The lines that an event leaves on the screen."""
    kind = event.get("type")
    if kind == "started" and event.get("resumed_from_step"):
        text = f"Resumed from step {event['resumed_from_step']} (attempt {event.get('attempt')})"
        return [Notice("info", text)]
    if kind == "plan":
        return [Notice("info", _plan_text(event))]
    if kind == "evaluation":
        return [_evaluation_notice(event)]
    if kind == "checkpoint":
        best = ", the best so far" if event.get("best") else ""
        return [Notice("faint", f"step {event.get('step')}: checkpoint saved{best}")]
    if kind == "warning":
        style = "info" if event.get("code") == "resumed" else "warning"
        return [Notice(style, str(event.get("message", "")), str(event.get("hint") or ""))]
    return []


def panel(state: Progress, *, width: int, elapsed: float, marks: Marks = UNICODE) -> list[Line]:
    """The part of the screen that is redrawn: title, bar, numbers."""
    lines: list[Line] = []
    if state.title:
        lines.append([(state.title[0], "title"), *_faint(marks.dot, state.title[1:])])
    lines.append(_bar_line(state, width, elapsed, marks))
    if state.step:
        lines.append(_loss_line(state, marks))
        lines.append(_speed_line(state, marks))
    if state.validation or state.checkpoint_step is not None:
        lines.append(_milestone_line(state, marks))
    return lines


def plain_line(state: Progress) -> str:
    """The state in one line, for logs."""
    if state.activity and not state.step:
        return activity_text(state)
    percent = f" ({state.step / state.total_steps:.0%})" if state.total_steps else ""
    parts = [
        f"step {state.step}/{state.total_steps or '?'}{percent}",
        f"loss {_loss(state)}" + (f" (smoothed {state.smoothed:.4f})" if state.smoothed else ""),
        f"lr {state.learning_rate:.2e}" if state.learning_rate is not None else "",
        _rate(state),
        format_bytes(state.memory_bytes) if state.memory_bytes else "",
        f"left {duration(state.eta_seconds)}" if state.eta_seconds is not None else "",
    ]
    return "  ".join(part for part in parts if part)


def activity_text(state: Progress) -> str:
    """What is being done between steps: 'Tokenising 1,200 of 4,000 rows'."""
    if state.activity is None:
        return _WAITING.get(state.status, "") if not state.total_steps else "First step"
    name, done, total, unit = state.activity
    verb = _ACTIVITIES.get(name, name)
    if total <= 1:  # there is nothing to count
        return f"{verb} {unit}".rstrip() if total else verb
    if unit == "bytes":
        return f"{verb} {format_bytes(done)} of {format_bytes(total)}"
    return f"{verb} {done:,.0f} of {total:,.0f} {unit}".rstrip()


def duration(seconds: float) -> str:
    """134 -> '2m 14s'."""
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}h"
    if hours:
        return f"{hours}h {minute:02d}m"
    return f"{minutes}m {second:02d}s" if minutes else f"{second}s"


def sparkline(values: tuple[float, ...], marks: Marks, width: int = 24) -> str:
    """The course of a curve in a few characters."""
    if len(values) < 2:
        return ""
    count = min(width, len(values))
    picked = [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]
    low, high = min(picked), max(picked)
    top = len(marks.sparks) - 1
    scale = top / (high - low) if high > low else 0.0
    return "".join(marks.sparks[round((value - low) * scale)] for value in picked)


_WAITING = {"starting": "Starting the engine", "running": "Preparing"}
_ACTIVITIES = {
    "download": "Downloading",
    "tokenise": "Tokenising",
    "load": "Loading",
    "evaluate": "Evaluating",
    "save": "Saving",
    "measure": "Measuring",
}


def _started(state: Progress, event: Event) -> Progress:
    method = " ".join(str(event[key]) for key in ("stage", "method") if event.get(key))
    parts = (str(event.get("name") or ""), method, str(event.get("device") or ""))
    attempt = int(event.get("attempt") or 1)
    retry = (f"attempt {attempt}",) if attempt > 1 else ()
    title = tuple(part for part in (*parts, *retry) if part)
    resumed = int(event.get("resumed_from_step") or 0)
    stage = str(event.get("stage") or "")
    fresh = Progress(
        title=title, stage=stage, status="running", step=resumed, total_steps=state.total_steps
    )
    return replace(fresh, best=state.best, curve=state.curve, curve_stride=state.curve_stride)


def _plan(state: Progress, event: Event) -> Progress:
    return replace(
        state,
        total_steps=int(event.get("total_steps") or state.total_steps),
        epochs=event.get("epochs", state.epochs),
        eta_seconds=event.get("seconds_estimate"),
    )


def _progress(state: Progress, event: Event) -> Progress:
    name = str(event.get("activity") or "")
    done, total = float(event.get("done") or 0), float(event.get("total") or 0)
    return replace(state, activity=(name, done, total, str(event.get("unit") or "")))


def _step(state: Progress, event: Event) -> Progress:
    loss: float | None = event.get("loss")
    known = {
        key: event[key]
        for key in (
            "epoch",
            "token_accuracy",
            "learning_rate",
            "grad_norm",
            "tokens_per_second",
            "memory_bytes",
            "utilisation",
            "eta_seconds",
        )
        if event.get(key) is not None
    }
    after = replace(
        state,
        status="running",
        activity=None,
        step=int(event.get("step") or 0),
        total_steps=int(event.get("total_steps") or state.total_steps),
        loss=loss,
        loss_is_nan=loss is None,
        **known,
    )
    return after if loss is None else _smooth(after, loss)


def _smooth(state: Progress, loss: float) -> Progress:
    """Exponential mean that starts unbiased, and a thinned curve for the sparkline."""
    weight = SMOOTHING * state.weight + (1 - SMOOTHING)
    old = state.smoothed if state.smoothed is not None else loss
    smoothed = old + (1 - SMOOTHING) / weight * (loss - old)
    state = replace(state, smoothed=smoothed, weight=weight)
    if state.step % state.curve_stride:
        return state
    curve, stride = (*state.curve, smoothed), state.curve_stride
    if len(curve) > HISTORY:
        curve, stride = curve[::2], stride * 2
    return replace(state, curve=curve, curve_stride=stride)


def _evaluation(state: Progress, event: Event) -> Progress:
    state = replace(state, activity=None)
    if event.get("loss") is None:
        return state
    result = (int(event.get("step") or 0), float(event["loss"]))
    best = result if event.get("best") or state.best is None else state.best
    return replace(state, validation=result, best=best)


def _checkpoint(state: Progress, event: Event) -> Progress:
    return replace(
        state,
        activity=None,
        checkpoint_step=int(event.get("step") or 0),
        checkpoint_path=event.get("path"),
    )


def _artifact(state: Progress, event: Event) -> Progress:
    item = (str(event.get("kind") or ""), str(event.get("path") or ""))
    return replace(state, artifacts=(*state.artifacts, item))


def _warning(state: Progress, event: Event) -> Progress:
    item = (str(event.get("code") or ""), str(event.get("message") or ""))
    return replace(state, warnings=(*state.warnings, item))


def _ended(state: Progress, event: Event) -> Progress:
    return replace(state, status=str(event["type"]), end=event, activity=None)


_HANDLERS = {
    "started": _started,
    "plan": _plan,
    "progress": _progress,
    "step": _step,
    "evaluation": _evaluation,
    "checkpoint": _checkpoint,
    "artifact": _artifact,
    "warning": _warning,
    "paused": _ended,
    "failed": _ended,
    "finished": _ended,
}


def _plan_text(event: Event) -> str:
    parts = [f"{event.get('total_steps') or 0:,} steps", f"{event.get('rows') or 0:,} rows"]
    if event.get("validation_rows"):
        parts.append(f"{event['validation_rows']:,} for validation")
    trainable, all_of_them = event.get("trainable_parameters"), event.get("parameters")
    if trainable and all_of_them:
        share = f" ({trainable / all_of_them:.1%})" if trainable < all_of_them else ""
        parts.append(f"{_count(trainable)} trainable parameters{share}")
    if event.get("memory_bytes_estimate"):
        parts.append(f"about {format_bytes(event['memory_bytes_estimate'])}")
    if event.get("seconds_estimate"):
        parts.append(f"about {duration(event['seconds_estimate'])}")
    return "Plan: " + ", ".join(parts)


def _count(number: float) -> str:
    for limit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= limit:
            return f"{number / limit:.1f} {letter}"
    return f"{number:.0f}"


def _evaluation_notice(event: Event) -> Notice:
    loss = event.get("loss")
    text = f"step {event.get('step')}: validation loss " + (
        "NaN" if loss is None else f"{loss:.4f}"
    )
    if event.get("reward") is not None:
        text += f", reward {event['reward']:.3f}"
    if event.get("token_accuracy") is not None:
        text += f", token accuracy {event['token_accuracy']:.1%}"
    if not event.get("step"):
        return Notice("info", text.replace("step 0", "before training", 1))
    return Notice("good", text + ", the best so far") if event.get("best") else Notice("info", text)


def _bar_line(state: Progress, width: int, elapsed: float, marks: Marks) -> Line:
    if not state.step:
        return _waiting_line(state, width, elapsed, marks)
    fraction = state.step / state.total_steps if state.total_steps else 0.0
    left = f"  left {duration(state.eta_seconds)}" if state.eta_seconds is not None else ""
    text = f" {state.step}/{state.total_steps or '?'} {fraction:>4.0%}"
    times = f"  {duration(elapsed)}{left}"
    activity = f"  {activity_text(state)}" if state.activity else ""
    room = max(10, min(50, width - len(text) - len(times) - len(activity) - 1))
    return [
        *_bar(fraction, room, marks),
        (text, "strong"),
        (times, "faint"),
        (activity, "activity"),
    ]


def _waiting_line(state: Progress, width: int, elapsed: float, marks: Marks) -> Line:
    text = activity_text(state)
    done, total = (state.activity[1], state.activity[2]) if state.activity else (0.0, 0.0)
    tail: Line = [(f"{text}", "activity"), (f"  {duration(elapsed)}", "faint")]
    if total <= 1:
        return tail
    return [*_bar(done / total, max(10, min(30, width - len(text) - 12)), marks), (" ", ""), *tail]


def _bar(fraction: float, width: int, marks: Marks) -> Line:
    done = min(width, int(max(0.0, fraction) * width))
    tip = marks.tip if done < width and fraction > 0 else ""
    rest = marks.empty * (width - done - len(tip))
    return [(marks.full * done + tip, "bar"), (rest, "bar_rest")]


def _loss_line(state: Progress, marks: Marks) -> Line:
    smoothed = f"  smoothed {state.smoothed:.4f}" if state.smoothed is not None else ""
    accuracy = f"  accuracy {state.token_accuracy:.1%}" if state.token_accuracy is not None else ""
    spark = sparkline(state.curve, marks)
    return [
        ("loss ", "faint"),
        (_loss(state), "error" if state.loss_is_nan else "strong"),
        (smoothed, ""),
        (f"  {spark}" if spark else "", "bar"),
        (accuracy, ""),
        (f"  epoch {state.epoch:.2f}" if state.epoch is not None else "", ""),
        (f" of {state.epochs:g}" if state.epoch is not None and state.epochs else "", "faint"),
    ]


def _speed_line(state: Progress, marks: Marks) -> Line:
    parts = [
        f"learning rate {state.learning_rate:.2e}" if state.learning_rate is not None else "",
        f"grad norm {state.grad_norm:.2f}" if state.grad_norm is not None else "",
        _rate(state),
        format_bytes(state.memory_bytes) if state.memory_bytes else "",
        f"device {state.utilisation:.0f}% busy" if state.utilisation is not None else "",
    ]
    return [(marks.dot.join(part for part in parts if part), "faint")]


def _milestone_line(state: Progress, marks: Marks) -> Line:
    line: Line = []
    if state.validation:
        step, loss = state.validation
        line += [("validation ", "faint"), (f"{loss:.4f}", "strong"), (f" at step {step}", "faint")]
        if state.best:
            best = (
                " (the best)" if state.best == state.validation else f" (best {state.best[1]:.4f})"
            )
            line.append((best, "good"))
    if state.checkpoint_step is not None:
        line.append((f"{marks.dot if line else ''}checkpoint at {state.checkpoint_step}", "faint"))
    return line


def _loss(state: Progress) -> str:
    return "NaN" if state.loss is None else f"{state.loss:.4f}"


def _rate(state: Progress) -> str:
    rate = state.tokens_per_second
    return "" if rate is None else f"{rate:,.0f} tokens/s"


def _faint(dot: str, parts: tuple[str, ...]) -> Line:
    return [(f"{dot}{part}", "faint") for part in parts]
