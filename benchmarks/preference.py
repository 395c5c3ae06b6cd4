"""DPO side by side with TRL on the same pairs: tokens a second and peak memory, on the CPU.

    python benchmarks/preference.py PAIRS.json --model DIR --peer-python trl/bin/python [--steps 8]

Both train LoRA of rank 16 in fp32 on pairs whose sides fit into --max-length, so that neither cuts
anything. Rows come in each program's own order, so losses are shown and not compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.processes import PeakMemory, environment, run
from tunesmith.data.conversation import PreferencePair
from tunesmith.data.formats import find_layout
from tunesmith.data.readers import read_rows
from tunesmith.data.renderer import Renderer
from tunesmith.data.sides import pair_sides
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.recipe import Dataset
from tunesmith.runs import RunDir, read_events

HERE = Path(__file__).resolve().parent
WARM = 2  # steps that are not counted


def fitting_rows(file: Path, model: Path, max_length: int) -> list[dict[str, Any]]:
    """Pairs as conversations, where both sides fit."""
    rows = [row for _, row in read_rows(file)]
    layout = find_layout(rows[:20], Dataset(dataset=file.name), file.name)
    renderer = Renderer(TextTokenizer.load(model))
    found: list[dict[str, Any]] = []
    for row in rows:
        pair = layout.convert(row)
        assert isinstance(pair, PreferencePair)
        encoded = renderer.encode([side.record for side in pair_sides(pair)])
        if len(encoded) == 2 and max(len(side.ids) for side in encoded) <= max_length:
            found.append(
                {
                    name: [{"role": turn.role, "content": turn.content} for turn in turns]
                    for name, turns in (
                        ("prompt", pair.messages),
                        ("chosen", pair.chosen),
                        ("rejected", pair.rejected),
                    )
                }
            )
    return found


def ours(options: argparse.Namespace, rows: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """`tunesmith train`, read back from its events."""
    data = folder / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "model": {"base": str(options.model), "dtype": "float32"},
        "stage": {"kind": "dpo"},
        "data": {
            "train": [{"dataset": str(data)}],
            "validation": {"kind": "none"},
            "allow_small": True,
            "max_length": options.max_length,
        },
        "training": {
            "max_steps": options.steps,
            "batch_size": options.batch_size,
            "learning_rate": 1e-4,
            "schedule": {"kind": "constant", "warmup_ratio": 0},
            "checkpoint": {"every_steps": 10**9},
        },
        "report": {"tensorboard": False},
    }
    path, place, memory = folder / "recipe.yaml", folder / "run", PeakMemory()
    path.write_text(json.dumps(recipe), encoding="utf-8")
    command = [sys.executable, "-m", "tunesmith", "train", path, "--run", place]
    settings = environment(options.threads, TUNESMITH_DATA_DIR=str(folder / "home"))
    run(command, folder / "ours.log", settings, memory.watch)
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
        "max_length": options.max_length, "learning_rate": 1e-4,
    }  # fmt: skip
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    command = [options.peer_python, HERE / "peers" / "trl_dpo.py", path]
    settings = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    with (folder / "trl.log").open("wb") as log:
        output = subprocess.check_output(command, stderr=log, env=settings)
    return json.loads(output.splitlines()[-1])


def speed(steps: list[dict[str, Any]]) -> float:
    """Median real tokens a second."""
    return statistics.median(step["tokens"] / step["seconds"] for step in steps[WARM:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    options.model = options.model.resolve()
    rows = fitting_rows(options.pairs, options.model, options.max_length)
    with tempfile.TemporaryDirectory(prefix="tunesmith-preference-") as scratch:
        mine, peer = ours(options, rows, Path(scratch)), theirs(options, rows, Path(scratch))
    assert all(step["grad_norm"] > 0 for step in mine["steps"] + peer["steps"])
    for name, found in (("tunesmith", mine), ("TRL", peer)):
        sys.stdout.write(
            f"{name:10} {speed(found['steps']):8.0f} tokens/s  "
            f"{found['peak_bytes'] / 1e6:8.0f} MB above imports  "
            f"first loss {found['steps'][0]['loss']:.4f}\n"
        )
    sys.stdout.write(
        f"{len(rows)} pairs: {speed(mine['steps']) / speed(peer['steps']):.2f} x the speed, "
        f"{mine['peak_bytes'] / peer['peak_bytes']:.2f} x the memory\n"
    )


if __name__ == "__main__":
    main()
