"""One training with TRL at its best on a CPU: fp32, no gradient checkpointing, tokens prepared.

`python trl_job.py JOB.json` prints one JSON document; see meter.py.
"""

from __future__ import annotations

from typing import Any

from meter import Meter, read_job, take_stdout

STDOUT = take_stdout()

import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from datasets import load_from_disk  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402


def main() -> None:
    """Train as the job says and report each step."""
    meter = Meter()
    meter.install()
    job = read_job()
    torch.set_num_threads(job["threads"])
    trainer = SFTTrainer(
        model=_model(job),
        args=_config(job),
        train_dataset=load_from_disk(job["dataset"]),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        callbacks=[meter],
    )
    trainer.train()
    meter.write(
        STDOUT, trl=trl.__version__, torch=torch.__version__, transformers=transformers.__version__
    )


def _model(job: dict[str, Any]) -> Any:
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    if job["adapter"] is None:
        return model
    return peft.PeftModel.from_pretrained(model, job["adapter"], is_trainable=True)


def _config(job: dict[str, Any]) -> SFTConfig:
    return SFTConfig(
        output_dir=job["scratch"],
        per_device_train_batch_size=job["batch_size"],
        max_steps=job["steps"],
        max_length=job["max_length"],
        learning_rate=job["learning_rate"],
        lr_scheduler_type="constant",
        max_grad_norm=job["max_grad_norm"],
        weight_decay=0.0,
        seed=job["seed"],
        train_sampling_strategy="sequential",  # the rows lie in the order of training
        dataset_kwargs={"skip_prepare_dataset": True},
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


if __name__ == "__main__":
    main()
