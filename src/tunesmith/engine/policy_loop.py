"""The loop of reinforcement: write answers, judge them, learn from them. Read `_begun` first.

    questions of a step -> answers with the weights as they are -> rewards -> advantages
        -> `iterations` optimizer steps of the loop that every training has

So a step is updated, clipped, reported, saved and resumed by `Trainer`; its rows are made here.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from torch import Tensor

from tunesmith.data.batches import Rows, Step
from tunesmith.data.records import from_json
from tunesmith.data.table import TokenTable
from tunesmith.engine.checkpoint import LoopState
from tunesmith.engine.loop import Parts, Trainer, checkpoints_of
from tunesmith.engine.rollouts import (
    Answer,
    advantages_of,
    answers_table,
    described,
    load_rollouts,
    save_rollouts,
    token_values,
)
from tunesmith.engine.sampler import Draw, Sampler, draws_of_step
from tunesmith.engine.stages.policy import PolicyStage, Rollouts, Values, divergence
from tunesmith.errors import RunFailed
from tunesmith.evaluation.rewards import Answered, Judge, Judged
from tunesmith.evaluation.rows import for_request
from tunesmith.recipe import Grpo

MOST_SKIPPED = 0.2  # of the answers; more, and rewards say more about themselves than about them
WINDOW = 100  # answers, at least, over which that share is taken
FEW = 50  # answers below which only a reward for none of them is a reason to stop
KEPT, COUNTS = "rollouts.npz", "skipped.json"
SHOWN_CHARACTERS = 600

OfReference = Callable[[TokenTable], Values]


@dataclass(frozen=True)
class Writing:
    """What it takes to write and judge answers."""

    settings: Grpo
    sampler: Sampler
    judge: Judge
    reference: OfReference | None  # log-probabilities under the reference, where the loss asks


class Skipped:
    """How many of the last answers had no reward."""

    def __init__(self, rounds: Sequence[Sequence[int]] = ()) -> None:
        self._rounds = deque((int(none), int(all_)) for none, all_ in rounds)

    def add(self, none: int, total: int) -> None:
        """Count one round; the oldest ones go once the others are enough."""
        self._rounds.append((none, total))
        while sum(each for _, each in self._rounds) - self._rounds[0][1] >= WINDOW:
            self._rounds.popleft()

    def to_json(self) -> list[list[int]]:
        """What a checkpoint keeps."""
        return [list(each) for each in self._rounds]

    @property
    def counts(self) -> tuple[int, int]:
        """Answers without a reward, and all."""
        return sum(none for none, _ in self._rounds), sum(all_ for _, all_ in self._rounds)

    @property
    def is_too_much(self) -> bool:
        """Whether a run has to stop."""
        none, total = self.counts
        return none > MOST_SKIPPED * total and (total >= FEW or none == total)


class RolloutTrainer(Trainer):
    """`Trainer`, whose rows are the model's own answers."""

    def __init__(
        self, parts: Parts, writing: Writing, state: LoopState | None, found: Path | None
    ) -> None:
        super().__init__(parts, state)
        assert isinstance(parts.stage, PolicyStage)
        self._stage, self._writing = parts.stage, writing
        self._questions = parts.table
        self._round = 0  # the first step of the answers that are learned from
        self._asked = np.zeros(0, np.int64)  # the row of each answer's question
        self._skipped = Skipped()
        write = parts.write_weights
        parts.write_weights = lambda path: (write(path), self._keep(path))[0]
        if found is not None:
            self._take_up(found)

    # ------------------------------------------------------------ one step

    def _begun(self, step: Step) -> Step:
        """The step with answers for rows; every `iterations` steps there are new ones."""
        every = self._writing.settings.iterations
        first = (step.number - 1) // every * every + 1
        if first != self._round:
            self._write(step, first)
        return replace(step, rows=np.arange(len(self.parts.table), dtype=np.int64))

    def _write(self, step: Step, first: int) -> None:
        """Answers to the questions of a step, judged, with all that the loss asks of them."""
        settings = self._writing.settings
        draws = draws_of_step(step.rows, settings.group_size)
        pairs = self._judged_answers(self._questions, draws, first, self._writing.sampler)
        none = sum(judged.reward is None for _, judged in pairs)
        self._skipped.add(none, len(pairs))
        if self._skipped.is_too_much:
            raise self._too_many_skipped(step, pairs)
        self._show(step, pairs)
        self._learn_from(pairs, len(step.rows))
        self._round = first

    def _judged_answers(
        self, questions: TokenTable, draws: Sequence[Draw], step: int, sampler: Sampler
    ) -> list[tuple[Answer, Judged]]:
        """Answers with their rewards, in order; each process writes and judges its share."""
        parts = self.parts
        ranks = parts.ranks
        mine = [draw for draw in draws if draw.place % ranks.world_size == ranks.rank]

        def on_progress(done: int, total: int) -> None:
            parts.reporter.progress("write", done, total, "answers")

        answers = sampler.answers(questions, mine, step, on_progress)
        judged = self._writing.judge.judge([answered(questions, answer) for answer in answers])
        own = list(zip(answers, judged, strict=True))
        found = [pair for each in ranks.gather(own) for pair in each]
        return sorted(found, key=lambda pair: (pair[0].place, pair[0].turn))

    def _learn_from(self, pairs: Sequence[tuple[Answer, Judged]], num_questions: int) -> None:
        """Make answers with a reward the rows of the next steps."""
        settings, parts = self._writing.settings, self.parts
        rewards = np.array([np.nan if j.reward is None else j.reward for _, j in pairs])
        advantages = advantages_of(rewards.reshape(num_questions, -1), settings).ravel()
        kept = np.flatnonzero(~np.isnan(rewards))
        answers = [pairs[at][0] for at in kept.tolist()]
        table = answers_table(self._questions, answers, mask_cut=settings.mask_truncated)
        old = self._values(table) if settings.iterations > 1 else None
        reference = None if self._writing.reference is None else self._writing.reference(table)
        told = described(
            [answer for answer, _ in pairs],
            [j.reward for _, j in pairs],
            [j.parts for _, j in pairs],
        )
        self._asked = np.array([answer.row for answer in answers], np.int64)
        rollouts = Rollouts(table, advantages[kept].astype(np.float32), old, reference, told)
        self._stage.use(rollouts)
        parts.table = table

    def _values(self, table: TokenTable) -> Values:
        parts = self.parts
        return token_values(
            parts.backbone,
            parts.head,
            table,
            temperature=self._writing.settings.temperature,
            budget=self._micro_batch_tokens,
            device=parts.device,
        )

    def _record_rows(self, step: Step, losses: list[tuple[Rows, Tensor]]) -> None:
        """A policy's loss says nothing about a row of the data."""

    def _told_rows(self, step: Step) -> list[int]:
        """The questions of a step."""
        del step
        return [int(row) for row in dict.fromkeys(self._asked.tolist())]

    # ------------------------------------------------------------ what is told

    def _show(self, step: Step, pairs: Sequence[tuple[Answer, Judged]]) -> None:
        """A few answers as an event, spread over the step."""
        count = min(self._writing.settings.show_rollouts, len(pairs))
        every = self._settings.log_every_steps
        if not count or (step.number % every and step.number != 1):
            return
        chosen = [pairs[number * len(pairs) // count] for number in range(count)]
        samples = [self._sample(*pair) for pair in chosen]
        self.parts.reporter.emit("rollouts", step=step.number, samples=samples)

    def _sample(self, answer: Answer, judged: Judged) -> dict[str, Any]:
        asked = answered(self._questions, answer)
        question = str(asked.messages[-1].get("content") or "")
        return {
            "place": self._place_of(answer.row),
            "question": question[-SHOWN_CHARACTERS:],
            "answer": answer.text[:SHOWN_CHARACTERS],
            "tokens": len(answer.ids),
            "cut": answer.is_cut,
            "reward": judged.reward,
            "rewards": judged.parts,
            **({"skipped": judged.why[-SHOWN_CHARACTERS:]} if judged.why else {}),
        }

    def _place_of(self, row: int) -> str:
        table = self._questions
        return f"{table.source_names[int(table.sources[row])]} line {int(table.lines[row])}"

    def _too_many_skipped(self, step: Step, pairs: Sequence[tuple[Answer, Judged]]) -> RunFailed:
        none, total = self._skipped.counts
        why = next((judged.why for _, judged in reversed(pairs) if judged.why), "")
        return RunFailed(
            f"{none} of the last {total} answers have no reward at step {step.number}; at most "
            f"{MOST_SKIPPED:.0%} may be left out. The last one: {why[-300:]} "
            f"{checkpoints_of(self.parts.run)}",
            hint="Mend that source in stage.rewards. Every answer has to get a finite number in "
            "time, the odd ones too.",
            code="rewards_failed",
            step=step.number,
            skipped=none,
            answers=total,
            why=why[-300:],
        )

    # ------------------------------------------------------------ evaluation

    def _measured(self, table: TokenTable) -> dict[str, float]:
        """Rewards of the likeliest answers to the questions of a table; the loss is minus that."""
        draws = [Draw(place, 0, place) for place in range(len(table))]
        sampler = self._writing.sampler.likeliest()
        pairs = self._judged_answers(table, draws, self.state.step, sampler)
        told = described(
            [answer for answer, _ in pairs],
            [j.reward for _, j in pairs],
            [j.parts for _, j in pairs],
        )
        del told["reward_equal_share"]  # there is one answer to each question
        if self._writing.reference is not None:
            told["kl"] = self._divergence(answers_table(table, [answer for answer, _ in pairs]))
        return {"loss": -told["reward"], **told}

    def _divergence(self, table: TokenTable) -> float:
        """Mean KL a token of written answers from the reference."""
        assert self._writing.reference is not None
        now, before = self._values(table), self._writing.reference(table)
        both = (torch.from_numpy(np.concatenate(values)) for values in (now, before))
        return float(divergence(*both).mean())

    # ------------------------------------------------------------ kept with a checkpoint

    def _keep(self, path: Path) -> None:
        """What a resumed run has to know: counts, and answers that are not used up."""
        text = json.dumps({"first": self._round, "skipped": self._skipped.to_json()})
        (path / COUNTS).write_text(text, encoding="utf-8")
        if self.state.step < self._round + self._writing.settings.iterations - 1:
            save_rollouts(path / KEPT, self._stage.rollouts, self._asked)

    def _take_up(self, path: Path) -> None:
        """Go on with the answers of a checkpoint."""
        saved = json.loads((path / COUNTS).read_text(encoding="utf-8"))
        self._skipped = Skipped(saved["skipped"])
        if not (path / KEPT).is_file():
            return
        rollouts, self._asked, _ = load_rollouts(path / KEPT, self._questions)
        self._stage.use(rollouts)
        self.parts.table = rollouts.table
        self._round = int(saved["first"])


def answered(questions: TokenTable, answer: Answer) -> Answered:
    """An answer as rewards see it, with its question and the fields of its row."""
    prompt: Any = from_json(orjson.loads(questions.notes.of(answer.row)))
    return Answered([for_request(turn) for turn in prompt.messages], prompt.fields, answer.text)
