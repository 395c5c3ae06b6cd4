"""DPO or KTO side by side with TRL on the same rows: tokens a second and peak memory, on the CPU.

    python benchmarks/preference.py ROWS.json --model DIR --peer-python trl/bin/python [--stage kto]

Both train LoRA of rank 16 in fp32 on answers that fit into --max-length, so that neither cuts
anything. Rows come in each program's own order, so losses are shown and not compared. The same
answers are trained by sft too, as many a step: what a preference costs in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.processes import PeakMemory, environment, run
from tunesmith.data.conversation import Message, PreferencePair, UnpairedPreference
from tunesmith.data.formats import find_layout
from tunesmith.data.readers import read_rows
from tunesmith.data.renderer import Renderer
from tunesmith.data.sides import VIEWS, sides_of
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.recipe import Dataset
from tunesmith.runs import RunDir, read_events

HERE = Path(__file__).resolve().parent
WARM = 2  # steps that are not counted


def fitting_rows(file: Path, model: Path, max_length: int, stage: str) -> list[dict[str, Any]]:
    """Rows as conversations, where every answer fits."""
    rows = [row for _, row in read_rows(file)]
    layout = find_layout(rows[:20], Dataset(dataset=file.name), file.name)
    renderer = Renderer(TextTokenizer.load(model))
    found: list[dict[str, Any]] = []
    for row in rows:
        record = layout.convert(row)
        assert isinstance(record, PreferencePair | UnpairedPreference)
        sides = sides_of(record, VIEWS[stage])
        encoded = renderer.encode([side.record for side in sides])
        if len(encoded) == len(sides) and max(len(each.ids) for each in encoded) <= max_length:
            found.append(_row(record))
    return found


def _row(record: PreferencePair | UnpairedPreference) -> dict[str, Any]:
    """In the form that both programs read."""
    if isinstance(record, UnpairedPreference):
        *before, answer = record.messages
        return {
            "prompt": _turns(before),
            "completion": _turns([answer]),
            "label": record.desirable,
        }
    return {
        "prompt": _turns(record.messages),
        "chosen": _turns(record.chosen),
        "rejected": _turns(record.rejected),
    }


def _turns(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": each.role, "content": each.content} for each in messages]


def as_answers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every answer of the rows as a conversation to learn from."""
    return [
        {"messages": row["prompt"] + row[answer]}
        for row in rows
        for answer in ("chosen", "rejected", "completion")
        if answer in row
    ]


def ours(
    options: argparse.Namespace, stage: str, rows: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """`tunesmith train`, read back from its events. As many answers a step in every stage."""
    data = folder / f"{stage}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answers = 2 if stage == "sft" and options.stage == "dpo" else 1
    recipe = {
        "model": {"base": str(options.model), "dtype": "float32"},
        "stage": {"kind": stage},
        "data": {
            "train": [{"dataset": str(data)}],
            "validation": {"kind": "none"},
            "allow_small": True,
            "max_length": options.max_length,
        },
        "training": {
            "max_steps": options.steps,
            "batch_size": options.batch_size * answers,
            "learning_rate": 1e-4,
            "schedule": {"kind": "constant", "warmup_ratio": 0},
            "checkpoint": {"every_steps": 10**9},
        },
        "report": {"tensorboard": False},
    }
    path, place, memory = folder / f"{stage}.yaml", folder / f"run-{stage}", PeakMemory()
    path.write_text(json.dumps(recipe), encoding="utf-8")
    command = [sys.executable, "-m", "tunesmith", "train", path, "--run", place]
    settings = environment(options.threads, TUNESMITH_DATA_DIR=str(folder / "home"))
    run(command, folder / f"{stage}.log", settings, memory.watch)
    events, _ = read_events(RunDir(place).events_path)
    imports = "import torch, transformers, peft, resource as r; print(r.getrusage(0).ru_maxrss)"
    level = int(subprocess.check_output([sys.executable, "-c", imports])) * 1024
    steps = [event for event in events if event["type"] == "step"]
    return {"steps": steps, "peak_bytes": memory.peak_bytes - level}


def theirs(options: argparse.Namespace, rows: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """TRL in its own environment."""
    job = {
        "model": str(options.model), "rows": rows, "scratch": str(folder / "trl"),
        "steps": options.steps, "batch_size": options.batch_size, "threads": options.threads,
        "max_length": options.max_length, "learning_rate": 1e-4, "stage": options.stage,
    }  # fmt: skip
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    command = [options.peer_python, HERE / "peers" / "trl_preference.py", path]
    settings = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    with (folder / "trl.log").open("wb") as log:
        output = subprocess.check_output(command, stderr=log, env=settings)
    return json.loads(output.splitlines()[-1])


def speed(steps: list[dict[str, Any]]) -> float:
    """Median real tokens a second."""
    return statistics.median(step["tokens"] / step["seconds"] for step in steps[WARM:])


def tokens(steps: list[dict[str, Any]]) -> float:
    """Mean real tokens of a step, to see that all have the same work."""
    return statistics.mean(step["tokens"] for step in steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--stage", choices=("dpo", "kto"), default="dpo")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    options.model = options.model.resolve()
    rows = fitting_rows(options.rows, options.model, options.max_length, options.stage)
    with tempfile.TemporaryDirectory(prefix="tunesmith-preference-") as scratch:
        place = Path(scratch)
        mine = ours(options, options.stage, rows, place)
        peer = theirs(options, rows, place)
        plain = ours(options, "sft", as_answers(rows), place)
    assert all(step["grad_norm"] > 0 for each in (mine, peer, plain) for step in each["steps"])
    for name, found in (("tunesmith", mine), ("TRL", peer), ("sft", plain)):
        sys.stdout.write(
            f"{name:10} {speed(found['steps']):8.0f} tokens/s  "
            f"{tokens(found['steps']):6.0f} tokens a step  "
            f"{found['peak_bytes'] / 1e6:8.0f} MB above imports  "
            f"first loss {found['steps'][0]['loss']:.4f}\n"
        )
    sys.stdout.write(
        f"{len(rows)} rows of {options.stage}: {speed(mine['steps']) / speed(peer['steps']):.2f} x "
        f"TRL's speed, {mine['peak_bytes'] / peer['peak_bytes']:.2f} x its memory, "
        f"{mine['peak_bytes'] / plain['peak_bytes']:.2f} x the memory of sft\n"
    )


if __name__ == "__main__":
    main()
