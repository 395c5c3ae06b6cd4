"""The physical limit: tokens/s if a step were only its own matrix products.

    python benchmarks/product_rate.py MODEL --micro-batches 1500:1100,1700:1300 [--lora 8] [--json]

For every linear layer of the model the products of a training step are timed in isolation, forward
and backward, at the shapes of each micro-batch (TOKENS:LABELS): attention's own products, norms,
activations, the loss and the optimizer are left out. The head works on the label positions alone.

Full tuning, for x [T, in] and W [out, in]: y = x W', dx = dy W, dW = dy' x.
LoRA, in the plain unmerged form, with A [r, in] and B [out, r]: y = x W', u = x A', z = u B';
dx = dy W, du = dy B, dB = dy' u, dA = du' x, du A. The base weight gets no gradient, and what only
the first layer's input would need (dy W and du A of its q, k and v) is left out, as autograd does.

All outputs lie in buffers made beforehand and inputs are shared between layers of one shape, so no
allocation and little memory traffic is in the time: this is an upper bound. The count of operations
equals what autograd does for the same model, PEFT adapters included, attention left out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

FIRST_LAYER_INPUT = re.compile(r"\.0\.\w+\.(q|k|v|qkv)_proj$")


@dataclass(frozen=True)
class Linear:
    """One linear layer: its shape, and whether its input needs a gradient under LoRA."""

    inputs: int
    outputs: int
    head: bool = False
    first: bool = False


@dataclass(frozen=True)
class MicroBatch:
    """What goes through the model at once."""

    tokens: int
    labels: int


@dataclass(frozen=True)
class ProductRate:
    """The result: tokens per second of products alone, and the arithmetic rate they reach."""

    tokens_per_second: float
    gflops: float
    seconds: list[float]


def linear_layers(model_dir: Path) -> list[Linear]:
    """The linear layers of a model, read from its architecture without its weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(model_dir)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    return [
        Linear(
            inputs=module.in_features,
            outputs=module.out_features,
            head=module is head,
            first=FIRST_LAYER_INPUT.search(name) is not None,
        )
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]


class Buffers:
    """One flat buffer per role, handed out in any shape that fits."""

    def __init__(self) -> None:
        self._made: dict[str, Tensor] = {}

    def get(self, role: str, rows: int, columns: int) -> Tensor:
        """A contiguous [rows, columns] tensor; the same memory each time."""
        size = rows * columns
        flat = self._made.get(role)
        if flat is None or flat.numel() < size:
            flat = self._made[role] = torch.full((size,), 0.01)
        return flat[:size].view(rows, columns)


Product = Callable[[], object]


class LayerProducts:
    """The products of one layer; it owns weights and their gradients, as a real layer does."""

    def __init__(self, layer: Linear, rank: int | None, buffers: Buffers) -> None:
        self._layer = layer
        self._buffers = buffers
        self._adapted = rank is not None and not layer.head
        self._frozen = rank is not None
        self._w = torch.full((layer.outputs, layer.inputs), 0.01)
        self._dw = None if self._frozen else torch.empty_like(self._w)
        self._a = torch.full((rank or 0, layer.inputs), 0.01)
        self._b = torch.full((layer.outputs, rank or 0), 0.01)
        self._da, self._db = torch.empty_like(self._a), torch.empty_like(self._b)

    def of(self, batch: MicroBatch) -> list[Product]:
        """All products for one micro-batch, ready to be called."""
        rows = batch.labels if self._layer.head else batch.tokens
        x, dx = (self._buffers.get(role, rows, self._layer.inputs) for role in ("x", "dx"))
        y, dy = (self._buffers.get(role, rows, self._layer.outputs) for role in ("y", "dy"))
        done = [_product(x, self._w.t(), y)]
        if not self._layer.first or not self._frozen:
            done.append(_product(dy, self._w, dx))
        if self._dw is not None:
            done.append(_product(dy.t(), x, self._dw))
        return done + (self._adapter(x, dx, y, dy) if self._adapted else [])

    def _adapter(self, x: Tensor, dx: Tensor, y: Tensor, dy: Tensor) -> list[Product]:
        u, du = (self._buffers.get(role, len(x), len(self._a)) for role in ("u", "du"))
        return [
            _product(x, self._a.t(), u),
            _product(u, self._b.t(), y),
            _product(dy, self._b, du),
            _product(dy.t(), u, self._db),
            _product(du.t(), x, self._da),
            *([] if self._layer.first else [_product(du, self._a, dx)]),
        ]


def _product(left: Tensor, right: Tensor, out: Tensor) -> Product:
    return lambda: torch.mm(left, right, out=out)


def flops(layer: Linear, batch: MicroBatch, rank: int | None) -> int:
    """Arithmetic of the same products."""
    rows = batch.labels if layer.head else batch.tokens
    base = 2 * rows * layer.inputs * layer.outputs
    if rank is None:
        return 3 * base
    if layer.head:
        return 2 * base
    adapter = 2 * rows * rank * (3 * layer.outputs + 2 * layer.inputs)
    skipped = base + 2 * rows * rank * layer.inputs if layer.first else 0
    return 2 * base + adapter + 2 * rows * rank * layer.inputs - skipped


def measure(
    layers: Sequence[Linear],
    batches: Sequence[MicroBatch],
    *,
    rank: int | None,
    repeats: int,
) -> ProductRate:
    """Time every micro-batch `repeats` times in turn; its median counts."""
    buffers = Buffers()
    made = [LayerProducts(layer, rank, buffers) for layer in layers]
    largest = MicroBatch(max(b.tokens for b in batches), max(b.labels for b in batches))
    for layer in made:  # so that no buffer grows, and nothing is touched first, under the clock
        _call(layer.of(largest))
    work = [[product for layer in made for product in layer.of(batch)] for batch in batches]
    rounds = [[_call(batch_work) for batch_work in work] for _ in range(repeats)]
    seconds = [median(times) for times in zip(*rounds, strict=True)]
    total = sum(seconds)
    arithmetic = sum(flops(layer, batch, rank) for layer in layers for batch in batches)
    return ProductRate(
        tokens_per_second=sum(batch.tokens for batch in batches) / total,
        gflops=arithmetic / total / 1e9,
        seconds=seconds,
    )


def _call(work: Iterable[Product]) -> float:
    start = time.perf_counter()
    for product in work:
        product()
    return time.perf_counter() - start


def parse_micro_batches(text: str) -> list[MicroBatch]:
    """`1500:1100,1700:1300` to micro-batches."""
    return [MicroBatch(*map(int, part.split(":"))) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="model folder; only its config.json is read")
    parser.add_argument("--micro-batches", required=True, type=parse_micro_batches)
    parser.add_argument("--lora", type=int, metavar="RANK", help="LoRA instead of full tuning")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rate = measure(
        linear_layers(options.model),
        options.micro_batches,
        rank=options.lora,
        repeats=options.repeats,
    )
    if options.json:
        json.dump(vars(rate), sys.stdout)
        return
    print(f"{rate.tokens_per_second:,.0f} tokens/s in products alone ({rate.gflops:.0f} GFLOP/s)")


if __name__ == "__main__":
    main()
