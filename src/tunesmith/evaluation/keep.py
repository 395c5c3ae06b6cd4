"""Answers as a version of a dataset: what a model said, beside what was wanted and its scores."""

from __future__ import annotations

import math

from tunesmith.data.conversation import Conversation, Message
from tunesmith.data.records import from_json
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.catalog import bad_name, is_name
from tunesmith.data.store.rows import StoredRow, table_of
from tunesmith.errors import InputError
from tunesmith.evaluation.evaluate import Evaluation
from tunesmith.evaluation.rows import TestRow


def check_name(name: str) -> None:
    """DataError for what cannot be the name of a dataset, before anything is asked."""
    if not is_name(name):
        raise bad_name(name)


def keep_predictions(evaluation: Evaluation, name: str) -> Version:
    """The answers as the next version of a dataset: each row a conversation that ends with it."""
    if not evaluation.is_answered:
        raise InputError(
            "Nothing was answered, so there is nothing to keep as a dataset.",
            hint="Leave --keep out, or name scores that need answers.",
            code="nothing_answered",
        )
    catalog = Catalog()
    parent = catalog.open(name).manifest if catalog.versions(name) else None
    first = parent.next_id if parent else 1
    rows = [
        _stored(evaluation, number, row, first + number)
        for number, row in enumerate(evaluation.test.rows)
    ]
    with catalog.draft(name, next_id=first) as draft:
        draft.append(table_of(rows))
        return catalog.publish(
            draft,
            name,
            parent=parent.version if parent else None,
            note=f"Answers of {evaluation.model} to {evaluation.test.name}",
            operations=[
                {
                    "operation": "evaluate",
                    "model": evaluation.model,
                    "data": evaluation.test.name,
                    "split": evaluation.test.split,
                }
            ],
        )


def _stored(evaluation: Evaluation, number: int, row: TestRow, id: int) -> StoredRow:
    answer = evaluation.predictions[row.id]
    record = _record(row, answer.prediction)
    scores = {s.name: s.rows[number] for s in evaluation.scores}
    known = {n: v for n, v in scores.items() if v is not None and math.isfinite(v)}
    extra = {"row": row.id, "reference": row.reference, "scores": known, "columns": row.extra}
    blank = StoredRow(id, evaluation.test.name, number + 1, "", "", None, 0)
    return blank.with_record(record).with_extra(extra)


def _record(row: TestRow, answer: str) -> Conversation:
    """What was asked with the model's answer behind it."""
    turns = [
        {**turn, "tool_calls": _calls(turn)} if "tool_calls" in turn else turn
        for turn in row.messages
    ]
    asked = from_json({"messages": turns, "tools": row.tools})
    assert isinstance(asked, Conversation), "made of messages"
    return Conversation((*asked.messages, Message("assistant", answer)), asked.tools)


def _calls(turn: dict[str, object]) -> list[dict[str, object]]:
    calls = turn["tool_calls"]
    assert isinstance(calls, list)
    return [{**call["function"], "id": call["id"]} for call in calls]
