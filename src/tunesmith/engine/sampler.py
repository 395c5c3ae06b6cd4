"""The model in training writes answers: many at once, with a key-value cache.

Random numbers are a function of seed, step, question and number of the answer, as everywhere in
training: which answers are written together changes nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tunesmith.data.batches import Rows
from tunesmith.data.renderer import Renderer
from tunesmith.data.table import TokenTable
from tunesmith.engine.backbone import decoder_of
from tunesmith.engine.dropout import mixed, set_training
from tunesmith.engine.generate import continued
from tunesmith.engine.rollouts import Answer
from tunesmith.recipe import Grpo

# Tokens, questions included, that are written together: a fixed number, so that a resumed run
# writes the same answers together.
TOGETHER = {"cpu": 1 << 15, "cuda": 1 << 18, "mps": 1 << 15}
_BITS = 23  # so that the largest uniform number below 1 is one in float32
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Draw:
    """One answer that is wanted."""

    place: int  # of the question among those asked
    turn: int  # number of the answer to it
    row: int  # of the question in its table


def draws_of_step(rows: Rows, group_size: int) -> list[Draw]:
    """All answers to the questions of a step: a group to each."""
    return [
        Draw(place, turn, int(row)) for place, row in enumerate(rows) for turn in range(group_size)
    ]


@dataclass(frozen=True)
class Sampler:
    """Writes answers with the weights as they are now."""

    model: Any
    renderer: Renderer
    settings: Grpo
    seed: int
    device: torch.device

    def answers(
        self, questions: TokenTable, draws: Sequence[Draw], step: int, on_progress: Progress
    ) -> list[Answer]:
        """An answer for each draw, in their order."""
        written: dict[tuple[int, int], Answer] = {}
        set_training(self.model, False)
        with torch.no_grad(), self._plain_attention():
            for part in self.batches(questions, draws):
                for answer in self._write(questions, part, step):
                    written[answer.place, answer.turn] = answer
                on_progress(len(written), len(draws))
        return [written[draw.place, draw.turn] for draw in draws]

    def likeliest(self) -> Sampler:
        """The same without chance."""
        return replace(self, settings=self.settings.model_copy(update={"temperature": 0.0}))

    def batches(self, questions: TokenTable, draws: Sequence[Draw]) -> list[list[Draw]]:
        """Draws that are written together, by length; the longest question decides how many."""
        parts: list[list[Draw]] = []
        budget = TOGETHER[self.device.type]
        for draw in sorted(draws, key=lambda d: (int(questions.lengths[d.row]), d.place, d.turn)):
            length = int(questions.lengths[draw.row]) + self.settings.max_answer_tokens
            if not parts or (len(parts[-1]) + 1) * length > budget:
                parts.append([])
            parts[-1].append(draw)
        return parts

    def _write(self, questions: TokenTable, draws: list[Draw], step: int) -> list[Answer]:
        """Answers of one batch; one that does not fit into memory is halved."""
        try:
            outputs = self._generated(questions, draws, step)
        except torch.OutOfMemoryError:
            if len(draws) == 1:
                raise
            half = len(draws) // 2
            return [
                *self._write(questions, draws[:half], step),
                *self._write(questions, draws[half:], step),
            ]
        return [self._answer(*pair) for pair in zip(draws, outputs, strict=True)]

    def _generated(self, questions: TokenTable, draws: list[Draw], step: int) -> list[list[int]]:
        from transformers import GenerationConfig, LogitsProcessorList

        prompts = [questions.row(draw.row)[0].tolist() for draw in draws]
        width = max(map(len, prompts))
        stops = self.renderer.stop_ids
        pad = self.renderer.tokenizer.pad_id
        pad = next(iter(stops), 0) if pad is None else pad
        # The draw is in the scores already, so the best one is taken.
        config = GenerationConfig(
            max_new_tokens=self.settings.max_answer_tokens,
            do_sample=False,
            eos_token_id=stops or None,
            pad_token_id=pad,
            use_cache=True,
        )
        how: dict[str, Any] = {"generation_config": config}
        if self.settings.temperature > 0:
            noise = _drawing()(
                answer_keys(draws, self.seed, step).to(self.device), width, self.settings
            )
            how["logits_processor"] = LogitsProcessorList([noise])
        outputs = continued(self.model, prompts, pad, self.device, **how)
        return [output[width:] for output in outputs]

    def _answer(self, draw: Draw, output: list[int]) -> Answer:
        stops = frozenset(self.renderer.stop_ids)
        end = next((at for at, token in enumerate(output) if token in stops), None)
        said = output if end is None else output[:end]
        ids = output if end is None else output[: end + 1]
        text = self.renderer.tokenizer.decode(said, skip_special_tokens=True)
        return Answer(draw.place, draw.turn, draw.row, tuple(ids), end is None, text)

    @contextmanager
    def _plain_attention(self) -> Generator[None]:
        """Attention that takes rows side by side and a cache, in the place of flat attention."""
        configs = [self.model.config, decoder_of(self.model).config]
        before = [config._attn_implementation for config in configs]
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = "sdpa" if name == "tunesmith_flat" else name
        try:
            yield
        finally:
            for config, name in zip(configs, before, strict=True):
                config._attn_implementation = name


def answer_keys(draws: Sequence[Draw], seed: int, step: int) -> Tensor:
    """A key for each answer: of seed, step, place and turn."""
    places = torch.tensor([draw.place for draw in draws])
    turns = torch.tensor([draw.turn for draw in draws])
    start = mixed(mixed(torch.tensor(seed)) + step)
    return mixed(mixed(start + places) + turns)


def noise_of(keys_B: Tensor, place: int, width: int) -> Tensor:
    """Gumbel noise [B, width] of the tokens that may stand at one place of each answer."""
    tokens_V = torch.arange(width, device=keys_B.device)
    bits = mixed(mixed(keys_B + place)[:, None] + mixed(tokens_V)[None, :])
    uniform = ((bits >> (64 - _BITS)) & ((1 << _BITS) - 1)).float().add_(0.5) / (1 << _BITS)
    return -torch.log(-torch.log(uniform))


def _drawing() -> Any:
    """A processor of scores, made here so that transformers is imported when it is needed."""
    from transformers import LogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

    class Drawing(LogitsProcessor):
        """The likeliest token after Gumbel noise is a draw from the distribution."""

        def __init__(self, keys_B: Tensor, width: int, settings: Grpo) -> None:
            self._keys_B, self._width = keys_B, width
            self._temperature = settings.temperature
            self._cuts: list[Any] = []
            if settings.top_k:
                self._cuts.append(TopKLogitsWarper(settings.top_k))
            if settings.top_p < 1:
                self._cuts.append(TopPLogitsWarper(settings.top_p))

        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            scores = scores.float() / self._temperature
            for cut in self._cuts:
                scores = cut(input_ids, scores)
            place = input_ids.shape[1] - self._width
            return scores + noise_of(self._keys_B, place, scores.shape[1])

    return Drawing
