"""Rendering and tokenising against their limits, side by side in one run.

    python benchmarks/tokenise.py [TOKENIZER_FOLDER DATASET] [--repeats 5]

Without a folder and a dataset, those of the llama job of training.py.

    render     ours (text and mask of a row) against transformers' `apply_chat_template` (text only)
    tokenise   ours (text to ids and targets) against raw `tokenizers.encode_batch`, same text
    measure    `tunesmith data stats`, from the file to lengths, against the same

Both are timed alternately, and the median ratio counts. The ids of every row must equal those of
`apply_chat_template` and of raw `encode_batch`. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from transformers import AutoTokenizer

from harness.jobs import Places
from training import SHARED
from tunesmith.data.conversation import Conversation
from tunesmith.data.formats import find_layout
from tunesmith.data.lengths import Lengths, measure
from tunesmith.data.readers import read_rows
from tunesmith.data.renderer import Rendered, Renderer
from tunesmith.data.subject import files_subject
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.recipe import Dataset

RENDER_GOAL = 5.0
TOKENISE_GOAL = 0.8


def main() -> int:
    options = _options()
    tokenizer = TextTokenizer.load(options.tokenizer)
    peer: Any = AutoTokenizer.from_pretrained(str(options.tokenizer))
    conversations = _conversations(options.dataset)
    messages = [[m.for_template() for m in c.messages] for c in conversations]
    renderer = Renderer(tokenizer, loss_on="last_turn")  # one row each, as the peer renders
    rendered = [renderer.render(conversation) for conversation in conversations]
    texts = [row.text for record in rendered for row in record.rows]
    _assert_equal(renderer, rendered, texts, peer, messages)

    render_ratio = _compare(
        "render",
        lambda: [renderer.render(conversation) for conversation in conversations],
        lambda: [peer.apply_chat_template(chat, tokenize=False) for chat in messages],
        len(conversations),
        options.repeats,
    )
    tokenise_ratio = _compare(
        "tokenise",
        lambda: renderer.encode_rendered(rendered),
        lambda: tokenizer.core.encode_batch(texts, add_special_tokens=False),
        len(texts),
        options.repeats,
    )
    with tempfile.TemporaryDirectory() as folder:
        measure_ratio = _compare(
            "measure",
            lambda: _measured(options.dataset, renderer, Path(folder)),
            lambda: tokenizer.core.encode_batch(texts, add_special_tokens=False),
            len(texts),
            options.repeats,
        )
    print(f"render    {render_ratio:5.1f}x apply_chat_template   (goal {RENDER_GOAL}x)")
    print(f"tokenise  {tokenise_ratio:5.1%} of encode_batch       (goal {TOKENISE_GOAL:.0%})")
    print(f"measure   {measure_ratio:5.1%} of encode_batch       (goal {TOKENISE_GOAL:.0%})")
    met = min(tokenise_ratio, measure_ratio) >= TOKENISE_GOAL and render_ratio >= RENDER_GOAL
    return 0 if met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    places = Places(SHARED, Path(), Path())
    parser.add_argument("tokenizer", type=Path, nargs="?", default=places.tokenizer("llama-8m"))
    parser.add_argument("dataset", type=Path, nargs="?", default=places.dataset())
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def _conversations(file: Path) -> list[Conversation]:
    rows = [row for _, row in read_rows(file)]
    layout = find_layout(rows[:20], Dataset(dataset=str(file)), file.name)
    records = [layout.convert(row) for row in rows]
    return [record for record in records if isinstance(record, Conversation)]


def _measured(file: Path, renderer: Renderer, folder: Path) -> Lengths:
    """With nothing remembered from the time before."""
    subject = files_subject([file], Dataset(dataset=str(file)), None)
    cache = Path(tempfile.mkdtemp(dir=folder))
    return measure(subject, renderer, cache_dir=cache, on_progress=lambda *_: None)


def _assert_equal(
    renderer: Renderer,
    rendered: list[Rendered],
    texts: list[str],
    peer: Any,
    messages: list[list[dict[str, Any]]],
) -> None:
    """Our ids are those of the rendered text in one piece, and of the peer."""
    ours = [row.ids.tolist() for row in renderer.encode_rendered(rendered)]
    raw = renderer.tokenizer.core.encode_batch(texts, add_special_tokens=False)
    assert ours == [encoding.ids for encoding in raw]
    theirs = [peer.apply_chat_template(chat, return_dict=False) for chat in messages]
    assert ours == theirs
    print(f"{len(ours)} rows, {sum(map(len, ours))} tokens: ids equal")


def _compare(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    num_rows: int,
    repeats: int,
) -> float:
    """How many times faster ours is: the median of ratios of runs right after each other."""
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(repeats)]
    our_time, their_time = (median(times) for times in zip(*pairs, strict=True))
    shown = [f"{seconds / num_rows * 1e6:.1f}" for seconds in (our_time, their_time)]
    print(f"{name}: ours {shown[0]} us a row, theirs {shown[1]} us a row")
    return median(other / our for our, other in pairs)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
