"""One training with LLaMA-Factory: fp32, no gradient checkpointing, tokens prepared.

`python llamafactory_job.py JOB.json` prints one JSON document; see meter.py.
"""

from __future__ import annotations

from typing import Any

from meter import Meter, read_job, take_stdout

STDOUT = take_stdout()

import torch  # noqa: E402
import transformers  # noqa: E402
from llamafactory.extras.env import VERSION  # noqa: E402
from llamafactory.train.tuner import run_exp  # noqa: E402


def main() -> None:
    """Train as the job says and report each step."""
    meter = Meter()
    meter.install()
    job = read_job()
    torch.set_num_threads(job["threads"])
    run_exp(_arguments(job), callbacks=[meter])
    meter.write(
        STDOUT,
        llamafactory=VERSION,
        torch=torch.__version__,
        transformers=transformers.__version__,
    )


def _arguments(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_name_or_path": job["model"],
        "stage": "sft",
        "do_train": True,
        **_method(job),
        "dataset": "prepared",  # a name is asked for; the tokens come from the next line
        "tokenized_path": job["dataset"],
        "disable_shuffling": True,  # the rows lie in the order of training
        "template": "chatml",
        "cutoff_len": job["max_length"],
        "output_dir": job["scratch"],
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "per_device_train_batch_size": job["batch_size"],
        "gradient_accumulation_steps": 1,
        "learning_rate": job["learning_rate"],
        "max_steps": job["steps"],
        "max_grad_norm": job["max_grad_norm"],
        "lr_scheduler_type": "constant",
        "bf16": False,
        "fp16": False,
        "disable_gradient_checkpointing": True,
        "seed": job["seed"],
    }


def _method(job: dict[str, Any]) -> dict[str, Any]:
    if job["adapter"] is None:
        return {"finetuning_type": "full"}
    return {"finetuning_type": "lora", "adapter_name_or_path": job["adapter"]}


if __name__ == "__main__":
    main()
