"""Collects what was found: the exact count of rows, and the places of the first 100 of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.check.rules import SEVERITIES, rule_of

PLACES_KEPT = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was found.

    `row` is the id of a stored row, None in a plain file; `file` and `line` are where it came from:
    the line is 0 where the whole file is meant, the file empty where only the id is known.
    """

    file: str
    line: int
    row: int | None = None
    field: str = ""
    excerpt: str = ""

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"file": self.file, "line": self.line} if self.file else {}
        if self.row is not None:
            told["row"] = self.row
        if self.field:
            told["field"] = self.field
        return {**told, "excerpt": self.excerpt} if self.excerpt else told


@dataclass
class Finding:
    """One rule's hits: how many rows, and where the first ones are."""

    code: str
    count: int = 0
    places: list[Place] = field(default_factory=list[Place])
    detail: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self, language: str = "en") -> dict[str, Any]:
        rule = rule_of(self.code)
        return {
            "code": self.code,
            "severity": rule.severity,
            "title": getattr(rule, language),
            "count": self.count,
            "mend": getattr(rule, f"mend_{language}"),
            "fix": rule.fix,
            **({"detail": self.detail} if self.detail else {}),
            "places": [place.to_json() for place in self.places],
        }


class Findings:
    """Findings in the order of the rows."""

    def __init__(self) -> None:
        self._by_code: dict[str, Finding] = {}

    def __iter__(self) -> Iterator[Finding]:
        """Worst first, then the most frequent."""
        return iter(
            sorted(
                self._by_code.values(),
                key=lambda f: (SEVERITIES.index(rule_of(f.code).severity), -f.count, f.code),
            )
        )

    def __contains__(self, code: str) -> bool:
        return code in self._by_code

    def get(self, code: str) -> Finding | None:
        return self._by_code.get(code)

    def room(self, code: str) -> int:
        """How many more places of this code are kept."""
        return PLACES_KEPT - len(self._of(code).places)

    def add(self, code: str, place: Place) -> None:
        """One more row."""
        finding = self._of(code)
        finding.count += 1
        if len(finding.places) < PLACES_KEPT:
            finding.places.append(place)

    def count(self, code: str, rows: int) -> None:
        """More rows whose places are not kept."""
        if rows:
            self._of(code).count += rows

    def set_detail(self, code: str, **detail: Any) -> None:
        self._of(code).detail.update(detail)

    def merge(self, later: Findings) -> None:
        """Take over what was found in later rows."""
        for finding in later._by_code.values():
            mine = self._of(finding.code)
            mine.count += finding.count
            mine.places += finding.places[: PLACES_KEPT - len(mine.places)]
            mine.detail.update(finding.detail)

    def counts(self) -> dict[str, int]:
        """How often each severity was found: rows, all rules together."""
        totals: dict[str, int] = dict.fromkeys(SEVERITIES, 0)
        for finding in self._by_code.values():
            totals[rule_of(finding.code).severity] += finding.count
        return totals

    def _of(self, code: str) -> Finding:
        return self._by_code.setdefault(code, Finding(code))
