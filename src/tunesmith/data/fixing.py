"""The mends that cannot do harm: each row keeps its meaning, and the diff shows every change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.data.check.rules import RULES
from tunesmith.data.check.texts import MENDABLE, mended
from tunesmith.data.conversation import Message, Text
from tunesmith.data.editing import in_texts, rewrite
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow
from tunesmith.data.tokenise import Progress
from tunesmith.errors import InputError

FIXES = tuple(code for code, rule in RULES.items() if rule.fix)


@dataclass(frozen=True)
class Fixed:
    """The new version, None where there was nothing to mend, and how many rows each mend met."""

    version: Version | None
    counts: dict[str, int]


def fix(
    catalog: Catalog,
    version: Version,
    codes: Sequence[str] = FIXES,
    *,
    on_progress: Progress,
) -> Fixed:
    """Apply safe mends to all rows, as a new version."""
    unknown = [code for code in codes if code not in FIXES]
    if unknown:
        raise InputError(
            f"There is no safe mend for '{unknown[0]}'.", hint=f"Safe mends: {', '.join(FIXES)}."
        )
    mender = _Mender(codes)
    operation: dict[str, Any] = {"operation": "fix", "codes": list(codes)}
    new = rewrite(catalog, version, mender, operation=operation, on_progress=on_progress)
    return Fixed(new, dict(mender.counts))


class _Mender:
    """Mends one row after the other, and counts."""

    def __init__(self, codes: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._seen: set[int] | None = set() if "duplicate" in codes else None
        wanted = [code for code in codes if RULES[code].fix == "rewrite"]
        self._texts = sorted(wanted, key=_order)

    def __call__(self, row: StoredRow) -> StoredRow | None:
        for code in self._texts:
            mend = _MENDS.get(code) or _text_mend(code)
            new = mend(row)
            if new is not row:
                self.counts[code] += 1
                row = new
        if self._seen is not None:
            if row.digest in self._seen:
                self.counts["duplicate"] += 1
                return None
            self._seen.add(row.digest)
        return row


def _order(code: str) -> int:
    """Garbled characters first: taking control characters out of them would destroy them."""
    return MENDABLE.index(code) if code in MENDABLE else len(MENDABLE)


def _text_mend(code: str) -> Callable[[StoredRow], StoredRow]:
    def mend(row: StoredRow) -> StoredRow:
        return in_texts(row, "all", lambda text: mended(code, text) or text)

    return mend


def _trim_answers(row: StoredRow) -> StoredRow:
    """Answers without spaces and line breaks around them; a document stays as it is."""
    record = row.record
    if isinstance(record, Text):
        return row
    turns = tuple(_trimmed(message) for message in record.messages)
    return row if turns == record.messages else row.with_record(replace(record, messages=turns))


def _trimmed(message: Message) -> Message:
    text = message.content.strip()
    if message.role != "assistant" or text == message.content:
        return message
    return replace(message, content=text)


_MENDS: dict[str, Callable[[StoredRow], StoredRow]] = {"surrounding_space": _trim_answers}
