"""`python -m tunesmith.engine answer`: the answers of a model to a file of questions.

    answer TARGET --questions questions.jsonl --out answers.jsonl [--max-tokens N]

A question is a line with `messages`, or with `question` (also `prompt` or `instruction`) and
perhaps `system`. A line of the output is that of the question with `answer`, `tokens` and `finish`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.conversation import Conversation, Message, Role
from tunesmith.errors import DataError
from tunesmith.runs import write_atomically

QUESTION_FIELDS = ("question", "prompt", "instruction")
ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def main(arguments: list[str]) -> int:
    """Answer every question of a file; the output appears when it is complete."""
    options = _parse(arguments)
    rows = read_questions(options.questions)
    conversations = [conversation(row, number) for number, row in enumerate(rows, start=1)]
    from tunesmith.engine.generate import Settings, load_for_inference

    answerer = load_for_inference(options.target, adapter=options.adapter, device=options.device)
    answers = answerer.answer_all(
        conversations,
        Settings(max_tokens=options.max_tokens, temperature=0.0),
        on_progress=_show_progress,
        batch_rows=options.batch_size,
    )
    lines = [
        orjson.dumps(
            {**row, "answer": given.text, "tokens": given.num_tokens, "finish": given.finish}
        )
        for row, given in zip(rows, answers, strict=True)
    ]
    write_atomically(options.out, b"".join(line + b"\n" for line in lines))
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tunesmith.engine answer")
    parser.add_argument("target", help="a run, a model folder, `starter` or a hub id")
    parser.add_argument("--questions", type=Path, required=True, help="JSONL")
    parser.add_argument("--out", type=Path, required=True, help="JSONL")
    parser.add_argument("--adapter", help="an adapter to put on the model")
    parser.add_argument("--max-tokens", type=int, default=512, help="most tokens in an answer")
    parser.add_argument("--batch-size", type=int, default=32, help="answers at the same time")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    return parser.parse_args(arguments)


def read_questions(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; a wrong one is named with its number."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not valid JSON ({error}).") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: not a JSON object.")
        rows.append(row)
    if not rows:
        raise DataError(f"{path} has no questions.")
    return rows


def conversation(row: dict[str, Any], number: int) -> Conversation:
    """What is asked in one row; an answer that stands at its end already is left out."""
    turns = row.get("messages")
    if turns is None:
        name = next((field for field in QUESTION_FIELDS if row.get(field)), None)
        if name is None:
            raise DataError(
                f"Question {number} has neither `messages` nor `question`.",
                hint=f"Its fields are: {', '.join(map(str, row)) or 'none'}.",
            )
        turns = [{"role": "user", "content": row[name]}]
        if row.get("system"):
            turns.insert(0, {"role": "system", "content": row["system"]})
    try:
        messages = [Message(ROLES[turn["role"]], str(turn["content"])) for turn in turns]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"Question {number}: each message needs a `role` ({', '.join(ROLES)}) and a `content`."
        ) from error
    while messages and messages[-1].role == "assistant":
        messages.pop()
    if not messages:
        raise DataError(f"Question {number} asks nothing.")
    return Conversation(tuple(messages))


def _show_progress(done: int, total: int) -> None:
    sys.stderr.write(f"{done} of {total} answered\n")
    sys.stderr.flush()
