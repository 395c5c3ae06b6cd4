"""GRPO teaches the starter a skill: every answer is JSON of one schema.

    python benchmarks/reinforcement.py [--out DIR] [--steps N]

First a short sft on mixed answers, one in five JSON, so that there is something to find; then grpo
with one reward: 1 where the answer fits the schema. Prints the share of answers that fit, drawn and
likeliest, before and after, the time of grpo, and the load of the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tunesmith.runs import RunDir, read_events

SCHEMA = {
    "type": "object",
    "properties": {
        "topic": {"enum": ["price", "delivery", "return"]},
        "urgent": {"type": "boolean"},
    },
    "required": ["topic", "urgent"],
    "additionalProperties": False,
}
THINGS = ("lamp", "chair", "phone", "coat", "book", "bike", "cup", "table", "watch", "bag")
ASKED = {
    "price": ("How much is the {}?", "What does the {} cost?", "Is the {} cheaper now?"),
    "delivery": ("When does my {} come?", "Where is the {} I ordered?", "Is my {} on its way?"),
    "return": ("I want to send the {} back.", "Can I return the {}?", "How do I return my {}?"),
}
ENDS = ("", " Please answer soon.", " It is urgent!", " Thank you.", " I am waiting.")
SHARE_OF_JSON = 0.2
GOAL = 0.9


def questions() -> list[dict[str, Any]]:
    """All questions in a fixed random order, each with what a right answer would be."""
    rows: list[dict[str, Any]] = []
    for topic, forms in ASKED.items():
        for form in forms:
            for thing in THINGS:
                rows += [
                    {"prompt": form.format(thing) + end, "topic": topic, "urgent": "urgent" in end}
                    for end in ENDS
                ]
    random.Random(7).shuffle(rows)
    return rows


def answer_of(row: dict[str, Any], number: int) -> str:
    """JSON for one row in five, a sentence for the others."""
    if number % round(1 / SHARE_OF_JSON) == 0:
        return json.dumps({"topic": row["topic"], "urgent": row["urgent"]})
    return f"Your message is about the {row['topic']}."


def write_data(folder: Path) -> None:
    rows = questions()
    taught = [
        {"prompt": row["prompt"], "response": answer_of(row, number)}
        for number, row in enumerate(rows)
    ]
    for name, lines in (("taught", taught), ("asked", [{"prompt": r["prompt"]} for r in rows])):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def recipe(name: str, base: str, data: Path, stage: dict[str, Any], **training: Any) -> str:
    return yaml.safe_dump(
        {
            "name": name,
            "model": base,
            "adapter": {"kind": "full"},
            "stage": stage,
            "data": {
                "train": [str(data)],
                "validation": {"kind": "split", "fraction": 0.15},
                "max_length": 128,
            },
            "training": {"device": "cpu", "seed": 1, **training},
            "report": {"tensorboard": False},
        }
    )


def train(folder: Path, name: str, text: str) -> tuple[Path, float]:
    """Train with the command line; the run and its seconds, the start of the process included."""
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    run = folder / name
    command = [sys.executable, "-m", "tunesmith", "train", str(folder / f"{name}.yaml")]
    began = time.perf_counter()
    subprocess.run([*command, "--run", str(run)], check=True, stdout=sys.stderr)
    return run, time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for runs; a temporary one otherwise")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp(prefix="tunesmith-reinforcement-"))
    folder.mkdir(parents=True, exist_ok=True)
    write_data(folder)
    first, _ = train(
        folder,
        "sft",
        recipe(
            *("sft", "starter", folder / "taught.jsonl", {"kind": "sft"}),
            epochs=4,
            batch_size=16,
            learning_rate=5e-4,
        ),
    )
    stage = {
        "kind": "grpo",
        "group_size": 8,
        "max_answer_tokens": 32,
        "rewards": [{"kind": "json", "json_schema": SCHEMA}],
    }
    run, seconds = train(
        folder,
        "grpo",
        recipe(
            *("grpo", str(first), folder / "asked.jsonl", stage),
            max_steps=options.steps,
            batch_size=8,
            learning_rate=1e-4,
            evaluate={"every_steps": max(1, options.steps // 4)},
            schedule={"kind": "constant", "warmup_ratio": 0.0},
            stop={"metric": "reward"},
        ),
    )
    events = read_events(RunDir.open(run))[0]
    steps = [event for event in events if event["type"] == "step"]
    measured = [event for event in events if event["type"] == "evaluation"]
    drawn = [event["reward"] for event in steps]
    last = drawn[-5:]
    told = {
        "drawn_before": drawn[0],
        "drawn_after": sum(last) / len(last),
        "likeliest_before": measured[0]["reward"],
        "likeliest_after": measured[-1]["reward"],
        "curve": [round(value, 3) for value in drawn],
        "grpo_seconds": round(seconds, 1),
        "answers_a_step": 8 * stage["group_size"],
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return 0 if told["drawn_after"] > GOAL and seconds < 600 else 1


if __name__ == "__main__":
    sys.exit(main())
