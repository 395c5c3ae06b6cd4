"""The language-model head and its loss, without ever holding the logits of a whole micro-batch.

Only positions with a label reach the head. They go through in chunks; the gradients of a chunk are
made right behind its loss, so that its logits are used up before the next chunk comes.

Shapes: N label positions, D hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine.arena import gradient_of

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

    @classmethod
    def of(cls, model: Any) -> Head:
        """Read the head of a transformers causal language model."""
        config = model.config.get_text_config()
        scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere
        scale /= float(getattr(config, "logits_scaling", None) or 1.0)  # Granite
        output = model.get_output_embeddings()
        output = getattr(output, "base_layer", output)
        softcap = getattr(config, "final_logit_softcapping", None)  # Gemma 2 and 3
        return cls(output.weight, getattr(output, "bias", None), scale, softcap)

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


@dataclass(frozen=True)
class TokenScores:
    """What the head says about each label position; no gradient."""

    loss_N: Tensor  # float32, -log p(label)
    correct_N: Tensor  # bool: no other token is more likely


class _ChunkedLoss(torch.autograd.Function):
    """factor * sum of token losses; gradients are made in forward, the factor included."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, labels_N: Tensor, factor: float, head: Head, train: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        grad_hidden = torch.empty_like(hidden_ND) if train else None
        losses = torch.empty(len(labels_N), dtype=torch.float32, device=hidden_ND.device)
        correct = torch.empty(len(labels_N), dtype=torch.bool, device=hidden_ND.device)
        rows = max(MIN_CHUNK_ROWS, CHUNK_BYTES // (4 * head.weight_VD.shape[0]))
        for start in range(0, len(labels_N), rows):
            part = slice(start, start + rows)
            scores, grad_logits = _score(hidden_ND[part], labels_N[part], head, train)
            losses[part], correct[part] = scores.loss_N, scores.correct_N
            if grad_hidden is not None and grad_logits is not None:
                grad_hidden[part] = grad_logits @ head.weight_VD
                _add_gradients(head, grad_logits, hidden_ND[part], factor)
        if grad_hidden is not None:
            grad_hidden.mul_(factor * head.scale)
        ctx.grad_hidden = grad_hidden
        ctx.mark_non_differentiable(losses, correct)
        return losses.sum() * factor, losses, correct

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        del grads
        # The parameters' gradients are already summed up, so the incoming gradient has to be 1.
        grad_hidden, ctx.grad_hidden = ctx.grad_hidden, None
        return grad_hidden, None, None, None, None


def _score(
    hidden_ND: Tensor, labels_N: Tensor, head: Head, train: bool
) -> tuple[TokenScores, Tensor | None]:
    """Scores of one chunk, and the gradient of its summed loss by the unscaled logits."""
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
    labels = labels_N[:, None]
    top, target = logits.amax(-1, keepdim=True), logits.gather(1, labels)
    probabilities = torch.softmax(logits, -1, out=logits)
    of_target = probabilities.gather(1, labels)
    loss = of_target.log().neg_()
    if bool((of_target < TINY).any()):
        loss = top - target - probabilities.amax(-1, keepdim=True).log()
    scores = TokenScores(loss[:, 0], (target >= top)[:, 0])
    if not train:
        return scores, None
    probabilities.scatter_add_(1, labels, torch.full_like(of_target, -1.0))
    if slope is not None:
        probabilities.mul_(slope)
    return scores, probabilities.to(hidden_ND.dtype)


def _add_gradients(head: Head, grad_logits_NV: Tensor, hidden_ND: Tensor, factor: float) -> None:
    alpha = factor * head.scale
    if head.weight_VD.requires_grad:
        total = gradient_of(head.weight_VD)
        if total.dtype == hidden_ND.dtype:
            total.addmm_(grad_logits_NV.t(), hidden_ND, alpha=alpha)
        else:
            total.add_(grad_logits_NV.t() @ hidden_ND, alpha=alpha)
    if head.bias_V is not None and head.bias_V.requires_grad:
        gradient_of(head.bias_V).add_(grad_logits_NV.sum(0), alpha=alpha)


def language_loss(
    hidden_ND: Tensor, labels_N: Tensor, head: Head, *, num_targets: int
) -> tuple[Tensor, TokenScores]:
    """Sum of the token losses over the *global* number of targets, so that accumulation is exact.

    Call `backward()` on the loss itself: gradients of the head are already in `.grad` when this
    returns.
    """
    train = torch.is_grad_enabled() and hidden_ND.requires_grad
    loss, losses, correct = _ChunkedLoss.apply(
        hidden_ND, labels_N, 1.0 / max(num_targets, 1), head, train
    )
    return loss, TokenScores(losses, correct)
