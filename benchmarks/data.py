"""Import with all checks that need no tokenizer, beside what orjson alone parses on the same cores.

    python benchmarks/data.py [--sizes 500,1000,2000] [--scratch FOLDER]

For each size a file of chat rows of about 1 KB is generated (English and Chinese, no two rows
alike, one in a thousand repeated). Then, one after the other on the same file:

    orjson      each process parses its part of the lines and keeps nothing
    import      `tunesmith data import --no-near`: read, convert, check, publish as Parquet
    near        the same with the search for nearly equal rows

orjson runs before and after each import and counts with its mean: the machine's speed changes. MB/s
of the source file; the largest resident memory of all processes together, sampled. Exit code 1
when a goal is missed: 10% of orjson, a third of that with the search, 1.5 GB at any size.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil

from tunesmith.data.pool import num_processes
from tunesmith.data.readers import read_rows
from tunesmith.data.resolve import resolve_dataset

GOAL, NEAR_GOAL = 0.10, 0.10 / 3
MEMORY_GOAL = 1.5e9
ROW_BYTES = 900
_WORDS = 400  # of each language, to make sentences that no other row has


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default="500,1000,2000", help="MB, rising")
    parser.add_argument("--scratch", type=Path, default=None)
    options = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="data-bench-") as folder:
        for size in map(int, options.sizes.split(",")):
            met &= _measure(size, Path(folder))
    return 0 if met else 1


def _measure(megabytes: int, folder: Path) -> bool:
    path = folder / f"rows-{megabytes}.jsonl"
    rows, repeated = generate(path, megabytes * 1_000_000)
    size = path.stat().st_size / 1e6
    print(f"{size:,.0f} MB, {rows:,} rows, {num_processes()} processes")
    before = size / _seconds_of_orjson(path)
    met = True
    for label, flag, goal in (("import", "--no-near", GOAL), ("with near", "--near", NEAR_GOAL)):
        seconds, peak, done = _import(path, folder, flag)
        assert done["version"]["rows"] == rows, "every row must have arrived"
        counts = {f["code"]: f["count"] for f in done["report"]["findings"]}
        assert counts.get("duplicate") == repeated, "the repeated rows must be found"
        after = size / _seconds_of_orjson(path)
        parsed, before = (before + after) / 2, after
        share = size / seconds / parsed
        met &= share >= goal and peak <= MEMORY_GOAL
        print(
            f"  {label:<12}  {size / seconds:7.1f} MB/s, orjson {parsed:.0f}: {share:.1%} of it "
            f"(goal {goal:.1%}); peak {peak / 1e6:,.0f} MB"
        )
    path.unlink()
    return met


# ---------------------------------------------------------------- the file


def generate(path: Path, size: int) -> tuple[int, int]:
    """Write rows until the file has `size` bytes; (rows, how many of them repeat another)."""
    made = random.Random(0)
    phrases = list(_phrases())
    rows = repeated = written = 0
    with path.open("wb") as file:
        line = b""
        while written < size:
            if rows % 1000 == 999:
                repeated += 1
            else:
                line = _row(made, phrases[rows % 2], rows)
            file.write(line)
            written += len(line)
            rows += 1
    return rows, repeated


def _phrases() -> Iterator[list[str]]:
    """Sentences of the examples that ship with the package, Chinese and English apart."""
    texts: list[str] = []
    for _, row in read_rows(resolve_dataset("builtin:general", Path())):
        for text in (row[key] for key in row if isinstance(row[key], str)):
            texts += text.replace("。", "。\n").replace(". ", ".\n").splitlines()
    sentences = sorted({text.strip() for text in texts if len(text.strip()) > 8})
    for is_chinese in (True, False):
        yield [s for s in sentences if any(c > "\u2e80" for c in s) is is_chinese][:_WORDS]


def _row(made: random.Random, sentences: list[str], number: int) -> bytes:
    answer = [f"{number}:"]
    length = made.randint(ROW_BYTES // 3, ROW_BYTES * 3 // 2)
    size = 0
    while size < length:
        sentence = made.choice(sentences)
        size += len(sentence.encode()) + 1
        answer.append(sentence)
        if made.random() < 0.3:
            answer.append(f"{made.getrandbits(24):x}")
    messages = [
        {"role": "user", "content": f"{made.choice(sentences)} ({number})"},
        {"role": "assistant", "content": " ".join(answer)},
    ]
    return orjson.dumps({"messages": messages}) + b"\n"


# ---------------------------------------------------------------- the contenders


def _seconds_of_orjson(path: Path) -> float:
    """Every process parses the lines that begin in its part of the file."""
    parts = num_processes()
    size = path.stat().st_size
    ranges = [(path, size * n // parts, size * (n + 1) // parts) for n in range(parts)]
    with multiprocessing.get_context("spawn").Pool(parts) as pool:
        pool.map(_parse_part, [(path, 0, 1)] * parts)  # processes are up before the clock starts
        started = time.perf_counter()
        pool.map(_parse_part, ranges, chunksize=1)
        return time.perf_counter() - started


def _parse_part(part: tuple[Path, int, int]) -> int:
    path, start, end = part
    count = 0
    with path.open("rb") as file:
        file.seek(start)
        if start:
            file.readline()
        while file.tell() < end and (line := file.readline()):
            orjson.loads(line)
            count += 1
    return count


def _import(path: Path, folder: Path, flag: str) -> tuple[float, int, dict[str, Any]]:
    """(seconds, peak bytes of all processes together, what the command printed)."""
    data = folder / "store"
    shutil.rmtree(data, ignore_errors=True)
    command = [sys.executable, "-m", "tunesmith", "data", "import", str(path)]
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(data)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--name", "bench", flag, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        peak = _watch(process)
        output = process.stdout.read() if process.stdout else b""
    assert process.returncode == 0, output.decode()
    return time.perf_counter() - started, peak, orjson.loads(output)


def _watch(process: subprocess.Popen[bytes]) -> int:
    """The largest sum of resident memory, pages that processes share counted in each."""
    peak = 0
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        with_children = [parent]
        try:
            with_children += parent.children(recursive=True)
            peak = max(peak, sum(p.memory_info().rss for p in with_children))
        except psutil.Error:
            continue
        time.sleep(0.1)
    return peak


if __name__ == "__main__":
    sys.exit(main())
