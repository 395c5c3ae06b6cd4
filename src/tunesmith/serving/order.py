"""What is asked of the model, and what comes back: the words between HTTP and the engine's thread.

The engine knows tokens and text, no JSON and no chat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.serving.forced import Expected

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. A temperature of 0 takes the likeliest one.

    `seed` and the number of the token in its answer decide a draw, and nothing else does.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    seed: int = 0

    @property
    def is_plain(self) -> bool:
        """True where the likeliest token of the model's own scores is taken."""
        return self.temperature == 0 and not self.changes_scores

    @property
    def changes_scores(self) -> bool:
        """True where scores are changed before a token is drawn."""
        penalties = self.presence_penalty or self.frequency_penalty
        return bool(self.repetition_penalty != 1.0 or penalties or self.logit_bias)


@dataclass(frozen=True, slots=True)
class Order:
    """One answer that is wanted.

    `logprobs` is the number of alternatives to tell beside each token; None tells nothing.
    `stop_ids` end an answer and are not part of it.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stop_ids: frozenset[int] = frozenset()
    stops: tuple[str, ...] = ()
    logprobs: int | None = None
    prompt_logprobs: bool = False
    keep_special: bool = False
    adapter: Any = None  # as the decoder loaded it; None is the base
    tokenizer: TextTokenizer | None = None  # the model's own; None takes the engine's
    expected: Expected | None = None  # what the answer must look like; it ends with that


@dataclass(frozen=True, slots=True)
class Scored:
    """A token with its log probability and the likeliest tokens of its place."""

    token: int
    logprob: float | None  # None for the first token of a prompt, which nothing predicts
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer. The last one has a `finish` or an `error`."""

    text: str = ""
    num_tokens: int = 0
    scored: tuple[Scored, ...] = ()
    prompt: tuple[Scored, ...] | None = None
    finish: Finish | None = None
    error: Exception | None = None

    @property
    def is_last(self) -> bool:
        return self.finish is not None or self.error is not None


Listener = Callable[[Delta], None]
