"""Rows to tokens with TRL, as its job does it: `python trl_rows.py JOB.json`."""

from __future__ import annotations

import json
import os
import time

from meter import read_job, take_stdout

STDOUT = take_stdout()

from datasets import Dataset  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402


def main() -> None:
    """Time from the file to the trainer's token dataset; the model is loaded before."""
    job = read_job()
    model = AutoModelForCausalLM.from_pretrained(job["model"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    config = SFTConfig(
        output_dir=job["scratch"],
        max_length=job["max_length"],
        report_to=[],
        use_cpu=True,
        bf16=False,
    )
    started = time.perf_counter()
    with open(job["dataset"], encoding="utf-8") as file:
        rows = json.load(file)
    dataset = Dataset.from_list([_turns(row) for row in rows])
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=dataset, processing_class=tokenizer
    )
    seconds = time.perf_counter() - started
    tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
    os.write(
        STDOUT,
        json.dumps(
            {"rows": len(trainer.train_dataset), "tokens": tokens, "seconds": seconds}
        ).encode(),
    )


def _turns(row: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    question = row["instruction"] + ("\n" + row["input"] if row.get("input") else "")
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": row["output"]}],
    }


if __name__ == "__main__":
    main()
