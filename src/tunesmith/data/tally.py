"""Counts what happens to the rows of one file: nothing is dropped or changed silently."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LINES_SHOWN = 100


@dataclass
class Lines:
    """A count with the numbers of its first lines."""

    count: int = 0
    lines: list[int] = field(default_factory=list[int])

    def add(self, line: int) -> None:
        self.count += 1
        if len(self.lines) < LINES_SHOWN:
            self.lines.append(line)

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "lines": self.lines}


@dataclass
class Tally:
    """The fate of the rows of one file."""

    source: str
    format: str = ""
    why: str = ""
    rows_read: int = 0
    rows_unused: int = 0  # beyond max_samples
    rows_kept: int = 0
    training_rows: int = 0  # more than rows_kept where records were split
    untrained_turns: int = 0
    truncated: Lines = field(default_factory=Lines)
    turns_apart: Lines = field(default_factory=Lines)  # conversations of several rows
    windows: Lines = field(default_factory=Lines)  # documents split into several rows
    tools_ignored: Lines = field(default_factory=Lines)
    dropped: dict[str, Lines] = field(default_factory=dict[str, Lines])
    examples: dict[str, str] = field(default_factory=dict[str, str])

    def drop(self, reason: str, line: int, example: str = "") -> None:
        self.dropped.setdefault(reason, Lines()).add(line)
        if example:
            self.examples.setdefault(reason, example)

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "format": self.format,
            "why": self.why,
            "rows_read": self.rows_read,
            "rows_unused": self.rows_unused,
            "rows_kept": self.rows_kept,
            "training_rows": self.training_rows,
            "untrained_turns": self.untrained_turns,
            "truncated": self.truncated.to_json(),
            "turns_apart": self.turns_apart.to_json(),
            "windows": self.windows.to_json(),
            "tools_ignored": self.tools_ignored.to_json(),
            "dropped": {
                reason: {**lines.to_json(), **self._example(reason)}
                for reason, lines in self.dropped.items()
            },
        }

    def _example(self, reason: str) -> dict[str, str]:
        example = self.examples.get(reason)
        return {"example": example} if example else {}


def total(tallies: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of several files together."""
    names = ("rows_read", "rows_unused", "rows_kept", "training_rows", "untrained_turns")
    sums: dict[str, Any] = {name: sum(tally[name] for tally in tallies) for name in names}
    for name in ("truncated", "turns_apart", "windows"):
        sums[name] = sum(tally[name]["count"] for tally in tallies)
    dropped: dict[str, int] = {}
    for tally in tallies:
        for reason, lines in tally["dropped"].items():
            dropped[reason] = dropped.get(reason, 0) + lines["count"]
    return {**sums, "dropped": dropped}
