"""One DPO or KTO training with TRL on a CPU: fp32, no checkpointing. See benchmarks/preference.py.

`python trl_preference.py JOB.json` prints one JSON document: seconds, tokens and loss of each step,
and the peak memory above the level right after imports.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

KINDS = {"dpo": (DPOTrainer, DPOConfig), "kto": (KTOTrainer, KTOConfig)}


class Clock(TrainerCallback):
    """The time at the end of each step, and what was logged."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._seconds = time.perf_counter() - self._start

    def on_log(self, *args: Any, logs: dict[str, float], **_: Any) -> None:
        del args
        if "loss" in logs:
            told = {"loss": float(logs["loss"]), "grad_norm": float(logs["grad_norm"])}
            self.steps.append({"seconds": self._seconds, **told, "tokens": logs["num_tokens"]})


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    imported = peak_bytes()
    torch.set_num_threads(job["threads"])
    clock = Clock()
    trainer_of, config_of = KINDS[job["stage"]]
    trainer = trainer_of(
        model=AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32),
        args=config_of(
            output_dir=job["scratch"], max_steps=job["steps"], max_length=job["max_length"],
            per_device_train_batch_size=job["batch_size"], learning_rate=job["learning_rate"],
            lr_scheduler_type="constant", beta=0.1, logging_steps=1, save_strategy="no",
            report_to="none", bf16=False, gradient_checkpointing=False, use_cpu=True, seed=1,
        ),
        train_dataset=Dataset.from_list(job["rows"]),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
        callbacks=[clock],
    )  # fmt: skip
    trainer.train()
    before = 0.0
    for step in clock.steps:  # TRL counts from the beginning
        step["tokens"], before = step["tokens"] - before, step["tokens"]
    sys.stdout.write(json.dumps({"steps": clock.steps, "peak_bytes": peak_bytes() - imported}))


if __name__ == "__main__":
    main()
