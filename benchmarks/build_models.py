"""Build a model of the benchmarks: build_models.py NAME TOKENIZER OUT [RANK ADAPTER_OUT].

Random weights from seed 0. With RANK it also writes a fresh PEFT adapter on all linear layers, so
that every contender starts from the same one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from harness.jobs import MODELS


def build(name: str, tokenizer_dir: str, out: str) -> None:
    """Write a model folder: configuration, weights, tokenizer."""
    shape = MODELS[name]
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    config = AutoConfig.for_model(
        shape.architecture,
        vocab_size=(len(tokenizer) + 63) // 64 * 64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape.config,
    )
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def build_adapter(model_dir: str, rank: int, out: str) -> None:
    """Write an untrained adapter: A random, B zero."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    lora = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    get_peft_model(model, lora).save_pretrained(out)


def main(name: str, tokenizer: str, out: str, rank: str = "", adapter_out: str = "") -> None:
    """Build whatever is missing."""
    if not (Path(out) / "config.json").exists():
        build(name, tokenizer, out)
    if rank and not (Path(adapter_out) / "adapter_config.json").exists():
        build_adapter(out, int(rank), adapter_out)


if __name__ == "__main__":
    main(*sys.argv[1:])
