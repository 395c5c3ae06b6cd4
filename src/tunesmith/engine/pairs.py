"""`python -m tunesmith.engine pairs`: which answer of each pair a model prefers. Read `compare`.

    pairs TARGET --data PART... --out pairs.parquet [--max-length N]

A reward model gives both answers its score. A language model gives both their log-probability, a
label's mean, so that longer answers are no worse for being long; where it is known what it was
trained from, also the rewards of DPO, and how far the two models are apart. Pairs are packed as in
training. Progress goes to standard output, one JSON object a line.

Shapes: P pairs of a micro-batch, 2P their documents (better and worse in turn), N labels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.tokenise import Fit
from tunesmith.engine.attention import register_flat_attention
from tunesmith.engine.batch import FlatBatch
from tunesmith.engine.generate import Answerer, Target, find_target, load_for_inference, renderer_of
from tunesmith.engine.head import divergence, token_log_probs
from tunesmith.engine.methods.put_on import put_on
from tunesmith.engine.models import decide_dtype, load_reward_model
from tunesmith.engine.score import (
    downloading,
    dropped_of,
    limit_of,
    nothing_to_score,
    run_command,
    tokenise,
    write_table,
)
from tunesmith.engine.scorer import OnProgress, Reader, Scorer, sums_by_document
from tunesmith.engine.setup import choose_device
from tunesmith.engine.stages.reward import document_rewards
from tunesmith.models.files import is_reward_model
from tunesmith.recipe import Dpo, Kto, Recipe

Kind = Literal["reward", "log_prob"]
# By kind, what is measured of each pair.
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "reward": ("better", "worse"),
    "log_prob": ("better", "worse", "better_reward", "worse_reward", "kl"),
}


@dataclass(frozen=True)
class Compared:
    """What was found of each pair: one row a pair, one column a name.

    `better` and `worse` are rewards, or mean log-probabilities of a label. The rewards of a
    language model are beta times the sum over an answer's labels of what their log-probability rose
    above that of the base, beta being that of its training if it had one, else 1. `kl` is the mean
    over the labels of both answers of KL(model || base), over the whole vocabulary, in nats.
    """

    kind: Kind
    rows: np.ndarray  # ids of stored rows
    values: dict[str, np.ndarray]
    base: str | None  # that rewards of a language model are told from
    truncated: int
    dropped: dict[str, int]

    def write(self, path: Path) -> None:
        """A table that appears when it is complete."""
        write_table({"row": self.rows, **self.values}, path)

    def told(self) -> dict[str, Any]:
        """What is said of it when it is done."""
        facts = {"rows": len(self.rows), "measured": self.kind, "base": self.base}
        return {**facts, "truncated": self.truncated, "dropped": self.dropped}


def main(arguments: list[str]) -> int:
    """Compare the answers of the pairs in some files."""
    return run_command("pairs", arguments, compare)


def compare(
    target: str,
    files: list[Path],
    *,
    adapter: str | None = None,
    device: str = "auto",
    max_length: int | None = None,
    on_progress: OnProgress,
) -> Compared:
    """Load a model and ask which answer of each pair it prefers."""
    report = downloading(on_progress)
    found = find_target(target, adapter, report)
    place = choose_device(device)
    if _scores(found):
        judge: _Judge = _RewardModel.open(found, place)
    else:
        answerer = load_for_inference(
            target, adapter=adapter, device=device, compare=True, on_progress=report
        )
        judge = _LanguageModel.of(answerer, found.recipe)
    limit = limit_of(judge.model.config, max_length)
    with tempfile.TemporaryDirectory(prefix="tunesmith-pairs-") as folder:
        fit = Fit(limit, "truncate", view="pairs")
        table = tokenise(files, judge.renderer, fit, Path(folder), on_progress)
        dropped = dropped_of(table)
        if not len(table):
            raise nothing_to_score(dropped, "A pair has a question, a better and a worse answer.")
        names = COLUMNS[judge.kind]
        values = Scorer(place, judge.values, len(names)).run(table, on_progress)
        return Compared(
            kind=judge.kind,
            rows=np.array(table.lines),
            values={n: c for n, c in zip(names, values.T, strict=True) if not np.isnan(c).all()},
            base=judge.base,
            truncated=int((table.full_lengths > table.lengths).sum()),
            dropped=dropped,
        )


class _RewardModel:
    """Scores both answers."""

    kind: Kind = "reward"
    base: str | None = None

    def __init__(self, model: Any, renderer: Any) -> None:
        self.model, self.renderer = model, renderer
        self._reader = Reader.of(model)

    @classmethod
    def open(cls, found: Target, device: torch.device) -> _RewardModel:
        wanted = "auto" if found.recipe is None else found.recipe.model.dtype
        model: Any = load_reward_model(
            found.directory,
            seed=0,
            dtype=decide_dtype(wanted, device),
            attention=register_flat_attention(),
            device=device,
        )
        if found.adapter is not None:  # a checkpoint, which holds the score beside the adapter
            model = put_on(model, found.adapter)
        return cls(model.eval(), renderer_of(found)[0])

    def values(self, batch: FlatBatch) -> Tensor:
        """[P, 2]."""
        return document_rewards(self._reader.backbone, self._reader.head, batch).view(-1, 2)


class _LanguageModel:
    """Says how likely both answers are, beside the model that it was trained from."""

    kind: Kind = "log_prob"

    def __init__(
        self,
        answerer: Answerer,
        beta: float,
        reader: Reader,
        reader_of_base: Reader | None,
        as_base: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.model, self.renderer = answerer.model, answerer.renderer
        self.base = None if reader_of_base is None else answerer.base_name
        self._beta, self._as_base = beta, as_base
        self._reader, self._reader_of_base = reader, reader_of_base

    @classmethod
    def of(cls, answerer: Answerer, recipe: Recipe | None) -> _LanguageModel:
        """An adapter is switched off to be the base; other results have their base beside them.

        A base that lacks tokens of the result cannot read the same answers: then there is none.
        """
        reader, beta = Reader.of(answerer.model), _beta(recipe)
        if recipe is not None and recipe.model.new_words:
            return cls(answerer, beta, reader, None)
        if hasattr(answerer.model, "disable_adapter"):
            off = getattr(reader.backbone, "adapters_off", answerer.model.disable_adapter)
            return cls(answerer, beta, reader, reader, off)
        if answerer.load_base is None:
            return cls(answerer, beta, reader, None)
        return cls(answerer, beta, reader, Reader.of(answerer.load_base().model))

    def values(self, batch: FlatBatch) -> Tensor:
        """[P, 5]; rewards and KL are NaN where no base is known."""
        sources_ND = self._reader.hidden(batch)[batch.sources_N]
        own_N = token_log_probs(sources_ND, batch.labels_N, self._reader.head).log_probs_N
        own_2P = sums_by_document(own_N, batch)
        labels_2P = sums_by_document(torch.ones_like(own_N), batch)
        columns = torch.full((len(own_2P) // 2, 5), torch.nan, dtype=torch.float64)
        columns[:, :2] = (own_2P / labels_2P).view(-1, 2)
        if self._reader_of_base is not None:
            before_N, apart_N = self._beside_base(batch, sources_ND, self._reader_of_base)
            gains_P2 = sums_by_document(own_N - before_N, batch).view(-1, 2)
            columns[:, 2:4] = self._beta * gains_P2
            apart_P2 = sums_by_document(apart_N, batch).view(-1, 2)
            columns[:, 4] = apart_P2.sum(1) / labels_2P.view(-1, 2).sum(1)
        return columns

    def _beside_base(
        self, batch: FlatBatch, sources_ND: Tensor, reader: Reader
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the labels before training, and the distance of each position."""
        with self._as_base():
            before_ND = reader.hidden(batch)[batch.sources_N]
            before_N = token_log_probs(before_ND, batch.labels_N, reader.head).log_probs_N
        return before_N, divergence(sources_ND, self._reader.head, before_ND, reader.head)


def _scores(found: Target) -> bool:
    """Whether a target is a reward model, or an adapter that makes one of its base."""
    if found.adapter is None:
        return is_reward_model(found.directory)
    return found.recipe is not None and found.recipe.stage.kind == "rm"


def _beta(recipe: Recipe | None) -> float:
    """The scale of rewards in the training of a result; other stages have no such rewards."""
    stage = None if recipe is None else recipe.stage
    return stage.beta if isinstance(stage, Dpo | Kto) else 1.0


_Judge = _RewardModel | _LanguageModel
