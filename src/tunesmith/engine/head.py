"""The language-model head and its loss, without ever holding the logits of a whole micro-batch.

Only positions with a label reach the head. They go through in chunks; the gradients of a chunk are
made right behind its loss, so that its logits are used up before the next chunk comes.

Shapes: N label positions, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine.arena import gradient_of
from tunesmith.engine.loss_scale import LossScale
from tunesmith.engine.methods.vocabulary import TrainedRows, rows_of

CHUNK_BYTES = 16 << 20  # logits of one chunk: small enough to stay near the processor
MIN_CHUNK_ROWS = 256  # fewer rows would read a large vocabulary matrix too often
TINY = 1e-30  # below this probability the loss is taken from the logits


@dataclass(frozen=True)
class Head:
    """The output matrix and its family's last touches: logits = cap(scale * (h W^T + b))."""

    weight_VD: nn.Parameter
    bias_V: nn.Parameter | None = None
    scale: float = 1.0
    softcap: float | None = None
    rows: TrainedRows | None = None  # of the weight, where only some are trained
    loss_scale: LossScale = field(default_factory=LossScale)

    @classmethod
    def of(cls, model: Any, loss_scale: LossScale | None = None) -> Head:
        """Read the head of a transformers model."""
        config = model.config.get_text_config()
        scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere
        scale /= float(getattr(config, "logits_scaling", None) or 1.0)  # Granite
        output = model.get_output_embeddings()
        if output is None:  # a reward model: its "vocabulary" is one score
            output = score_layer(model)
        rows = rows_of(output)
        output = getattr(output, "base_layer", output) if rows is None else rows.table
        softcap = getattr(config, "final_logit_softcapping", None)  # Gemma 2 and 3
        bias, losses = getattr(output, "bias", None), loss_scale or LossScale()
        return cls(output.weight, bias, scale, softcap, rows, losses)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """[N, V], in the type of the hidden states."""
        logits = hidden_ND @ self.weight_VD.t()
        if self.bias_V is not None:
            logits = logits + self.bias_V
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits


def score_layer(model: Any) -> Any:
    """The layer of a model for sequence classification that makes the score; PEFT trains a copy."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    copies = getattr(base.score, "modules_to_save", None)
    return base.score if copies is None else copies[base.score.active_adapter]


@dataclass(frozen=True)
class TokenScores:
    """What the head says about each label position; no gradient."""

    loss_N: Tensor  # float32, -log p(label)
    correct_N: Tensor  # bool: no other token is more likely


class _ChunkedLoss(torch.autograd.Function):
    """factor * sum of token losses; gradients are made in forward, factor and scale included."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        labels_N: Tensor,
        factor: float,
        head: Head,
        train: bool,
        smoothing: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        grad_hidden = torch.empty_like(hidden_ND) if train else None
        losses = torch.empty(len(labels_N), dtype=torch.float32, device=hidden_ND.device)
        correct = torch.empty(len(labels_N), dtype=torch.bool, device=hidden_ND.device)
        # Scaled gradients have their size before they are rounded; others get it in float32.
        early = factor * head.loss_scale.value if head.loss_scale.is_on else 1.0
        late = 1.0 if head.loss_scale.is_on else factor
        for part in _chunks(len(labels_N), head):
            scores, grad_logits = _score(
                hidden_ND[part], labels_N[part], head, train, smoothing, early
            )
            losses[part], correct[part] = scores.loss_N, scores.correct_N
            if grad_hidden is not None and grad_logits is not None:
                grad_hidden[part] = grad_logits @ head.weight_VD
                _add_gradients(head, grad_logits, hidden_ND[part], late)
        if grad_hidden is not None:
            grad_hidden.mul_(late * head.scale)
        ctx.grad_hidden = grad_hidden
        ctx.mark_non_differentiable(losses, correct)
        return losses.sum() * factor, losses, correct

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        del grads
        # The parameters' gradients are already summed up, so the incoming gradient has to be 1, or
        # that of the loss scale.
        grad_hidden, ctx.grad_hidden = ctx.grad_hidden, None
        return grad_hidden, None, None, None, None, None


def _chunks(num_labels: int, head: Head) -> Iterator[slice]:
    """Parts of the label positions whose logits are held at once."""
    rows = max(MIN_CHUNK_ROWS, CHUNK_BYTES // (4 * head.weight_VD.shape[0]))
    for start in range(0, num_labels, rows):
        yield slice(start, start + rows)


def _chunk_logits(hidden_ND: Tensor, head: Head, train: bool) -> tuple[Tensor, Tensor | None]:
    """Logits of one chunk in float32, and the slope of the cap where there is one."""
    logits = (hidden_ND @ head.weight_VD.t()).float()
    if head.bias_V is not None:
        logits.add_(head.bias_V)
    if head.scale != 1.0:
        logits.mul_(head.scale)
    slope = None
    if head.softcap is not None:
        logits.div_(head.softcap).tanh_()
        slope = 1 - logits.square() if train else None
        logits.mul_(head.softcap)
    return logits, slope


def _score(
    hidden_ND: Tensor,
    labels_N: Tensor,
    head: Head,
    train: bool,
    smoothing: float = 0.0,
    factor: float = 1.0,
) -> tuple[TokenScores, Tensor | None]:
    """Scores of one chunk, and factor times the gradient of its loss by the unscaled logits."""
    logits, slope = _chunk_logits(hidden_ND, head, train)
    labels = labels_N[:, None]
    top, target = logits.amax(-1, keepdim=True), logits.gather(1, labels)
    mean = logits.mean(-1, keepdim=True) if smoothing else None
    probabilities = torch.softmax(logits, -1, out=logits)
    of_target = probabilities.gather(1, labels)
    loss = of_target.log().neg_()
    if bool((of_target < TINY).any()):
        loss = top - target - probabilities.amax(-1, keepdim=True).log()
    if mean is not None:
        # -mean(log p) = -log p(label) + logit(label) - mean(logit), weighed against -log p(label).
        loss = loss + smoothing * (target - mean)
    scores = TokenScores(loss[:, 0], (target >= top)[:, 0])
    if not train:
        return scores, None
    probabilities.scatter_add_(1, labels, torch.full_like(of_target, smoothing - 1.0))
    if smoothing:
        probabilities.sub_(smoothing / probabilities.shape[1])
    if slope is not None:
        probabilities.mul_(slope)
    if factor != 1.0:
        probabilities.mul_(factor)
    return scores, probabilities.to(hidden_ND.dtype)


def _add_gradients(head: Head, grad_logits_NV: Tensor, hidden_ND: Tensor, factor: float) -> None:
    alpha = factor * head.scale
    if head.weight_VD.requires_grad:
        total = gradient_of(head.weight_VD)
        if total.dtype == hidden_ND.dtype:
            total.addmm_(grad_logits_NV.t(), hidden_ND, alpha=alpha)
        else:
            total.add_(grad_logits_NV.t() @ hidden_ND, alpha=alpha)
    if head.rows is not None and head.rows.values_ND.requires_grad:
        grad_rows_NR = grad_logits_NV[:, head.rows.ids_N].to(torch.float32)
        gradient_of(head.rows.values_ND).addmm_(grad_rows_NR.t(), hidden_ND.float(), alpha=alpha)
    if head.bias_V is not None and head.bias_V.requires_grad:
        gradient_of(head.bias_V).add_(grad_logits_NV.sum(0), alpha=alpha)


def language_loss(
    hidden_ND: Tensor,
    labels_N: Tensor,
    head: Head,
    *,
    num_targets: int,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, TokenScores]:
    """Sum of the token losses over the *global* number of targets, so that accumulation is exact.

    Call `LossScale.backward` on the loss itself: gradients of the head are already in `.grad` when
    this returns.
    """
    train = torch.is_grad_enabled() and hidden_ND.requires_grad
    loss, losses, correct = _ChunkedLoss.apply(
        hidden_ND, labels_N, 1.0 / max(num_targets, 1), head, train, label_smoothing
    )
    return loss, TokenScores(losses, correct)


# ---------------------------------------------------------------- log-probabilities


@dataclass(frozen=True)
class TokenLogProbs:
    """Log-probabilities of the labels, with gradient, and what else the head says; no gradient."""

    log_probs_N: Tensor
    correct_N: Tensor  # bool: no other token is more likely
    entropy_N: Tensor
    mean_logit_N: Tensor  # over the vocabulary


class _ChunkedLogProbs(torch.autograd.Function):
    """log p(label); logits are made a second time in backward, since what each log-probability
    weighs is known only when all of a pair are."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, labels_N: Tensor, head: Head
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        values = torch.empty(3, len(labels_N), dtype=torch.float32, device=hidden_ND.device)
        correct = torch.empty(len(labels_N), dtype=torch.bool, device=hidden_ND.device)
        log_probs, entropy, mean_logit = values
        for part in _chunks(len(labels_N), head):
            logits, _ = _chunk_logits(hidden_ND[part], head, False)
            target = logits.gather(1, labels_N[part, None])
            correct[part] = (target >= logits.amax(-1, keepdim=True))[:, 0]
            mean_logit[part] = logits.mean(-1)
            normaliser = torch.logsumexp(logits, -1)
            log_probs[part] = target[:, 0] - normaliser
            expected = torch.linalg.vecdot(torch.softmax(logits, -1), logits)
            entropy[part] = normaliser - expected
        ctx.save_for_backward(hidden_ND, labels_N)
        ctx.head = head
        ctx.mark_non_differentiable(correct, entropy, mean_logit)
        return log_probs, correct, entropy, mean_logit

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, labels_N = ctx.saved_tensors
        head: Head = ctx.head
        grad_hidden = torch.empty_like(hidden_ND)
        for part in _chunks(len(labels_N), head):
            logits, slope = _chunk_logits(hidden_ND[part], head, True)
            grad_logits = torch.softmax(logits, -1, out=logits).neg_()
            ones = torch.ones_like(labels_N[part, None], dtype=grad_logits.dtype)
            grad_logits.scatter_add_(1, labels_N[part, None], ones)
            if slope is not None:
                grad_logits.mul_(slope)
            grad_logits = grad_logits.mul_(grads[0][part, None]).to(hidden_ND.dtype)
            grad_hidden[part] = grad_logits @ head.weight_VD
            _add_gradients(head, grad_logits, hidden_ND[part], 1.0)
        return grad_hidden.mul_(head.scale), None, None


def token_log_probs(hidden_ND: Tensor, labels_N: Tensor, head: Head) -> TokenLogProbs:
    """Log-probabilities of labels; gradients of the head go straight into the arena."""
    return TokenLogProbs(*_ChunkedLogProbs.apply(hidden_ND, labels_N, head))


@torch.no_grad()
def divergence(hidden_ND: Tensor, head: Head, other_ND: Tensor, other: Head) -> Tensor:
    """KL(head || other) at each position, over the whole vocabulary, in nats: [N]."""
    found = torch.empty(len(hidden_ND), dtype=torch.float32, device=hidden_ND.device)
    for part in _chunks(len(hidden_ND), head):
        own = torch.log_softmax(_chunk_logits(hidden_ND[part], head, False)[0], -1)
        theirs = torch.log_softmax(_chunk_logits(other_ND[part], other, False)[0], -1)
        found[part] = torch.linalg.vecdot(own.exp(), own - theirs)
    return found
