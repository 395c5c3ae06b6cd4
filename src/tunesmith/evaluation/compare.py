"""Two models, the same rows: what got better, what got worse, and a verdict. Read `compare` first.

OUT/
  base/ tuned/        answers and scores of each model, as of an evaluation
  general/            the same for the general questions
  comparison.json     differences with intervals, wins and losses, the verdict
  report.html         the same for people
  manifest.json       written last
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tunesmith.errors import InputError
from tunesmith.evaluation.evaluate import (
    MANIFEST,
    REPORT,
    SCORES,
    Evaluation,
    Settings,
    evaluate,
    finite,
    score_facts,
    scores_document,
    write_json,
    write_manifest,
)
from tunesmith.evaluation.files import BESIDE_BASE, PREFERENCES
from tunesmith.evaluation.judging import Duel, judge_all
from tunesmith.evaluation.predictions import OnProgress
from tunesmith.evaluation.report.texts import reason_text
from tunesmith.evaluation.rows import TestSet, read_test_set
from tunesmith.evaluation.scores.judge import judged_score
from tunesmith.evaluation.scores.score import Score
from tunesmith.evaluation.scoring import NAMES, Selection, select, unknown_score
from tunesmith.evaluation.served import Place
from tunesmith.evaluation.statistics import (
    RESAMPLES,
    SEED,
    Compared,
    Paired,
    paired_bootstrap,
    sign_test,
)
from tunesmith.evaluation.together import both
from tunesmith.evaluation.verdict import Forgetting, Growth, Measured, Verdict, decide
from tunesmith.recipe.gate import Gate
from tunesmith.runs.files import write_atomically

COMPARISON = "comparison.json"
NONE = "none"
GENERAL_TOKENS = 64  # enough for a short answer; a probe asks for no more
_SAME = 1e-9


@dataclass(frozen=True)
class Contest:
    """One score of both models: intervals, and who won which row."""

    base: Score
    tuned: Score
    compared: Compared
    wins: list[int]  # numbers of rows
    losses: list[int]
    ties: int
    sign_p: float

    @property
    def name(self) -> str:
        return self.base.name

    @property
    def num_rows(self) -> int:
        return len(self.wins) + len(self.losses) + self.ties


@dataclass(frozen=True)
class Probe:
    """The general questions and what both models made of them."""

    base: Evaluation
    tuned: Evaluation
    contest: Contest


@dataclass(frozen=True)
class Comparison:
    """Everything that was found about two models."""

    base: Evaluation
    tuned: Evaluation
    contests: list[Contest]
    probe: Probe | None
    growth: Growth
    gate: Gate
    verdict: Verdict

    @property
    def test(self) -> TestSet:
        return self.base.test

    @property
    def alone(self) -> list[Score]:
        """What is known of the tuned model beside its base, which itself has no such score."""
        shared = {each.name for each in self.contests}
        return [s for s in self.tuned.scores if s.name in BESIDE_BASE and s.name not in shared]

    @property
    def primary(self) -> Contest:
        return next(each for each in self.contests if each.name == self.gate.primary)


Answered = tuple[Evaluation, Evaluation | None]  # the test rows, the general questions


@dataclass(frozen=True)
class Exam:
    """What both models have to do, and by which rules; the gate names its primary score."""

    test: TestSet
    selection: Selection
    general: TestSet | None
    folder: Path
    settings: Settings
    gate: Gate

    def answer(self, place: Place, side: str, on_progress: OnProgress) -> Answered:
        """One model's part: the test rows, then the general questions.

        Args:
            side: `base` or `tuned`. What is answered already is not asked again.
        """
        selection = self.selection
        if side == "base":  # nobody asks what the base itself was trained from
            shared = tuple(name for name in selection.names if name not in BESIDE_BASE)
            selection = replace(selection, names=shared)
        one = evaluate(
            place,
            self.test,
            selection,
            self.folder / side,
            self.settings,
            on_progress=on_progress,
            judged=False,
        )
        if self.general is None:
            return one, None
        folder = self.folder / "general" / side
        return one, _evaluate_general(place, self.general, folder, self.settings, on_progress)


def set_exam(
    test: TestSet,
    folder: Path,
    settings: Settings,
    gate: Gate,
    scores: Sequence[str] = (),
    *,
    asks: bool = True,
) -> Exam:
    """The exam on some rows; scores are those that suit the references when none are named.

    Args:
        asks: Both models are asked for answers; else one of them is not served, such as a reward
            model, and all is measured.
    """
    if not asks and settings.judge is not None:
        raise InputError(
            "One of the models is not served, so there are no answers for a judge to compare.",
            hint="Leave --judge out.",
            code="nothing_to_judge",
        )
    selection = _selection(test, scores, gate, settings, asks=asks)
    probed = asks and gate.general != NONE
    general = read_test_set(gate.general, split="test") if probed else None
    gate = gate.model_copy(update={"primary": selection.primary})
    return Exam(test, selection, general, folder, settings, gate)


def compare(base: Place, tuned: Place, exam: Exam, *, on_progress: OnProgress) -> Comparison:
    """Both models take the exam; then the rules decide."""
    (exam.folder / MANIFEST).unlink(missing_ok=True)
    of_both = _both_answer(base, tuned, exam, on_progress)
    (of_base, base_general), (of_tuned, tuned_general) = of_both
    settings, gate = exam.settings, exam.gate
    of_base, of_tuned = _judged(of_base, of_tuned, exam.folder, settings, on_progress)
    on_progress("Comparing the models", 0, 0)
    contests = contests_of(of_base.scores, of_tuned.scores, confidence=gate.confidence)
    probe = None
    if base_general is not None and tuned_general is not None:
        name = base_general.selection.primary
        both = contests_of(base_general.scores, tuned_general.scores, confidence=gate.confidence)
        probe = Probe(base_general, tuned_general, next(c for c in both if c.name == name))
    growth = growth_of(contests)
    verdict = judge_contests(gate, contests, probe, growth)
    return Comparison(of_base, of_tuned, contests, probe, growth, gate, verdict)


def _both_answer(
    base: Place, tuned: Place, exam: Exam, on_progress: OnProgress
) -> tuple[Answered, Answered]:
    """At once where one process serves both, else one after the other: one model in memory."""
    if not tuned.is_beside(base):
        with base:
            of_base = exam.answer(base, "base", _told(on_progress, "base"))
        with tuned:
            return of_base, exam.answer(tuned, "tuned", _told(on_progress, "tuned"))
    settings = replace(exam.settings, parallel=max(1, exam.settings.parallel // 2))
    half = replace(exam, settings=settings)  # so that no more requests are under way in all
    with base, tuned:
        return both(
            lambda tell: half.answer(base, "base", tell),
            lambda tell: half.answer(tuned, "tuned", tell),
            _told(on_progress, "base and tuned"),
        )


def _told(on_progress: OnProgress, side: str) -> OnProgress:
    return lambda kind, done, total: on_progress(f"{kind}, {side}", done, total)


def _selection(
    test: TestSet, scores: Sequence[str], gate: Gate, settings: Settings, *, asks: bool
) -> Selection:
    """The scores with the primary one first: named by the gate, or by what the references are."""
    selection = select(test.rows, scores, settings.options, asks=asks)
    if settings.judge is not None and "judge" not in selection.names:
        selection = replace(selection, names=(*selection.names, "judge"))
    primary = selection.primary if gate.primary == "auto" else gate.primary
    if primary in BESIDE_BASE:
        raise InputError(
            f"{primary} cannot decide between two models: it is told of the tuned one alone.",
            hint=f"Put another one first: --scores {PREFERENCES[0]},{primary}.",
            code="unknown_score",
        )
    if gate.primary == "auto":
        return selection
    if gate.primary not in NAMES and settings.options.scorer is None:
        raise unknown_score(gate.primary)
    rest = [name for name in selection.names if name != gate.primary]
    return replace(selection, names=(gate.primary, *rest))


def _evaluate_general(
    place: Place, general: TestSet, folder: Path, settings: Settings, on_progress: OnProgress
) -> Evaluation:
    """Only the primary score of the general questions, in short answers."""
    selection = select(general.rows, (), settings.options)
    selection = replace(selection, names=(selection.primary, "length"))
    longest = max(len(row.reference) for row in general.rows)
    tokens = GENERAL_TOKENS if longest < GENERAL_TOKENS else settings.sampling.max_tokens
    own = replace(
        settings,
        sampling=replace(settings.sampling, max_tokens=min(tokens, settings.sampling.max_tokens)),
        options=replace(settings.options, scorer=None),
    )
    return evaluate(place, general, selection, folder, own, on_progress=on_progress, judged=False)


def _judged(
    base: Evaluation,
    tuned: Evaluation,
    folder: Path,
    settings: Settings,
    on_progress: OnProgress,
) -> tuple[Evaluation, Evaluation]:
    """Both answers before the judge; what the tuned one gains, the other loses."""
    if settings.judge is None:
        return base, tuned
    duels: list[Duel] = []
    for row in base.test.rows:
        first = base.predictions[row.id].prediction
        second = tuned.predictions[row.id].prediction
        key = hashlib.sha256(orjson.dumps([row.digest, first, second])).hexdigest()[:24]
        request = orjson.dumps(row.messages).decode() if len(row.messages) > 1 else row.question
        duels.append(Duel(key, request, row.reference, first, second))
    worth = judge_all(
        duels, folder, settings.judge, parallel=settings.parallel, on_progress=on_progress
    )
    lost = [None if value is None else 1 - value for value in worth]
    return (
        replace(base, scores=[*base.scores, judged_score(lost)]),
        replace(tuned, scores=[*tuned.scores, judged_score(worth)]),
    )


def contests_of(
    base: Sequence[Score],
    tuned: Sequence[Score],
    *,
    confidence: float,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[Contest]:
    """Every score that both models have, over the same resamples of the rows."""
    others = {score.name: score for score in tuned}
    both = [(s, others[s.name]) for s in base if s.name in others and _alike(s, others[s.name])]
    pairs = [_paired(one, other) for one, other in both]
    found = paired_bootstrap(pairs, resamples=resamples, confidence=confidence, seed=seed)
    return [_contest(*pair, each) for pair, each in zip(both, found, strict=True)]


def _alike(one: Score, other: Score) -> bool:
    """Margins of a reward model and of log-probabilities have no difference; shares do."""
    return one.unit == "share" or one.about.get("measured") == other.about.get("measured")


def _paired(base: Score, tuned: Score) -> Paired:
    """The sums of rows that both models have; a row that one lacks counts for neither."""
    there = [b is not None and t is not None for b, t in zip(base.rows, tuned.rows, strict=True)]
    there_N1 = np.array(there, np.float64)[:, None]
    return Paired(base.sums_NK * there_N1, tuned.sums_NK * there_N1, base.aggregate)


def _contest(base: Score, tuned: Score, compared: Compared) -> Contest:
    sign = -1 if base.better == "lower" else 1
    wins: list[int] = []
    losses: list[int] = []
    ties = 0
    for number, (b, t) in enumerate(zip(base.rows, tuned.rows, strict=True)):
        if b is None or t is None:
            continue
        gain = sign * (t - b)
        if abs(gain) <= _SAME:
            ties += 1
        else:
            (wins if gain > 0 else losses).append(number)
    return Contest(base, tuned, compared, wins, losses, ties, sign_test(len(wins), len(losses)))


def growth_of(contests: Sequence[Contest]) -> Growth:
    """How much longer and slower the answers became.

    Length is measured against the longer of the base's answers and the references: a model that
    learned to answer as fully as its examples did what it was asked to.
    """
    by_name = {contest.name: contest for contest in contests}
    length, latency = by_name.get("length"), by_name.get("latency")
    longest = length and max(length.base.value, float(length.base.about.get("reference", 0)))
    return Growth(
        _ratio(length.tuned.value, longest) if length and longest else None,
        _ratio(latency.tuned.value, latency.base.value) if latency else None,
    )


def _ratio(new: float, old: float) -> float | None:
    return finite(new / old - 1) if old > 0 else None


def judge_contests(
    gate: Gate, contests: Sequence[Contest], probe: Probe | None, growth: Growth
) -> Verdict:
    """The verdict on what was found; the gate names its primary score."""
    primary = next((each for each in contests if each.name == gate.primary), None)
    if primary is None and gate.primary in NAMES:
        raise InputError(
            f"{gate.primary} has no difference here: the models were not measured in one unit.",
            hint=f"Choose another one with --gate primary=NAME, such as {PREFERENCES[0]}.",
            code="unknown_score",
        )
    if primary is None:
        raise unknown_score(gate.primary)
    if primary.base.better == "neither":
        raise InputError(
            f"{gate.primary} cannot be the primary score: neither more nor less of it is better.",
            hint="Choose another one with --gate primary=NAME.",
            code="unknown_score",
        )
    forgetting = probe and Forgetting(
        probe.contest.num_rows,
        probe.contest.compared.base.value,
        probe.contest.compared.tuned.value,
        probe.contest.compared.difference,
    )
    return decide(gate, measured(primary), forgetting, growth)


def measured(contest: Contest) -> Measured:
    """A contest as the rules look at it."""
    compared = contest.compared
    return Measured(
        name=contest.name,
        unit=contest.base.unit,
        better=contest.base.better,
        base=compared.base.value,
        tuned=compared.tuned.value,
        difference=compared.difference,
        rows=contest.num_rows,
        wins=len(contest.wins),
        losses=len(contest.losses),
        sign_p=contest.sign_p,
        is_verdict=contest.base.is_verdict,
    )


def finish(comparison: Comparison, folder: Path, page: str) -> None:
    """Write the documents, the report, and the manifest last."""
    write_json(folder / "base" / SCORES, scores_document(comparison.base))
    write_json(folder / "tuned" / SCORES, scores_document(comparison.tuned))
    if comparison.probe is not None:
        write_json(folder / "general" / "base" / SCORES, scores_document(comparison.probe.base))
        write_json(folder / "general" / "tuned" / SCORES, scores_document(comparison.probe.tuned))
    write_json(folder / COMPARISON, comparison_document(comparison))
    write_atomically(folder / REPORT, page)
    write_manifest(folder, "comparison")


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """All that comparison.json says."""
    verdict, test = comparison.verdict, comparison.test
    return {
        "verdict": verdict.result,
        "because": reason_text(verdict.reasons[0], "en"),
        "reasons": [asdict(reason) for reason in verdict.reasons],
        "base": comparison.base.model,
        "tuned": comparison.tuned.model,
        "data": test.name,
        "split": test.split,
        "rows": len(test.rows),
        "skipped": test.skipped,
        "refused": {"base": comparison.base.refused, "tuned": comparison.tuned.refused},
        "primary": comparison.gate.primary,
        "gate": comparison.gate.model_dump(mode="json"),
        "resamples": RESAMPLES,
        "seed": SEED,
        "scores": {each.name: _contest_document(each, test) for each in comparison.contests},
        "tuned_alone": {score.name: score_facts(score) for score in comparison.alone},
        "general": comparison.probe and _probe_document(comparison.probe),
        "length_growth": comparison.growth.length,
        "latency_growth": comparison.growth.latency,
    }


def _contest_document(contest: Contest, test: TestSet) -> dict[str, Any]:
    compared, ids = contest.compared, [row.id for row in test.rows]
    return {
        "base": _told_estimate(compared.base.value, compared.base.low, compared.base.high),
        "tuned": _told_estimate(compared.tuned.value, compared.tuned.low, compared.tuned.high),
        "difference": _told_estimate(
            compared.difference.value, compared.difference.low, compared.difference.high
        ),
        "better": contest.base.better,
        "unit": contest.base.unit,
        "rows": contest.num_rows,
        "unscored": len(contest.base.rows) - contest.num_rows,
        "wins": [ids[number] for number in contest.wins],
        "losses": [ids[number] for number in contest.losses],
        "ties": contest.ties,
        "sign_test_p": contest.sign_p,
    }


def _told_estimate(value: float, low: float, high: float) -> dict[str, float | None]:
    return {"value": finite(value), "low": finite(low), "high": finite(high)}


def _probe_document(probe: Probe) -> dict[str, Any]:
    name = probe.base.test.name
    return {"data": name, "score": probe.contest.name} | _contest_document(
        probe.contest, probe.base.test
    )
