"""What a row asks and what it answers, as two texts."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tunesmith.data.check.texts import Texts
from tunesmith.data.conversation import Message, PreferencePair, StoredRecord, Text
from tunesmith.data.store.rows import StoredRow

LOOKED_AT = 20_000  # characters of a text; what lies between its beginning and its end is left out
Pair = tuple[str, str]


def asked_and_said(record: StoredRecord) -> Pair:
    """(question, answer): all turns of each; of two answers the better; a document is an answer."""
    if isinstance(record, Text):
        return "", record.text
    turns: Sequence[Message] = record.messages
    if isinstance(record, PreferencePair):
        turns = (*turns, *record.chosen)
    question = "\n".join(m.content for m in turns if m.role == "user" and m.content)
    answer = "\n".join(m.content for m in turns if m.role == "assistant" and m.content)
    return question, answer


def first_question(record: StoredRecord) -> str:
    """What the row begins with: its first question, or the beginning of a document."""
    if isinstance(record, Text):
        return record.text[:500]
    return next((m.content for m in record.messages if m.role == "user"), "")


def pairs_of(rows: Sequence[StoredRow]) -> list[Pair]:
    """`asked_and_said` of some rows, the middle of enormous texts left out."""
    return [
        (shortened(question), shortened(answer))
        for question, answer in (asked_and_said(row.record) for row in rows)
    ]


def shortened(text: str) -> str:
    """A long text without its middle."""
    if len(text) <= LOOKED_AT:
        return text
    return text[: LOOKED_AT - 2000] + "\n" + text[-2000:]


def as_texts(pairs: Sequence[Pair]) -> Texts:
    """Pairs in the form in which a check looks at them."""
    columns = (
        [question for question, _ in pairs],
        [answer for _, answer in pairs],
        [f"{question}\n{answer}" if question else answer for question, answer in pairs],
    )
    return Texts(*(pa.array(column, pa.large_string()) for column in columns))
