"""The other contenders: write the job, run the peer's script in its own environment, read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from harness.environments import Peer
from harness.jobs import Job, Places
from harness.measurement import Measurement, measurement_from_document
from harness.processes import environment, run

WRITE_DATASET = Path(__file__).resolve().parent.parent / "peers" / "write_dataset.py"


def write_dataset(peer: Peer, python: Path, rows: Path, job: Job, places: Places) -> Path:
    """Hand the rows over in the peer's own table format, before any clock starts."""
    out = places.scratch / "peers" / peer.name / f"{job.name}-rows"
    shutil.rmtree(out, ignore_errors=True)
    run([python, WRITE_DATASET, rows, out], places.scratch / "logs" / f"{peer.name}-rows.log")
    return out


def train(
    peer: Peer,
    python: Path,
    dataset: Path,
    job: Job,
    places: Places,
    *,
    seed: int,
    threads: int,
) -> Measurement:
    """Train once with a peer."""
    home = places.scratch / "peers" / peer.name
    scratch = home / f"{job.name}-out"
    shutil.rmtree(scratch, ignore_errors=True)
    description = home / f"{job.name}.json"
    description.write_text(
        json.dumps(_description(job, places, dataset, scratch, seed=seed, threads=threads)),
        encoding="utf-8",
    )
    finished = run(
        [python, peer.job, description],
        places.scratch / "logs" / f"{peer.name}-{job.name}.log",
        environment(threads),
    )
    return measurement_from_document(peer.name, finished.started, json.loads(finished.stdout))


def _description(
    job: Job, places: Places, dataset: Path, scratch: Path, *, seed: int, threads: int
) -> dict[str, Any]:
    rank = job.lora_rank
    return {
        "model": str(places.model(job.model)),
        "adapter": None if rank is None else str(places.adapter(job.model, rank)),
        "dataset": str(dataset),
        "scratch": str(scratch),
        "steps": job.steps,
        "threads": threads,
        "seed": seed,
        "batch_size": job.batch_size,
        "max_length": job.max_length,
        "learning_rate": job.learning_rate,
        "max_grad_norm": job.max_grad_norm,
    }
