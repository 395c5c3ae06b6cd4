"""Does a model answer the right thing? Compare its answers with the reference answers.

An answer is right when the reference most like it is that of its own row, and it is nearly equal
to it: a model that answers something of the sort, or always the same, scores nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

THRESHOLD = 0.9


@dataclass(frozen=True)
class Verdict:
    """One answer: is it right, how like its own reference is it, which reference is nearest."""

    right: bool
    similarity: float
    nearest: int


@dataclass(frozen=True)
class Score:
    """The verdicts of all answers."""

    verdicts: tuple[Verdict, ...]

    @property
    def right(self) -> int:
        return sum(verdict.right for verdict in self.verdicts)

    @property
    def total(self) -> int:
        return len(self.verdicts)

    @property
    def accuracy(self) -> float:
        return self.right / self.total if self.verdicts else 0.0


def score_answers(
    answers: Sequence[str], references: Sequence[str], threshold: float = THRESHOLD
) -> Score:
    """Judge each answer against the distinct references; row i has reference i.

    >>> score_answers(["Call 555-0101.", "Call 555-0101."], ["Call 555-0101.", "Try again."]).right
    1
    """
    if len(answers) != len(references):
        raise ValueError(
            f"There are {len(answers)} answers and {len(references)} references; "
            "each row needs one of both."
        )
    distinct = list(dict.fromkeys(references))
    grams = [bigrams(reference) for reference in distinct]
    numbers = {reference: number for number, reference in enumerate(distinct)}
    return Score(
        tuple(
            _judge(bigrams(answer), numbers[reference], grams, threshold)
            for answer, reference in zip(answers, references, strict=True)
        )
    )


def similarity(a: str, b: str) -> float:
    """F1 of character bigrams: 1.0 for equal texts, 0.0 for nothing in common."""
    return _f1(bigrams(a), bigrams(b))


def bigrams(text: str) -> Counter[str]:
    """The character pairs of a text, white space counted as one space and trimmed."""
    text = f" {' '.join(text.split())} "
    return Counter(text[i : i + 2] for i in range(len(text) - 1))


def _judge(answer: Counter[str], own: int, grams: list[Counter[str]], threshold: float) -> Verdict:
    scores = [_f1(answer, reference) for reference in grams]
    # A tie goes to the row's own reference.
    nearest = max(range(len(scores)), key=lambda number: (scores[number], number == own))
    return Verdict(nearest == own and scores[own] >= threshold, scores[own], nearest)


def _f1(a: Counter[str], b: Counter[str]) -> float:
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 0.0
