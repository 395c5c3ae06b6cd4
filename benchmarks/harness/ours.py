"""Our own contender: `tunesmith train RECIPE --run DIR`, read back from its event stream."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from harness.jobs import Job, Places
from harness.measurement import BenchmarkError, Measurement, Step
from harness.processes import PeakMemory, environment, run
from tunesmith.data.batches import micro_batches
from tunesmith.data.prepare import prepare
from tunesmith.data.table import TokenTable
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.recipe import load_recipe
from tunesmith.runs.events import Event, read_events

NEVER = 1_000_000_000  # steps between checkpoints: peers do not save either


def recipe(job: Job, places: Places, *, seed: int, tensorboard: bool) -> dict[str, Any]:
    """The job as a recipe. A constant rate makes the losses independent of the step count."""
    return {
        "name": f"bench-{job.name}",
        "model": {"base": str(places.model(job.model)), "source": "local", "dtype": "float32"},
        "adapter": _adapter(job, places),
        "stage": {"kind": job.stage},
        "data": {
            "train": [{"dataset": str(places.dataset(job.rows))}],
            "validation": {"kind": "none"},
            "max_length": job.max_length,
        },
        "training": {
            "epochs": 1,
            "max_steps": job.steps,
            "batch_size": job.batch_size,
            "learning_rate": job.learning_rate,
            "schedule": {"kind": "constant", "warmup_ratio": 0},
            "max_grad_norm": job.max_grad_norm,
            "seed": seed,
            "checkpoint": {"every_steps": NEVER},
            "device": "cpu",
        },
        "report": {"tensorboard": tensorboard},
    }


def _adapter(job: Job, places: Places) -> dict[str, Any]:
    if job.lora_rank is None:
        return {"kind": "full"}
    return {
        "kind": "lora",
        "rank": job.lora_rank,
        "alpha": 2 * job.lora_rank,
        "continue_from": str(places.adapter(job.model, job.lora_rank)),
    }


def train(
    job: Job,
    places: Places,
    *,
    seed: int,
    threads: int,
    import_bytes: int = 0,
    tensorboard: bool = False,
) -> tuple[Measurement, Path]:
    """Train once; returns the measurement and the run directory."""
    home = places.scratch / "ours" / job.name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    recipe_path, run_path = home / "recipe.yaml", home / "run"
    wanted = recipe(job, places, seed=seed, tensorboard=tensorboard)
    recipe_path.write_text(yaml.safe_dump(wanted, allow_unicode=True), encoding="utf-8")
    memory = PeakMemory()
    finished = run(
        [sys.executable, "-m", "tunesmith", "train", recipe_path, "--run", run_path],
        places.scratch / "logs" / f"ours-{job.name}.log",
        environment(threads, TUNESMITH_DATA_DIR=str(home_of(places))),
        memory.watch,
    )
    measurement = Measurement(
        contender="tunesmith",
        started=finished.started,
        steps=[_step(event) for event in events_of(run_path, "step")],
        import_bytes=import_bytes,
        peak_bytes=memory.peak_bytes,
    )
    return measurement, run_path


def home_of(places: Places) -> Path:
    """Our own data directory during the benchmark, so that a user's is left alone."""
    return places.scratch / "home"


def events_of(run_path: Path, event_type: str) -> list[Event]:
    """All events of one type of a run."""
    events, _ = read_events(run_path / "events.jsonl")
    return [event for event in events if event["type"] == event_type]


def _step(event: Event) -> Step:
    return Step(
        tokens=event["tokens"],
        label_tokens=event["label_tokens"],
        padded_tokens=event["tokens"],  # a flat layout computes no padding
        loss=event["loss"],
        grad_norm=event["grad_norm"],
        end=datetime.fromisoformat(event["time"]).timestamp(),
    )


def row_order(run_path: Path, batch_size: int) -> list[list[int]]:
    """The row numbers of each step, as the engine recorded them."""
    order = [list(event["rows"]) for event in events_of(run_path, "step")]
    for number, rows in enumerate(order, 1):
        if len(rows) != batch_size:
            raise BenchmarkError(f"step {number} of ours holds {len(rows)} rows, not {batch_size}.")
    return order


def token_table(job: Job, places: Places, run_path: Path) -> TokenTable:
    """The tokens and labels that ours trained on, from its cache."""
    loaded = load_recipe(run_path / "recipe.yaml")
    return prepare(
        loaded.data,
        loaded.stage,
        TextTokenizer.load(places.model(job.model)),
        seed=loaded.training.seed,
        cache_dir=home_of(places) / "cache" / "tokens",
        base_dir=places.scratch,
        max_context=None,
        on_progress=lambda *_: None,
    ).train


def token_rows(table: TokenTable, order: list[list[int]]) -> list[dict[str, list[int]]]:
    """The rows as the peers get them, in the order of training."""
    return [_labelled(*table.row(row)) for rows in order for row in rows]


def micro_batch_sizes(
    table: TokenTable, order: list[list[int]], budget: int
) -> list[tuple[int, int]]:
    """Tokens and labels of every micro-batch of these steps, cut as the engine cuts them."""
    groups = [
        group
        for rows in order
        for group in micro_batches(np.array(rows, np.int64), table.lengths, budget)
    ]
    return [
        (int(table.lengths[group].sum()), int(table.label_counts[group].sum())) for group in groups
    ]


def _labelled(ids: NDArray[np.uint32], targets: NDArray[np.uint8]) -> dict[str, list[int]]:
    """-100 marks a token that nothing is learned from."""
    labels = np.where(targets != 0, ids.astype(np.int64), -100)
    return {"input_ids": ids.tolist(), "labels": labels.tolist()}


def write_rows(rows: list[dict[str, list[int]]], path: Path) -> None:
    """Write the rows for peers/write_dataset.py."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
