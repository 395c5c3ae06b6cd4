"""Training speed, memory and exactness, ours beside the peers, in turn, in one run.

    python benchmarks/training.py --peers trl,llamafactory --jobs llama-full,llama-lora,qwen3-lora

Every contender trains the same model from the same weights on the same tokens and labels in the
same order, in fp32, with the same batch size, rate and threads. Ours goes first and records the
rows of each step; the peers get exactly these rows, already tokenised. See README.md beside this
file for what is counted and how.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from harness import ours, peers
from harness.environments import PEERS, Peer, ensure_environment
from harness.jobs import CHAT, JOBS, Job, Places
from harness.machine import describe_machine
from harness.measurement import (
    BenchmarkError,
    Measurement,
    largest_loss_difference,
    require_same_work,
    require_training,
    summarise,
)
from harness.processes import environment, import_level_bytes, run
from harness.report import Result, as_document, render

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
PRIMING_STEPS = 2  # a first short run fills the caches of files, tokens and byte code
PRODUCT_SAMPLES = 6  # steps whose products are timed, spread over the timed steps


@dataclass(frozen=True)
class Bench:
    """What stays the same for all jobs of one benchmark run."""

    places: Places
    pythons: dict[str, Path]
    threads: int
    import_bytes: int
    product: bool


@dataclass
class Round:
    """One repeat: ours, then each peer, then the product rate."""

    ours: Measurement
    peers: dict[str, Measurement]
    product: dict[str, Any] | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all jobs and print the figures; 1 when the contenders did not do the same work."""
    options = parse(arguments)
    machine = describe_machine()
    places = Places(options.shared.resolve(), options.env_dir.resolve(), options.scratch.resolve())
    try:
        jobs = chosen_jobs(options, places)
        bench = prepare(options, places, jobs)
        results = [run_job(bench, job, options.repeats) for job in jobs]
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    document = as_document(machine, results)
    if options.out:
        options.out.write_text(json.dumps(document, indent=2), encoding="utf-8")
    print(json.dumps(document) if options.json else render(machine, results))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--peers", type=_names(PEERS), default=list(PEERS), help="or `none`")
    add("--jobs", type=_names(JOBS), default=list(JOBS))
    add("--shared", type=Path, default=SHARED, help="holds data/ and tokenizers/")
    add("--env-dir", type=Path, default=Path(".venv-peers"), help="the peers' environments")
    add("--scratch", type=Path, default=Path(".benchmarks"), help="models, runs and logs")
    add("--threads", type=int, default=2)
    add("--repeats", type=int, default=3, help="each with a seed of its own")
    add("--warmup", type=int, help="optimizer steps before timing; default: as the job says")
    add("--timed", type=int, help="timed optimizer steps; default: as the job says")
    add("--quick", action="store_true", help="one repeat, few steps: parity and a first idea")
    add("--no-product-rate", action="store_true")
    add("--json", action="store_true", help="print one JSON document")
    add("--out", type=Path, help="also write the JSON document here")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats = 1
    return options


def _names(known: dict[str, Any]) -> Any:
    def names(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name and name != "none"]
        unknown = sorted(set(chosen) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return chosen

    return names


def chosen_jobs(options: argparse.Namespace, places: Places) -> list[Job]:
    """The jobs with the step counts of the command line, as far as their inputs are at hand."""
    jobs = [with_steps(JOBS[name], options) for name in options.jobs]
    if places.has_shared:
        return jobs
    say(f"{places.shared} has no rows: the package's own example takes their place, without goals.")
    for job in jobs:
        if not at_hand(job, places):
            say(f"{job.name}: left out, its tokenizer or its rows are not at hand.")
    return [replace(job, speed_goals={}) for job in jobs if at_hand(job, places)]


def at_hand(job: Job, places: Places) -> bool:
    """Whether a job can run without the shared folder."""
    return job.rows == CHAT and places.tokenizer(job.model) is not None


def with_steps(job: Job, options: argparse.Namespace) -> Job:
    """How many steps are taken and timed."""
    warmup, timed = job.quick if options.quick else (job.warmup, job.timed)
    warmup = warmup if options.warmup is None else options.warmup
    return replace(job, warmup=warmup, timed=timed if options.timed is None else options.timed)


def prepare(options: argparse.Namespace, places: Places, jobs: Sequence[Job]) -> Bench:
    """Build what is missing: environments and models."""
    logs = places.scratch / "logs"
    pythons = {
        name: ensure_environment(PEERS[name], places.environments, logs) for name in options.peers
    }
    for job in jobs:
        build_model(job, places)
    return Bench(
        places,
        pythons,
        options.threads,
        import_level_bytes(places.scratch, options.threads),
        product=not options.no_product_rate,
    )


def build_model(job: Job, places: Places) -> None:
    """Write the model and, for LoRA, the adapter that all contenders start from."""
    tokenizer, model = places.tokenizer(job.model), places.model(job.model)
    assert tokenizer is not None
    command = [sys.executable, HERE / "build_models.py", job.model, tokenizer, model]
    if job.lora_rank is not None:
        command += [str(job.lora_rank), places.adapter(job.model, job.lora_rank)]
    run(command, places.scratch / "logs" / f"model-{job.model}.log")


def run_job(bench: Bench, job: Job, repeats: int) -> Result:
    """All repeats of one job, contender after contender."""
    say(f"{job.name}: priming")
    run_round(bench, replace(job, warmup=0, timed=PRIMING_STEPS), seed=0, product=False)
    rounds: list[Round] = []
    for repeat in range(repeats):
        say(f"{job.name}: repeat {repeat + 1} of {repeats}")
        rounds.append(run_round(bench, job, seed=42 + repeat, product=bench.product))
    products = [r.product for r in rounds if r.product]
    names = list(bench.pythons)
    return Result(
        job=job,
        summaries=[
            summarise([r.ours for r in rounds], job.warmup),
            *(summarise([r.peers[name] for r in rounds], job.warmup) for name in names),
        ],
        product_rate=median(p["tokens_per_second"] for p in products) if products else None,
        product_gflops=median(p["gflops"] for p in products) if products else None,
        loss_differences={
            name: max(largest_loss_difference(r.ours, r.peers[name]) for r in rounds)
            for name in names
        },
    )


def run_round(bench: Bench, job: Job, *, seed: int, product: bool) -> Round:
    """Every contender once, on the rows and in the order that ours recorded."""
    measured, run_path = ours.train(
        job,
        bench.places,
        seed=seed,
        threads=bench.threads,
        import_bytes=bench.import_bytes,
    )
    require_training(measured)
    table = ours.token_table(job, bench.places, run_path)
    order = ours.row_order(run_path, job.batch_size)
    rows = bench.places.scratch / "rows" / f"{job.name}.json"
    ours.write_rows(ours.token_rows(table, order), rows)
    found: dict[str, Measurement] = {}
    for name, python in bench.pythons.items():
        found[name] = run_peer(bench, PEERS[name], python, rows, job, seed)
        require_training(found[name])
        require_same_work(measured, found[name])
    if not product:
        return Round(measured, found, None)
    budget = ours.events_of(run_path, "plan")[-1]["micro_batch_tokens"]
    sample = order[job.warmup :: max(1, job.timed // PRODUCT_SAMPLES)]
    sizes = ours.micro_batch_sizes(table, sample, budget)
    return Round(measured, found, product_rate(bench, job, sizes))


def run_peer(
    bench: Bench, peer: Peer, python: Path, rows: Path, job: Job, seed: int
) -> Measurement:
    """One training of one peer."""
    dataset = peers.write_dataset(peer, python, rows, job, bench.places)
    say(f"  {peer.title}")
    return peers.train(
        peer,
        python,
        dataset,
        job,
        bench.places,
        seed=seed,
        threads=bench.threads,
    )


def product_rate(bench: Bench, job: Job, sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The physical limit for micro-batches that ours has just worked on."""
    command = [
        sys.executable,
        HERE / "product_rate.py",
        bench.places.model(job.model),
        "--json",
        f"--threads={bench.threads}",
        "--repeats=3",
        "--micro-batches=" + ",".join(f"{tokens}:{labels}" for tokens, labels in sizes),
        *([] if job.lora_rank is None else [f"--lora={job.lora_rank}"]),
    ]
    log = bench.places.scratch / "logs" / f"product-{job.name}.log"
    return json.loads(run(command, log, environment(bench.threads)).stdout)


def say(text: str) -> None:
    """Progress goes to standard error: standard output holds the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
