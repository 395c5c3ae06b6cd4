"""The next token of each row, from its scores.

A draw is the likeliest token after noise was added to the scores (Gumbel's trick), and the noise of
a token is a hash of seed, place and token. So a draw depends on nothing else in the batch, and a
rounding difference changes it only where two tokens are equally good to that rounding.

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tunesmith.serving.order import Sampling, Scored

# Noise lies between -2.9 and 16.7 (24 random bits), so tokens further below the best one than
# this can never win.
REACH = 19.6
FIRST_SORTED = 256
_TRIES = 8
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def draw(logits_V: Tensor, sampling: Sampling, prompt: Sequence[int], said: Sequence[int]) -> int:
    """The next token of one row, after `said` of the answer."""
    scores = logits_V.detach().float().cpu()
    if sampling.changes_scores:
        scores = _changed(scores.clone(), sampling, prompt, said)
    if sampling.temperature == 0:
        return int(scores.argmax())
    scaled = scores / max(sampling.temperature, 1e-5)
    ids, values = _candidates(scaled, sampling)
    noisy = values + gumbel_noise(sampling.seed, len(said), ids)
    return int(ids[int(noisy.argmax())])


def draw_of(
    logits_V: Tensor,
    sampling: Sampling,
    prompt: Sequence[int],
    said: Sequence[int],
    may_come: Callable[[int], object],
    all_of_them: Callable[[], Ints],
) -> int | None:
    """The next token of those for which `may_come` says something; the same as if no other were.

    The first draw is nearly always one of them; `all_of_them` is asked only after some tries. None
    where the vocabulary has none.
    """
    logits_V = logits_V.detach().float().cpu().clone()
    for _ in range(_TRIES):
        token = draw(logits_V, sampling, prompt, said)
        if may_come(token):
            return token
        logits_V[token] = -math.inf
    ids = torch.from_numpy(all_of_them())
    ids = ids[ids < len(logits_V)]
    kept_V = torch.full_like(logits_V, -math.inf)
    kept_V[ids] = logits_V[ids]
    if bool((kept_V == -math.inf).all()):
        return None
    return draw(kept_V, sampling, prompt, said)


def _changed(
    scores_V: Tensor, sampling: Sampling, prompt: Sequence[int], said: Sequence[int]
) -> Tensor:
    """Penalties as OpenAI and (for repetition) transformers define them, and biases."""
    if sampling.repetition_penalty != 1.0:
        seen = torch.tensor(sorted({*prompt, *said}))
        values = scores_V[seen]
        factor = sampling.repetition_penalty
        scores_V[seen] = torch.where(values < 0, values * factor, values / factor)
    if said and (sampling.presence_penalty or sampling.frequency_penalty):
        counts = Counter(said)
        ids = torch.tensor(list(counts))
        times = torch.tensor(list(counts.values()), dtype=torch.float32)
        scores_V[ids] -= sampling.presence_penalty + sampling.frequency_penalty * times
    for token, bias in sampling.logit_bias.items():
        scores_V[token] += bias
    return scores_V


def _candidates(scaled_V: Tensor, sampling: Sampling) -> tuple[Ints, Floats]:
    """Tokens that may be drawn, with their scaled scores."""
    if sampling.top_k or sampling.top_p < 1.0:
        values, ids = _nucleus(scaled_V, sampling)
    else:
        ids = (scaled_V > scaled_V.max() - REACH).nonzero()[:, 0]
        values = scaled_V[ids]
    if sampling.min_p > 0:
        kept = values >= values.max() + math.log(sampling.min_p)
        values, ids = values[kept], ids[kept]
    return ids.numpy(), values.double().numpy()


def _nucleus(scaled_V: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The `top_k` likeliest tokens, and of those the fewest that hold `top_p` of them all."""
    size = scaled_V.shape[0]
    if sampling.top_k:
        values, ids = torch.topk(scaled_V, min(sampling.top_k, size))
        inside = _num_inside(values, torch.logsumexp(values, 0), sampling.top_p)
        return values[:inside], ids[:inside]
    total, count = torch.logsumexp(scaled_V, 0), min(FIRST_SORTED, size)
    while True:  # sorting all of a large vocabulary takes longer than the model
        values, ids = torch.topk(scaled_V, count)
        inside = _num_inside(values, total, sampling.top_p)
        if inside < count or count == size:
            return values[:inside], ids[:inside]
        count = min(size, count * 16)


def _num_inside(values: Tensor, total: Tensor, top_p: float) -> int:
    """How many of the sorted tokens have less than `top_p` in front of them; always the first."""
    if top_p >= 1.0:
        return len(values)
    shares = torch.exp(values.double() - total)
    before = torch.cumsum(shares, 0) - shares
    return max(1, int((before < top_p).sum()))


def gumbel_noise(seed: int, place: int, ids: Ints) -> Floats:
    """Noise of some tokens at one place of an answer, by hash (splitmix64)."""
    with np.errstate(over="ignore"):
        key = _mixed(np.uint64(seed & (2**64 - 1)) + _GOLDEN * np.uint64(place + 1))
        bits = _mixed(key ^ _mixed(ids.astype(np.uint64) * _GOLDEN + np.uint64(1)))
    uniform = ((bits >> np.uint64(40)).astype(np.float64) + 0.5) / 2**24
    return -np.log(-np.log(uniform))


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(value: Any) -> Any:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def scored(logits_NV: Tensor, tokens: Sequence[int], alternatives: Sequence[int]) -> list[Scored]:
    """Log probabilities of some tokens, one a row, each with so many alternatives."""
    logprobs = torch.log_softmax(logits_NV.float(), -1)
    chosen = logprobs.gather(1, torch.tensor(tokens, device=logprobs.device)[:, None])[:, 0]
    most = max(alternatives, default=0)
    top = torch.topk(logprobs, most, -1) if most else None
    values = top.values.tolist() if top else [[]] * len(tokens)
    ids = top.indices.tolist() if top else [[]] * len(tokens)
    return [
        Scored(token, logprob, tuple(zip(names[:many], numbers[:many], strict=True)))
        for token, logprob, names, numbers, many in zip(
            tokens, chosen.tolist(), ids, values, alternatives, strict=True
        )
    ]
