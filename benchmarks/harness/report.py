"""The figures as tables that can be pasted into a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.jobs import LOSS_GOAL, Job
from harness.machine import Machine
from harness.measurement import Summary

MB = 1e6
FIGURES = [
    "",
    "real tokens/s",
    "median step",
    "p95 step s",
    "label tokens/s",
    "padded tokens/s",
    "above imports MB",
    "peak MB",
    "first step s",
]
RATIOS = ["tunesmith against", "figure", "value", "goal", ""]


@dataclass(frozen=True)
class Ratio:
    """One comparison of ours with a contender, and the goal where there is one."""

    what: str
    against: str
    value: float
    goal: float | None = None
    lower_is_better: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.lower_is_better else self.value >= self.goal


@dataclass(frozen=True)
class Result:
    """All figures of one job."""

    job: Job
    summaries: Sequence[Summary]
    product_rate: float | None
    product_gflops: float | None
    loss_differences: dict[str, float]

    @property
    def ours(self) -> Summary:
        """Our own figures."""
        return self.summaries[0]

    def ratios(self) -> list[Ratio]:
        """Ours against each contender and against the product rate."""
        found: list[Ratio] = []
        for peer in self.summaries[1:]:
            found += _against(self.job, self.ours, peer, self.loss_differences[peer.contender])
        if self.product_rate:
            share = self.ours.tokens_per_second / self.product_rate
            goal = self.job.speed_goals.get("product")
            found.append(Ratio("real tokens/s", "product rate", share, goal))
        return found


def _against(job: Job, ours: Summary, peer: Summary, loss_difference: float) -> list[Ratio]:
    name = peer.contender
    return [
        Ratio(
            "real tokens/s",
            name,
            ours.tokens_per_second / peer.tokens_per_second,
            job.speed_goals.get(name),
        ),
        Ratio(
            "real tokens/s of the median step",
            name,
            ours.median_step_tokens_per_second / peer.median_step_tokens_per_second,
        ),
        Ratio(
            "peak memory above imports",
            name,
            ours.bytes_above_imports / peer.bytes_above_imports,
            job.memory_goal if name == "trl" else None,
            lower_is_better=True,
        ),
        Ratio(
            "command to first step",
            name,
            ours.first_step_seconds / peer.first_step_seconds,
            lower_is_better=True,
        ),
        Ratio(
            "largest loss difference, first 20 steps",
            name,
            loss_difference,
            LOSS_GOAL,
            lower_is_better=True,
        ),
    ]


def render(machine: Machine, results: Iterable[Result]) -> str:
    """Markdown: the machine, then two tables a job."""
    lines = [
        f"{machine.processor}, {machine.physical_cores} cores, {machine.memory_gb} GB; "
        f"torch {machine.torch}, fp32; load before: {machine.load_before}",
    ]
    for result in results:
        lines += ["", *_job_lines(result)]
    return "\n".join(lines)


def _job_lines(result: Result) -> list[str]:
    job = result.job
    head = f"## {job.name}: {job.model}, batch {job.batch_size}, {job.warmup} warm-up steps, "
    lines = [head + f"{result.ours.timed_steps} timed", ""]
    lines += table(
        FIGURES,
        [_figures(summary) for summary in result.summaries],
    )
    if result.product_rate:
        rate = f"{result.product_rate:,.0f}"
        lines += ["", f"Product rate: {rate} tokens/s ({result.product_gflops:.0f} GFLOP/s)."]
    rows = [_ratio_cells(ratio) for ratio in result.ratios()]
    return [*lines, "", *table(RATIOS, rows)] if rows else lines


def _figures(summary: Summary) -> list[str]:
    return [
        summary.contender,
        f"{summary.tokens_per_second:,.0f}",
        f"{summary.median_step_tokens_per_second:,.0f}",
        f"{summary.p95_step_seconds:.2f}",
        f"{summary.label_tokens_per_second:,.0f}",
        f"{summary.padded_tokens_per_second:,.0f}",
        f"{summary.bytes_above_imports / MB:,.0f}",
        f"{summary.peak_bytes / MB:,.0f}",
        f"{summary.first_step_seconds:.1f}",
    ]


def _ratio_cells(ratio: Ratio) -> list[str]:
    small = abs(ratio.value) < 0.01
    value = f"{ratio.value:.1e}" if small else f"{ratio.value:.2f}"
    if ratio.goal is None:
        return [ratio.against, ratio.what, value, "", ""]
    sign = "<=" if ratio.lower_is_better else ">="
    return [ratio.against, ratio.what, value, f"{sign} {ratio.goal}", "met" if ratio.met else "NO"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A markdown table with aligned columns."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in lines
    ]


def as_document(machine: Machine, results: Iterable[Result]) -> dict[str, Any]:
    """The same as one JSON document."""
    return {
        "machine": asdict(machine),
        "jobs": [
            {
                "job": asdict(result.job),
                "contenders": [asdict(summary) for summary in result.summaries],
                "product_rate": result.product_rate,
                "product_gflops": result.product_gflops,
                "ratios": [{**asdict(ratio), "met": ratio.met} for ratio in result.ratios()],
            }
            for result in results
        ],
    }
