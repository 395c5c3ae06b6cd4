"""A better and a worse answer: dpo, simpo, orpo, cpo. Read `PairStage.loss` first.

Each stage is a pure function of the log-probabilities of whole answers. A pair is one row, so it is
packed, drawn and counted like one; log-probabilities come from the chunked head.

Shapes: P pairs, N labels; the suffix 2P counts better and worse answer of each pair in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.data.batches import Rows
from tunesmith.data.table import TokenTable
from tunesmith.engine.batch import FlatBatch, flat_batch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head, TokenLogProbs
from tunesmith.engine.reference import Reference
from tunesmith.engine.stages.stage import (
    StageLoss,
    Sums,
    Totals,
    Work,
    better_counts,
    by_document,
    log_probs,
    start_of,
)
from tunesmith.recipe import Cpo, Dpo, Orpo, Simpo

_COMMON = (
    "loss", "chosen_reward", "rejected_reward", "reward_accuracy", "reward_margin",
    "chosen_log_prob", "rejected_log_prob",
)  # fmt: skip
_TOKENS = ("nll", "correct", "entropy", "chosen_logit", "rejected_logit")


@dataclass(frozen=True)
class Answers:
    """Log-probabilities of both answers of each pair, summed over their labels."""

    chosen_P: Tensor
    rejected_P: Tensor
    chosen_labels_P: Tensor
    rejected_labels_P: Tensor

    def mean(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities a label."""
        return self.chosen_P / self.chosen_labels_P, self.rejected_P / self.rejected_labels_P


@dataclass(frozen=True)
class Compared:
    """Losses and rewards of some pairs, and further sums to report."""

    losses_P: Tensor
    chosen_rewards_P: Tensor
    rejected_rewards_P: Tensor
    chosen_log_probs_P: Tensor
    rejected_log_probs_P: Tensor
    more: Sums = field(default_factory=Sums)


def sigmoid_losses(margin_P: Tensor, smoothing: float) -> Tensor:
    """-log sigmoid, with a share of the pairs taken to be the wrong way round."""
    return -F.logsigmoid(margin_P) * (1 - smoothing) - F.logsigmoid(-margin_P) * smoothing


def robust_losses(margin_P: Tensor, smoothing: float) -> Tensor:
    """The same without the bias that flipped pairs bring (Chowdhury, Kini, Natarajan 2024)."""
    kept, flipped = F.logsigmoid(margin_P), F.logsigmoid(-margin_P)
    return (-(1 - smoothing) * kept + smoothing * flipped) / (1 - 2 * smoothing)


def log_one_minus_exp(x: Tensor) -> Tensor:
    """log(1 - e^x) for x < 0, exact near both ends (Maechler 2012)."""
    near_zero = x > -0.6931472
    safe = torch.where(near_zero, x, -torch.ones_like(x))
    return torch.where(near_zero, (-torch.expm1(safe)).log(), torch.log1p(-torch.exp(x)))


class PairStage:
    """What the stages of pairs share; each adds its comparison."""

    names: tuple[str, ...] = (*_COMMON, *_TOKENS)
    scores_prompts = False

    def __init__(self, *, ftx: float = 0.0) -> None:
        self._ftx = ftx

    def totals(self, table: TokenTable, rows: Rows) -> Totals:
        """Pairs, and labels of the better answers."""
        labels, tokens = better_counts(table, rows)
        return replace(start_of(table, rows), better_targets=labels, better_tokens=tokens)

    def prepare(self, backbone: Backbone, head: Head, work: Work, totals: Totals) -> Totals:
        """Nothing is needed before."""
        del backbone, head, work
        return totals

    def batch(self, table: TokenTable, rows: Rows, device: torch.device) -> FlatBatch:
        """Both sides of each pair behind each other."""
        return flat_batch(table, rows.tolist(), device, prompts=self.scores_prompts)

    def loss(self, backbone: Backbone, head: Head, batch: FlatBatch, totals: Totals) -> StageLoss:
        """The mean over the pairs of the step, and the likelihood of better answers beside it."""
        before_2P = self.before(backbone, head, batch)
        tokens = log_probs(backbone, head, batch)
        found = self.compare(answers_of(tokens.log_probs_N, batch), before_2P)
        better_N = batch.row_of_N % 2 == 0
        nll = -tokens.log_probs_N[better_N].sum()
        nll_weight, nll_count = self.nll_share(totals)
        loss = found.losses_P.sum() / totals.rows + nll_weight * nll / nll_count
        sums = _sums(found, tokens, batch) | {"loss": loss.detach(), "nll": nll.detach()}
        return StageLoss(loss, sums, found.losses_P.detach())

    def before(self, backbone: Backbone, head: Head, batch: FlatBatch) -> Tensor | None:
        """Log-probabilities of all answers before training, where they are compared with."""
        del backbone, head, batch
        return None

    def compare(self, answers: Answers, before_2P: Tensor | None) -> Compared:
        """Losses and rewards of the pairs of a micro-batch."""
        raise NotImplementedError

    def nll_share(self, totals: Totals) -> tuple[float, int]:
        """Weight of the likelihood of better answers, and how many labels it is the mean of."""
        return self._ftx, max(totals.better_targets, 1)

    def metrics(self, sums: Mapping[str, float], totals: Totals) -> dict[str, float]:
        """Means over pairs, and over labels where single tokens count."""
        better = max(totals.better_targets, 1)
        worse = max(totals.targets - totals.better_targets, 1)
        counts = {
            "nll_loss": sums["nll"] / self.nll_share(totals)[1],
            "token_accuracy": sums["correct"] / better,
            "entropy": sums["entropy"] / max(totals.targets, 1),
            "chosen_logit": sums["chosen_logit"] / better,
            "rejected_logit": sums["rejected_logit"] / worse,
        }
        of_pairs = [name for name in self.names if name not in ("loss", *_TOKENS)]
        means = {name: sums[name] / max(totals.rows, 1) for name in of_pairs}
        return {"loss": sums["loss"], **means, **counts}


def answers_of(log_probs_N: Tensor, batch: FlatBatch) -> Answers:
    """Sums over the labels of each answer; labels of questions are left out."""
    weights_N = torch.ones_like(log_probs_N)
    if batch.prompts_N is not None:
        weights_N = (~batch.prompts_N).to(log_probs_N.dtype)
    chosen_P, rejected_P = by_document(log_probs_N * weights_N, batch).view(-1, 2).unbind(1)
    labels = by_document(weights_N, batch).view(-1, 2)
    return Answers(chosen_P, rejected_P, *labels.unbind(1))


def _sums(found: Compared, tokens: TokenLogProbs, batch: FlatBatch) -> Sums:
    chosen, rejected = found.chosen_rewards_P.detach(), found.rejected_rewards_P.detach()
    answer_N = torch.ones_like(tokens.correct_N) if batch.prompts_N is None else ~batch.prompts_N
    better_N, worse_N = answer_N & (batch.row_of_N % 2 == 0), batch.row_of_N % 2 == 1
    return {
        "chosen_reward": chosen.sum(),
        "rejected_reward": rejected.sum(),
        "reward_accuracy": (chosen > rejected).sum(),
        "reward_margin": (chosen - rejected).sum(),
        "chosen_log_prob": found.chosen_log_probs_P.detach().sum(),
        "rejected_log_prob": found.rejected_log_probs_P.detach().sum(),
        "correct": (tokens.correct_N & better_N).sum(),
        "entropy": tokens.entropy_N[answer_N].sum(),
        "chosen_logit": tokens.mean_logit_N[better_N].sum(),
        "rejected_logit": tokens.mean_logit_N[worse_N].sum(),
        **{name: value.detach() for name, value in found.more.items()},
    }


class DpoStage(PairStage):
    """Gains of both answers over the reference are compared (Rafailov and others 2023)."""

    def __init__(self, settings: Dpo, reference: Reference) -> None:
        super().__init__(ftx=settings.ftx)
        self._settings, self._reference = settings, reference

    def before(self, backbone: Backbone, head: Head, batch: FlatBatch) -> Tensor | None:
        """The reference."""
        return self._reference.log_probs(backbone, head, batch)

    def compare(self, answers: Answers, before_2P: Tensor | None) -> Compared:
        """See `losses`."""
        assert before_2P is not None
        chosen_P = answers.chosen_P - before_2P[0::2]
        rejected_P = answers.rejected_P - before_2P[1::2]
        beta = self._settings.beta
        return Compared(
            self.losses(chosen_P, rejected_P, answers),
            beta * chosen_P,
            beta * rejected_P,
            answers.chosen_P,
            answers.rejected_P,
        )

    def losses(self, chosen_P: Tensor, rejected_P: Tensor, answers: Answers) -> Tensor:
        """Losses of the pairs by what both answers gained on the reference."""
        beta, smoothing = self._settings.beta, self._settings.label_smoothing
        margin_P = beta * (chosen_P - rejected_P)
        match self._settings.loss:
            case "sigmoid":
                return sigmoid_losses(margin_P, smoothing)
            case "hinge":
                return torch.relu(1 - margin_P)
            case "robust":
                return robust_losses(margin_P, smoothing)
            case "ipo":
                # A label's mean, so that the target does not depend on the length of answers.
                gain_P = chosen_P / answers.chosen_labels_P - rejected_P / answers.rejected_labels_P
                return (gain_P - 1 / (2 * beta)) ** 2


class SimpoStage(PairStage):
    """Mean log-probabilities are compared, with a margin (Meng, Xia, Chen 2024)."""

    def __init__(self, settings: Simpo) -> None:
        super().__init__(ftx=settings.ftx)
        self._settings = settings

    def compare(self, answers: Answers, before_2P: Tensor | None) -> Compared:
        """-log sigmoid(beta * (mean chosen - mean rejected) - gamma)."""
        del before_2P
        chosen_P, rejected_P = answers.mean()
        beta, gamma = self._settings.beta, self._settings.gamma
        margin_P = beta * (chosen_P - rejected_P) - gamma
        losses_P = sigmoid_losses(margin_P, self._settings.label_smoothing)
        return Compared(losses_P, beta * chosen_P, beta * rejected_P, chosen_P, rejected_P)


class CpoStage(PairStage):
    """Log-probabilities are compared without a reference (Xu and others 2024)."""

    def __init__(self, settings: Cpo) -> None:
        super().__init__(ftx=settings.ftx)
        self._settings = settings

    def compare(self, answers: Answers, before_2P: Tensor | None) -> Compared:
        """Sums of log-probabilities, or their means for ipo."""
        del before_2P
        beta, loss = self._settings.beta, self._settings.loss
        chosen_P, rejected_P = answers.chosen_P, answers.rejected_P
        if loss == "ipo":
            chosen_P, rejected_P = answers.mean()
            losses_P = (chosen_P - rejected_P - 1 / (2 * beta)) ** 2
        elif loss == "hinge":
            losses_P = torch.relu(1 - beta * (chosen_P - rejected_P))
        else:
            margin_P = beta * (chosen_P - rejected_P)
            losses_P = sigmoid_losses(margin_P, self._settings.label_smoothing)
        return Compared(losses_P, beta * chosen_P, beta * rejected_P, chosen_P, rejected_P)


class OrpoStage(PairStage):
    """Odds of both answers are compared while better rows are learned whole (Hong and others 2024).

    The likelihood is that of question and better answer together, as in the authors' own code.
    """

    names = (*_COMMON, *_TOKENS, "log_odds_ratio", "log_odds")
    scores_prompts = True

    def __init__(self, settings: Orpo) -> None:
        super().__init__()
        self._settings = settings

    def nll_share(self, totals: Totals) -> tuple[float, int]:
        """Always learned, over all tokens of the better rows."""
        return 1.0, max(totals.better_tokens, 1)

    def compare(self, answers: Answers, before_2P: Tensor | None) -> Compared:
        """-beta * log sigmoid(log odds of chosen - log odds of rejected), of mean probabilities."""
        del before_2P
        chosen_P, rejected_P = answers.mean()
        odds_P = (chosen_P - rejected_P) - (
            log_one_minus_exp(chosen_P) - log_one_minus_exp(rejected_P)
        )
        ratio_P, beta = F.logsigmoid(odds_P), self._settings.beta
        more = {"log_odds_ratio": ratio_P.sum(), "log_odds": odds_P.sum()}
        rewards = beta * chosen_P, beta * rejected_P
        return Compared(-beta * ratio_P, *rewards, chosen_P, rejected_P, more)
