"""From a file to token rows: ours beside two peers, on the rows of their jobs, in turn.

    python benchmarks/preprocess.py [--rows 100000] [--shared ../shared] [--env-dir E] [--scratch S]

alpaca_en_demo.json is repeated to the number of rows. Each contender reads it, applies the chat
template, tokenises and masks, with nothing cached; imports and model loading are not counted. TRL
works in one process, LLaMA-Factory in two as its job says, ours in one. All must make the same
number of rows; TRL, which uses the same template, of tokens too. Exit code 1 below eight times
a peer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from build_models import build
from harness.environments import PEERS, ensure_environment
from harness.jobs import Places
from harness.processes import environment, run
from training import SHARED
from tunesmith.data.prepare import prepare
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.recipe import Data, Sft

GOAL = 8.0
MODEL = "llama-8m"
MAX_LENGTH = 1024


def main() -> int:
    options = _options()
    places = Places(options.shared, options.env_dir, options.scratch)
    model = places.model(MODEL)
    if not model.is_dir():
        build(MODEL, str(places.tokenizer(MODEL)), str(model))
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="preprocess-") as folder:
        path = Path(folder) / "rows.json"
        rows = json.loads((options.shared / "data" / "alpaca_en_demo.json").read_text("utf-8"))
        repeated = (rows * (options.rows // len(rows) + 1))[: options.rows]
        path.write_text(json.dumps(repeated, ensure_ascii=False), encoding="utf-8")
        ours = _ours(path, model, Path(folder))
        print(_line("ours", ours))
        met = True
        for peer in PEERS.values():
            python = ensure_environment(peer, options.env_dir, options.scratch / "logs")
            theirs = _theirs(peer.name, python, path, model, Path(folder), options)
            assert theirs["rows"] == ours["rows"], "every row must be there"
            if peer.name == "trl":
                assert theirs["tokens"] == ours["tokens"], (theirs, ours)
            ratio = _rate(ours) / _rate(theirs)
            met &= ratio >= GOAL
            print(f"{_line(peer.title, theirs)}  ours is {ratio:.1f}x (goal {GOAL:.0f}x)")
    return 0 if met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--env-dir", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    return parser.parse_args()


def _ours(path: Path, model: Path, folder: Path) -> dict[str, Any]:
    tokenizer = TextTokenizer.load(model)
    data = Data.model_validate(
        {
            "train": [{"dataset": str(path)}],
            "validation": {"kind": "none"},
            "max_length": MAX_LENGTH,
        }
    )
    started = time.perf_counter()
    made = prepare(
        data,
        Sft(),
        tokenizer,
        seed=0,
        cache_dir=folder / "cache",
        base_dir=Path(),
        max_context=None,
        on_progress=lambda *_: None,
    )
    seconds = time.perf_counter() - started
    tokens = int(made.train.lengths[made.train_rows].sum())
    return {"rows": len(made.train_rows), "tokens": tokens, "seconds": seconds}


def _theirs(
    name: str, python: Path, path: Path, model: Path, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    job = {
        "model": str(model),
        "dataset": str(path),
        "scratch": str(folder / f"{name}-out"),
        "max_length": MAX_LENGTH,
        "workers": 2,
    }
    description = folder / f"{name}.json"
    description.write_text(json.dumps(job), encoding="utf-8")
    script = Path(__file__).parent / "peers" / f"{name}_rows.py"
    cache = folder / f"{name}-cache"
    shutil.rmtree(cache, ignore_errors=True)
    threads = len(os.sched_getaffinity(0))
    env = environment(threads, HF_DATASETS_CACHE=str(cache), TOKENIZERS_PARALLELISM="true")
    done = run([python, script, description], options.scratch / "logs" / f"{name}-rows.log", env)
    return json.loads(done.stdout)


def _rate(result: dict[str, Any]) -> float:
    return result["rows"] / result["seconds"]


def _line(title: str, result: dict[str, Any]) -> str:
    return (
        f"{title:<22} {result['rows']:>8,} rows {result['tokens']:>11,} tokens "
        f"{result['seconds']:>7.1f} s {_rate(result):>9,.0f} rows/s"
    )


if __name__ == "__main__":
    sys.exit(main())
