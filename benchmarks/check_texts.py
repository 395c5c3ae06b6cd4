"""What the checks of texts cost on one core, beside parsing the same rows with orjson.

    python benchmarks/check_texts.py [DATASET ...]

Rows of a dataset are joined until they have about 900 bytes, and repeated until there are 4 MB.
Processor seconds, best of five. Exit code 1 when finding problems and languages together is slower
than 60 MB/s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa

from tunesmith.data.check.duplicates import band_keys
from tunesmith.data.check.languages import language_of
from tunesmith.data.check.texts import Texts, find_in_texts
from tunesmith.data.formats import find_layout
from tunesmith.data.readers import read_rows
from tunesmith.recipe import Dataset

SHARED = Path(__file__).parents[2] / "shared" / "data"
GOAL = 60.0  # MB/s
ROW_BYTES = 900
BLOCK_BYTES = 4 << 20


def main() -> int:
    paths = [Path(name) for name in sys.argv[1:]]
    paths = paths or [SHARED / "alpaca_en_demo.json", SHARED / "alpaca_zh_demo.json"]
    met = [_measured(path) for path in paths]
    return 0 if all(met) else 1


def _measured(path: Path) -> bool:
    turns = _rows(path)
    questions, answers, whole = (
        pa.array(column, pa.large_string())
        for column in zip(*((q, a, f"{q}\n{a}") for q, a in turns), strict=True)
    )
    texts = Texts(questions, answers, whole)
    lines = [orjson.dumps({"question": q, "answer": a}) for q, a in turns]
    megabytes = whole.nbytes / 1e6
    pieces: dict[str, Callable[[], object]] = {
        "orjson": lambda: [orjson.loads(line) for line in lines],
        "problems": lambda: find_in_texts(texts),
        "languages": lambda: language_of(whole),
        "near-duplicate keys": lambda: band_keys(whole),
    }
    seconds = {name: _seconds(piece) for name, piece in pieces.items()}
    print(f"{path.name}: {len(turns)} rows, {megabytes:.1f} MB")
    for name, taken in seconds.items():
        print(f"    {name:20} {megabytes / taken:7.0f} MB/s")
    rate = megabytes / (seconds["problems"] + seconds["languages"])
    print(f"    problems + languages {rate:7.0f} MB/s (goal: {GOAL:.0f})")
    return rate >= GOAL


def _rows(path: Path) -> list[tuple[str, str]]:
    """(question, answer) of rows long enough to stand for ordinary chats."""
    rows = [row for _, row in read_rows(path)]
    layout = find_layout(rows[:20], Dataset(dataset=str(path)), path.name)
    joined: list[tuple[str, str]] = []
    questions, answers, size, total = "", "", 0, 0
    while total < BLOCK_BYTES:
        for row in rows:
            messages = layout.convert(row).messages
            questions += "\n".join(m.content for m in messages if m.role == "user") + "\n"
            answers += "\n".join(m.content for m in messages if m.role == "assistant") + "\n"
            size = len(questions.encode()) + len(answers.encode())
            if size >= ROW_BYTES:
                joined.append((questions, answers))
                questions, answers, total = "", "", total + size
    return joined


def _seconds(piece: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(5):
        start = time.process_time()
        piece()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    sys.exit(main())
