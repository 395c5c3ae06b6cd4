"""Engines on tiny models whose answers differ, and what plain transformers says of the same."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.engine.conftest import (
    one_thread,
    tiny_tokenizer_dir,
    write_tiny_model,
    write_tiny_tokenizer,
)

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine import weights
from tunesmith.engine.adapter import apply_adapter, trainable_parameters
from tunesmith.engine.models import load_model
from tunesmith.recipe import Lora
from tunesmith.recipe.prompts import Prefix, Prompt, PTuning
from tunesmith.serving.decoder import Decoder
from tunesmith.serving.engine import Engine
from tunesmith.serving.fast import FastDecoder
from tunesmith.serving.modules import ModuleDecoder
from tunesmith.serving.order import Delta, Order, Scored
from tunesmith.serving.scheduler import Limits

__all__ = ["one_thread", "tiny_tokenizer_dir", "write_tiny_tokenizer"]
CONTEXT = 512
FAST = ("llama", "qwen2", "qwen3", "mistral")
VECTORS = {
    "prompt": Prompt(virtual_tokens=5),
    "p_tuning": PTuning(virtual_tokens=3, encoder_width=8),
    "prefix": Prefix(virtual_tokens=4),
}
# Largest difference of the two best scores that rounding may turn round.
TIE = 1e-4


@dataclass
class Told:
    """What came back for one order."""

    deltas: list[Delta] = field(default_factory=list[Delta])

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def finish(self) -> str | None:
        return self.deltas[-1].finish

    @property
    def scored(self) -> list[Scored]:
        return [one for delta in self.deltas for one in delta.scored]


@dataclass
class Bench:
    """A running engine and the model that it runs, once more as transformers has it."""

    directory: Path
    decoder: Decoder
    engine: Engine
    tokenizer: TextTokenizer
    plain: Any

    def ask(self, *orders: Order, seconds: float = 60) -> list[Told]:
        """All at once, to their ends."""
        told = [Told() for _ in orders]
        arrived: queue.Queue[tuple[int, Delta]] = queue.Queue()

        def hear(number: int, delta: Delta) -> None:
            arrived.put((number, delta))

        self.engine.submit([(order, partial(hear, n)) for n, order in enumerate(orders)])
        left = len(orders)
        while left:
            number, delta = arrived.get(timeout=seconds)
            if delta.error is not None:
                raise delta.error
            told[number].deltas.append(delta)
            left -= delta.is_last
        return told

    def ids(self, told: Told) -> list[int]:
        """Tokens of an answer that was asked for with log probabilities."""
        return [one.token for one in told.scored]

    def reference(self, prompt: Sequence[int], length: int, model: Any = None) -> list[int]:
        """What transformers.generate says, greedy, without a stop."""
        ids = torch.tensor([list(prompt)])
        output = (model or self.plain).generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=length,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        return output[0, len(prompt) :].tolist()

    @torch.no_grad()
    def assert_same(
        self, ids: Sequence[int], prompt: Sequence[int], length: int, model: Any = None
    ) -> None:
        """Token by token; where the two best scores are equal but for rounding, either may come."""
        expected = self.reference(prompt, length, model)
        assert len(ids) == len(expected)
        for number, (ours, theirs) in enumerate(zip(ids, expected, strict=True)):
            if ours != theirs:
                row = torch.tensor([[*prompt, *expected[:number]]])
                logits = (model or self.plain)(row).logits[0, -1]
                assert abs(float(logits[ours] - logits[theirs])) < TIE, f"token {number}"
                return  # from here on they say different things


def write_sharp_model(directory: Path, family: str, tokenizer: Path, **changes: Any) -> Path:
    """A tiny model with weights large enough that its best token is far ahead of the next one."""
    sharp = {"initializer_range": 0.3, **changes}
    return write_tiny_model(directory, family, tokenizer=tokenizer, **sharp)


@pytest.fixture(scope="session")
def sharp_model_dir(
    tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path
) -> Callable[..., Path]:
    made: dict[str, Path] = {}

    def build(family: str, **changes: Any) -> Path:
        key = f"{family}-{changes}"
        if key not in made:
            directory = tmp_path_factory.mktemp(f"sharp-{family}")
            made[key] = write_sharp_model(directory, family, tiny_tokenizer_dir, **changes)
        return made[key]

    return build


def write_adapter(base: Path, out: Path, *, seed: int, rank: int = 4, **settings: Any) -> Path:
    """A LoRA that changes what the base says."""
    model: Any = apply_adapter(load_model(base), Lora(rank=rank, alpha=8, **settings), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for _, part in trainable_parameters(model):
        part.data += torch.randn(part.shape, generator=generator) * 0.2
    model.save_pretrained(out)
    return out


def write_vectors(base: Path, out: Path, kind: str, *, seed: int = 1, places: int = 0) -> Path:
    """A result of training, with vectors so large that the base says something else."""
    adapter: Any = VECTORS[kind]
    if places:
        adapter = adapter.model_copy(update={"virtual_tokens": places})
    model: Any = apply_adapter(load_model(base), adapter, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for _, part in trainable_parameters(model):
        part.data += torch.randn(part.shape, generator=generator)
    model.peft_config["default"].base_model_name_or_path = str(base)
    weights.write_adapter(model, out)
    return out


@contextmanager
def running(
    directory: Path,
    *,
    limits: Limits | None = None,
    max_waiting: int = 1000,
    budget: int = 1 << 30,
    fast: bool = True,
    context: int = CONTEXT,
) -> Generator[Bench]:
    """An engine on the model of a folder."""
    kind = FastDecoder if fast else ModuleDecoder
    model: Any = load_model(directory, attention="auto").eval()
    decoder = kind(model, budget=budget, context=context)
    tokenizer = TextTokenizer.load(directory)
    engine = Engine(decoder, tokenizer, limits=limits, max_waiting=max_waiting)
    engine.start()
    plain: Any = load_model(directory, attention="auto").eval()
    try:
        yield Bench(directory, decoder, engine, tokenizer, plain)
    finally:
        assert engine.close(30)


def order_of(prompt: Sequence[int], length: int = 12, **settings: Any) -> Order:
    """Greedy, with log probabilities, so that the tokens can be seen."""
    return Order(tuple(prompt), length, **{"logprobs": 0, **settings})


def prompts_of(*lengths: int, seed: int = 0) -> list[list[int]]:
    """Random tokens of the alphabet."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 259, (n,), generator=generator).tolist() for n in lengths]
