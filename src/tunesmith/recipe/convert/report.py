"""What became of each key of a converted file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tunesmith.recipe.catalog import show

Verdict = Literal["taken", "renamed", "not supported"]

_SECRETS = ("token", "secret", "password", "api_key")


@dataclass(frozen=True)
class Entry:
    """One key: what it said, what we made of it, and why."""

    key: str
    value: str
    verdict: Verdict
    to: str = ""
    reason: str = ""
    line: int | None = None

    def __str__(self) -> str:
        parts = [f"{self.key}: {self.value}", self.verdict]
        if self.to:
            parts.append(self.to)
        if self.reason:
            parts.append(self.reason)
        return " | ".join(parts)


@dataclass
class Report:
    """All keys in the order of the file."""

    entries: list[Entry] = field(default_factory=list[Entry])

    def taken(self, key: str, value: Any, reason: str = "", line: int | None = None) -> None:
        self._add(key, value, "taken", "", reason, line)

    def renamed(
        self, key: str, value: Any, to: str, reason: str = "", line: int | None = None
    ) -> None:
        self._add(key, value, "renamed", to, reason, line)

    def not_supported(self, key: str, value: Any, reason: str, line: int | None = None) -> None:
        self._add(key, value, "not supported", "", reason, line)

    def _add(
        self, key: str, value: Any, verdict: Verdict, to: str, reason: str, line: int | None
    ) -> None:
        text = "(hidden)" if key.lower().endswith(_SECRETS) else _short(value)
        self.entries.append(Entry(" ".join(key.split()), text, verdict, to, reason, line))


def _short(value: Any) -> str:
    if isinstance(value, list):
        text = f"[{', '.join(show(item) for item in value)}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{name}: {show(item)}' for name, item in value.items())}}}"
    else:
        text = show(value)
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else f"{flat[:57]}..."
