"""Rows to tokens with LLaMA-Factory, as its job does it: `python llamafactory_rows.py JOB.json`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from meter import read_job, take_stdout

STDOUT = take_stdout()

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.hparams import get_train_args  # noqa: E402
from llamafactory.model import load_tokenizer  # noqa: E402


def main() -> None:
    """Time from the file to the token dataset."""
    job = read_job()
    folder = Path(job["dataset"]).parent
    listed = {"rows": {"file_name": Path(job["dataset"]).name}}
    (folder / "dataset_info.json").write_text(json.dumps(listed), encoding="utf-8")
    model_args, data_args, training_args, *_ = get_train_args(
        {
            "model_name_or_path": job["model"],
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "full",
            "dataset_dir": str(folder),
            "dataset": "rows",
            "template": "chatml",
            "cutoff_len": job["max_length"],
            "overwrite_cache": True,
            "preprocessing_num_workers": job["workers"],
            "output_dir": job["scratch"],
            "report_to": "none",
        }
    )
    tokenizer = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(tokenizer["tokenizer"], data_args)
    started = time.perf_counter()
    made = get_dataset(template, model_args, data_args, training_args, stage="sft", **tokenizer)
    seconds = time.perf_counter() - started
    rows = made["train_dataset"]
    tokens = sum(len(ids) for ids in rows["input_ids"])
    os.write(STDOUT, json.dumps({"rows": len(rows), "tokens": tokens, "seconds": seconds}).encode())


if __name__ == "__main__":
    main()
