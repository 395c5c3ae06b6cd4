"""Write the rows of the customer-service example: `python tools/starter/make_examples.py`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain, zip_longest
from pathlib import Path

from intents import LANGUAGES, Intent, load_intents

EXAMPLE = Path(__file__).parents[2] / "src/tunesmith/examples/customer-service"


def row(intent: Intent, question: str) -> dict[str, object]:
    """One conversation in the messages format, with the intent and language beside it."""
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": intent.answer},
    ]
    return {"messages": messages, "intent": intent.name, "language": intent.language}


def interleaved(questions: list[list[dict[str, object]]]) -> Iterable[dict[str, object]]:
    """First every intent's first question, then every second one: any prefix covers all intents."""
    return (found for found in chain.from_iterable(zip_longest(*questions)) if found is not None)


def write_rows(path: Path, rows: Iterable[dict[str, object]]) -> None:
    lines = [json.dumps(found, ensure_ascii=False) + "\n" for found in rows]
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write train.jsonl and heldout.jsonl from intents_en.yaml and intents_zh.yaml."""
    by_language = [load_intents(language) for language in LANGUAGES]
    intents = list(chain.from_iterable(zip(*by_language, strict=True)))
    train = [[row(intent, question) for question in intent.train] for intent in intents]
    heldout = [[row(intent, question) for question in intent.heldout] for intent in intents]
    write_rows(EXAMPLE / "train.jsonl", interleaved(train))
    write_rows(EXAMPLE / "heldout.jsonl", interleaved(heldout))


if __name__ == "__main__":
    main()
