"""Which tokens come in the next step: a pure function of what runs and what waits.

First come, first served. Every row that has its prompt behind it gets its next token in every step;
prompts share what is left of the step, so a long one comes in parts and delays nobody for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much runs at once, and how many prompt tokens a step may have."""

    max_rows: int = 32
    prompt_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Plan:
    """Number of tokens of each running row, and of the waiting ones that join, in their order."""

    running: tuple[int, ...]
    joining: tuple[int, ...]


def plan_step(
    running: Sequence[tuple[int, int]],
    waiting: Sequence[tuple[int, int]],
    limits: Limits,
    fits: Callable[[int, int], bool],
) -> Plan:
    """The next step. Each row is (places in the cache, tokens to come), by arrival.

    Of those that wait, the places are the ones that a row has in front of its tokens.
    `fits(rows, longest)` says whether memory holds them.
    """
    left = limits.prompt_tokens
    chosen: list[int] = []
    for cached, pending in running:
        if cached and pending == 1:
            chosen.append(1)
        else:
            chosen.append(min(pending, left))
            left -= chosen[-1]
    joining: list[int] = []
    longest = max((cached + pending for cached, pending in running), default=0)
    for front, pending in waiting:
        rows = len(running) + len(joining) + 1
        longest = max(longest, front + pending + 1)
        if left <= 0 or rows > limits.max_rows or not (rows == 1 or fits(rows, longest)):
            break
        joining.append(min(pending, left))
        left -= joining[-1]
    return Plan(tuple(chosen), tuple(joining))
