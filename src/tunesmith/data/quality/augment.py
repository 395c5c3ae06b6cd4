"""Further rows that ask the same in other words. Read `augment` first.

A row whose first question is asked in one wording of a set gets copies in other wordings of that
set, with the same answer. The rows there are stay as they are; each copy says where it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tunesmith.data.conversation import StoredRecord, Text
from tunesmith.data.quality.templates import Templates, TemplateSet
from tunesmith.data.quality.texts import first_question
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow, stored_rows, table_of
from tunesmith.data.tokenise import Progress

ORIGIN, SET = "augmented_from", "template"  # columns of the new rows


@dataclass
class Augmented:
    """The new version, None where no row was added, and what was done."""

    subject: str
    templates: str
    rows: int = 0
    matched: int = 0
    added: int = 0
    present: int = 0  # copies that were there already
    first_id: int = 0
    sets: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    version: Version | None = None

    def to_json(self) -> dict[str, Any]:
        told = {name: value for name, value in vars(self).items() if name != "version"}
        commands: dict[str, list[str]] = {}
        if self.version is not None:
            name, label = self.version.manifest.name, self.version.label
            where = f"id >= {self.first_id}"
            commands = {
                "review": ["data", "show", label, "--where", where, "--limit", "20"],
                "undo": ["data", "rollback", f"{name}@{self.version.manifest.parent}"],
            }
        label = self.version.label if self.version else None
        return {**told, "version": label, "commands": commands}


def augment(
    catalog: Catalog,
    version: Version,
    templates: Templates,
    *,
    seed: int,
    rate: float,
    on_progress: Progress,
) -> Augmented:
    """A version with the rows there are and, behind each batch of them, their copies."""
    name = version.manifest.name
    counts = {each.name: {"matched": 0, "added": 0} for each in templates.sets}
    done = Augmented(version.label, templates.source, sets=counts)
    known = set(version.column("digest").tolist())
    newest = catalog.open(name).manifest.next_id
    done.first_id = newest
    with catalog.draft(name, next_id=newest) as draft:
        for batch in version.batches():
            draft.append(batch)
            copies: list[StoredRow] = []
            for row in stored_rows([batch]):
                done.rows += 1
                for copy in _copies(row, templates.sets, seed, rate, done):
                    if copy.digest in known:
                        done.present += 1
                        continue
                    known.add(copy.digest)
                    done.sets[copy.extra[SET]]["added"] += 1
                    copies.append(copy)
            if copies:
                done.added += len(copies)
                draft.append_new(table_of(copies).drop_columns(["id"]))
            on_progress("write", done.rows, version.manifest.rows)
        if not done.added:
            return done
        done.version = catalog.publish(
            draft,
            name,
            parent=version.manifest.version,
            operations=[_operation(templates, seed, rate, done)],
            sources=version.manifest.sources,
        )
    return done


def _operation(templates: Templates, seed: int, rate: float, done: Augmented) -> dict[str, Any]:
    return {
        "operation": "augment",
        "templates": templates.source,
        "seed": seed,
        "rate": rate,
        "count": done.added,
    }


def _copies(
    row: StoredRow, sets: Sequence[TemplateSet], seed: int, rate: float, done: Augmented
) -> Iterator[StoredRow]:
    """The row in other wordings; which ones depends on the seed and its id alone."""
    if isinstance(row.record, Text) or ORIGIN in row.extra:  # no copies of copies
        return
    question = first_question(row.record)
    for number, each in enumerate(sets):
        found = each.match(question)
        if found is None:
            continue
        asked, values = found
        done.matched += 1
        done.sets[each.name]["matched"] += 1
        chance = np.random.default_rng([seed % 2**32, row.id, number])
        others = [w for at, w in enumerate(each.wordings) if at != asked and w.takes(values)]
        wanted = math.floor(rate) + (chance.random() < rate % 1)
        for at in chance.permutation(len(others))[:wanted].tolist():
            record = _asked(row.record, others[at].filled(values))
            extra = {**row.extra, ORIGIN: row.id, SET: each.name}
            yield row.with_record(record).with_extra(extra)
        return  # the first set that knows the question


def _asked(record: StoredRecord, question: str) -> StoredRecord:
    """The record with another first question."""
    assert not isinstance(record, Text)
    messages = list(record.messages)
    at = next(number for number, message in enumerate(messages) if message.role == "user")
    messages[at] = replace(messages[at], content=question)
    return replace(record, messages=tuple(messages))
