"""What one training of one contender gave, step by step, and the figures made from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


class BenchmarkError(Exception):
    """A contender failed, or the contenders did not do the same work."""


@dataclass(frozen=True)
class Step:
    """One optimizer step; `end` is wall clock time in seconds."""

    tokens: int
    label_tokens: int
    padded_tokens: int
    loss: float
    grad_norm: float
    end: float


@dataclass(frozen=True)
class Measurement:
    """One training from its command to its last step."""

    contender: str
    started: float
    steps: Sequence[Step]
    import_bytes: int
    peak_bytes: int
    versions: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def first_step_seconds(self) -> float:
        """From the command to the end of the first optimizer step."""
        return self.steps[0].end - self.started

    @property
    def bytes_above_imports(self) -> int:
        """Peak memory above the level right after imports."""
        return self.peak_bytes - self.import_bytes

    def timed(self, warmup: int) -> list[tuple[Step, float]]:
        """The steps after the warm-up, each with its seconds from step end to step end."""
        ends = [step.end for step in self.steps]
        pairs = list(zip(self.steps[1:], ends[:-1], strict=True))[max(warmup - 1, 0) :]
        return [(step, step.end - before) for step, before in pairs]


@dataclass(frozen=True)
class Summary:
    """The figures of one contender over all its repeats."""

    contender: str
    tokens_per_second: float
    median_step_tokens_per_second: float
    p95_step_seconds: float
    label_tokens_per_second: float
    padded_tokens_per_second: float
    bytes_above_imports: float
    peak_bytes: float
    first_step_seconds: float
    timed_steps: int
    versions: dict[str, str]


def summarise(runs: Sequence[Measurement], warmup: int) -> Summary:
    """Pool the timed steps of all repeats; memory and start-up are medians over repeats."""
    timed = [pair for run in runs for pair in run.timed(warmup)]
    seconds = [duration for _, duration in timed]
    total = sum(seconds)
    return Summary(
        contender=runs[0].contender,
        tokens_per_second=sum(step.tokens for step, _ in timed) / total,
        median_step_tokens_per_second=median(step.tokens / time for step, time in timed),
        p95_step_seconds=percentile(seconds, 0.95),
        label_tokens_per_second=sum(step.label_tokens for step, _ in timed) / total,
        padded_tokens_per_second=sum(step.padded_tokens for step, _ in timed) / total,
        bytes_above_imports=median(run.bytes_above_imports for run in runs),
        peak_bytes=median(run.peak_bytes for run in runs),
        first_step_seconds=median(run.first_step_seconds for run in runs),
        timed_steps=len(timed),
        versions=runs[0].versions,
    )


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def largest_loss_difference(ours: Measurement, peer: Measurement, steps: int = 20) -> float:
    """Loss parity: the largest difference of one step's loss within the first steps."""
    pairs = zip(ours.steps[:steps], peer.steps[:steps], strict=True)
    return max(abs(a.loss - b.loss) for a, b in pairs)


def require_training(run: Measurement) -> None:
    """A gradient of zero is no training, however fast."""
    for number, step in enumerate(run.steps, 1):
        if not step.grad_norm > 0:
            raise BenchmarkError(
                f"{run.contender}: grad norm {step.grad_norm} in step {number}: it does not train."
            )


def require_same_work(ours: Measurement, peer: Measurement) -> None:
    """Every step of both must have held the same number of real and of label tokens."""
    for number, (a, b) in enumerate(zip(ours.steps, peer.steps, strict=True), 1):
        if (a.tokens, a.label_tokens) != (b.tokens, b.label_tokens):
            raise BenchmarkError(
                f"step {number}: ours held {a.tokens} tokens ({a.label_tokens} labels), "
                f"{peer.contender} {b.tokens} ({b.label_tokens}): not the same rows."
            )


def measurement_from_document(
    contender: str, started: float, document: dict[str, Any]
) -> Measurement:
    """Read the JSON document that a peer's job prints."""
    return Measurement(
        contender=contender,
        started=started,
        steps=[
            Step(
                tokens=step["tokens"],
                label_tokens=step["label_tokens"],
                padded_tokens=step["padded_tokens"],
                loss=step["loss"],
                grad_norm=step["grad_norm"],
                end=step["time"],
            )
            for step in document["steps"]
        ],
        import_bytes=document["import_bytes"],
        peak_bytes=document["peak_bytes"],
        versions=document["versions"],
    )
