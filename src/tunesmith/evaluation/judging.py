"""Asks a judge model about pairs of answers; its words are kept line by line and gone on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.evaluation.endpoint import Asker, Endpoint, Sampling
from tunesmith.evaluation.parallel import as_answered
from tunesmith.evaluation.scores.judge import Side, agreed, choice_in, judge_messages
from tunesmith.runs.files import storage_errors

JUDGED = "judged.jsonl"
_SAMPLING = Sampling(max_tokens=200)


@dataclass(frozen=True)
class Duel:
    """Two answers to one request; `key` stands for all of its texts."""

    key: str
    request: str
    reference: str | None
    first: str
    second: str


def judge_all(
    duels: Sequence[Duel],
    folder: Path,
    judge: Endpoint,
    *,
    parallel: int,
    on_progress: Callable[[str, int, int], None],
) -> list[float | None]:
    """What each second answer is worth beside the first: 1, 0.5, 0; None without an opinion."""
    path = folder / JUDGED
    known = _read(path)
    left = [duel for duel in duels if duel.key not in known]
    on_progress("Judging", 0, len(left))
    with storage_errors(path), path.open("ab") as log, Asker(judge, role="judge") as asker:
        answered = as_answered(asker, lambda duel: _ask(asker, duel), left, parallel)
        for done, (duel, sides) in enumerate(answered, start=1):
            known[duel.key] = sides
            told = {"key": duel.key, "straight": sides[0], "swapped": sides[1]}
            log.write(orjson.dumps(told) + b"\n")
            log.flush()
            on_progress("Judging", done, len(left))
    return [agreed(*known[duel.key]) for duel in duels]


def _ask(asker: Asker, duel: Duel) -> tuple[Side | None, Side | None]:
    if duel.first.strip() == duel.second.strip():
        return "tie", "tie"  # nobody need be asked
    straight = judge_messages(duel.request, duel.reference, duel.first, duel.second)
    swapped = judge_messages(duel.request, duel.reference, duel.second, duel.first)
    return (
        choice_in(asker.chat(straight, _SAMPLING).text),
        choice_in(asker.chat(swapped, _SAMPLING).text),
    )


def _read(path: Path) -> dict[str, tuple[Side | None, Side | None]]:
    """What is known; a torn last line is cut off, so that the next one begins a line.

    Replies that could not be read are none: the next run asks again.
    """
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        path.write_bytes(whole)
    found: list[dict[str, Any]] = [orjson.loads(line) for line in whole.splitlines()]
    sides = {told["key"]: (told["straight"], told["swapped"]) for told in found}
    return {key: both for key, both in sides.items() if None not in both}
