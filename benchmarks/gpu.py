"""How fast a GPU trains: gpu.py MODEL [--full] [--rows N] [--row-tokens N] [--steps N].

Trains MODEL (hub id, folder or `starter`) on synthetic rows through the engine, then prints tokens
a second, the share of the GPU's peak (MFU, for dense decoders with a gated feed-forward part), and
memory beside its estimate.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.memory import Shape
from tunesmith.engine.models import load_config, load_tokenizer_files, resolve_base
from tunesmith.examples import example_directory
from tunesmith.recipe import Model
from tunesmith.runs import RunDir, read_events

# Dense bfloat16 of an H100 or H200 in FLOP/s: on the data sheet, and what large products reach.
PEAKS = {"989 TFLOP/s": 989e12, "790 TFLOP/s": 790e12}
WARM_UP = 5  # steps that are not counted
GIB = 2**30


@dataclass(frozen=True)
class Work:
    """What one optimizer step has to compute."""

    tokens: int
    labels: int
    row_tokens: float  # tokens a row, for attention

    def flops(self, shape: Shape, trainable: int, *, full: bool) -> float:
        """Products of a step: 2 a weight and token forward, 2 for the gradient of the input, and 2
        for that of the weight where it is trained. Recomputation does not count."""
        query, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        layer = shape.hidden * (2 * query + 2 * kv + 3 * shape.feed_forward)
        passes = 6 if full else 4
        products = passes * layer * shape.layers * self.tokens
        head = passes * shape.hidden * shape.vocabulary * self.labels
        adapters = 0 if full else 6 * trainable * self.tokens
        # Scores and values, 2 products each forward and twice that backward, half of it causal.
        attention = 6 * self.row_tokens * query * shape.layers * self.tokens
        return products + head + adapters + attention


def write_rows(path: Path, tokenizer: TextTokenizer, *, rows: int, row_tokens: int) -> None:
    """Conversations of example questions and answers, about `row_tokens` tokens each."""
    source = example_directory("customer-service") / "train.jsonl"
    turns = [json.loads(line)["messages"][-2:] for line in source.read_text("utf-8").splitlines()]
    sizes = [sum(map(len, tokenizer.encode_batch([m["content"] for m in turn]))) for turn in turns]
    generator = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            messages: list[dict[str, str]] = []
            wanted = row_tokens * generator.uniform(0.5, 1.5)
            while wanted > 0:
                number = generator.randrange(len(turns))
                messages += turns[number]
                wanted -= sizes[number]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def recipe(options: argparse.Namespace, dataset: Path) -> dict[str, Any]:
    """The training that is measured; nothing is evaluated or saved between its steps."""
    lora = {"kind": "lora", "rank": options.rank, "alpha": 2 * options.rank}
    steps = WARM_UP + options.steps
    return {
        "name": "gpu",
        "model": {"base": options.model},
        "adapter": {"kind": "full"} if options.full else lora,
        "stage": {"kind": "sft", "loss_on": "last_turn" if options.last_turn else "all_turns"},
        "data": {
            "train": [{"dataset": str(dataset)}],
            "validation": {"kind": "none"},
            "max_length": options.max_length,
        },
        "training": {
            "epochs": 1000,
            "max_steps": steps,
            "batch_size": options.batch_size,
            "learning_rate": 1e-5,
            "device": options.device,
            "checkpoint": {"every_steps": 10 * steps},
            "activation_checkpointing": "full" if options.activation_checkpointing else "off",
        },
        "report": {"tensorboard": False},
    }


def train(options: argparse.Namespace, folder: Path) -> RunDir:
    """One training in a process of its own."""
    directory = resolve_base(Model(base=options.model))
    tokenizer = TextTokenizer.load(load_tokenizer_files(directory, folder / "cache"))
    dataset = folder / "rows.jsonl"
    write_rows(dataset, tokenizer, rows=options.rows, row_tokens=options.row_tokens)
    text = yaml.safe_dump(recipe(options, dataset), sort_keys=False)
    run = RunDir.create(folder / "run", text, recipe_name="gpu")
    command = [sys.executable, "-m", "tunesmith.engine", "train", str(run.path)]
    with run.log_path.open("ab") as log:
        done = subprocess.run(command, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        sys.exit(f"The training ended with code {done.returncode}:\n{run.log_path.read_text()}")
    return run


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    """All events of one type."""
    return [event for event in read_events(run)[0] if event["type"] == kind]


def report(options: argparse.Namespace, run: RunDir) -> None:
    """Speed, share of the peak, memory."""
    plan, steps = events(run, "plan")[0], events(run, "step")[WARM_UP:]
    shape = Shape.of(load_config(resolve_base(Model(base=options.model))))
    seconds = sum(step["seconds"] for step in steps)
    tokens = sum(step["tokens"] for step in steps)
    labels = sum(step["label_tokens"] for step in steps)
    rows = sum(len(step["rows"]) for step in steps)
    work = Work(tokens, labels, tokens / rows)
    flops = work.flops(shape, plan["trainable_parameters"], full=options.full)
    rates = [step["tokens"] / step["seconds"] for step in steps]
    print(f"device        {events(run, 'started')[0]['device']}")
    print(f"model         {options.model}, {plan['parameters']:,} parameters, ", end="")
    print(f"{plan['trainable_parameters']:,} trained")
    print(f"steps         {len(steps)} counted, {rows} rows, {tokens:,} tokens, {labels:,} labels")
    print(f"micro-batch   {plan['micro_batch_tokens']:,} tokens")
    print(f"speed         {tokens / seconds:,.0f} tokens/s, median {statistics.median(rates):,.0f}")
    for name, peak in PEAKS.items():
        print(f"MFU           {flops / seconds / peak:.1%} of {name}")
    used, guess = max(step["memory_bytes"] for step in steps), plan["memory_bytes_estimate"]
    print(f"memory        {used / GIB:.2f} GiB, estimated {guess / GIB:.2f}, ", end="")
    print(f"ratio {used / guess:.2f}")


def main() -> None:
    """Parse, train, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="hub id, folder or `starter`")
    parser.add_argument("--full", action="store_true", help="all weights in place of LoRA")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--row-tokens", type=int, default=500, help="mean length of a row")
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30, help="counted steps")
    parser.add_argument("--last-turn", action="store_true", help="labels on the last answer alone")
    parser.add_argument("--activation-checkpointing", action="store_true")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tunesmith-gpu-") as folder:
        report(options, train(options, Path(folder)))


if __name__ == "__main__":
    main()
