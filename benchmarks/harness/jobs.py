"""What is trained: the models, the methods and the goals of each benchmark job."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tunesmith

PACKAGE = Path(tunesmith.__file__).resolve().parent


@dataclass(frozen=True)
class ModelShape:
    """A real architecture with random weights, on a real tokenizer."""

    architecture: str
    tokenizer: str
    config: dict[str, Any]


MODELS = {
    "llama-8m": ModelShape(
        "llama",
        "minimind",
        {
            "hidden_size": 256,
            "intermediate_size": 688,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
        },
    ),
    "qwen3-60m": ModelShape(
        "qwen3",
        "qwen3",
        {
            "hidden_size": 320,
            "intermediate_size": 960,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 40,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
        },
    ),
}


CHAT = "alpaca_zh_demo.json"  # what most jobs train on


@dataclass(frozen=True)
class Job:
    """One training that every contender runs on the same rows in the same order.

    `warmup` and `timed` count optimizer steps. `speed_goals` are ratios of real tokens per second
    of ours to the named contender (`product` is the product rate).
    """

    name: str
    model: str
    lora_rank: int | None
    stage: str = "sft"
    rows: str = CHAT  # a file of the shared folder
    warmup: int = 20
    timed: int = 50
    quick: tuple[int, int] = (5, 15)  # warm-up and timed steps of a quick pass
    speed_goals: dict[str, float] = field(default_factory=dict[str, float])
    batch_size: int = 8
    max_length: int = 1024
    learning_rate: float = 1e-4
    max_grad_norm: float = 1.0
    memory_goal: float = 0.3  # peak memory above the level right after imports, against TRL

    @property
    def steps(self) -> int:
        """All optimizer steps of one training."""
        return self.warmup + self.timed


JOBS = {
    job.name: job
    for job in (
        Job(
            "llama-full",
            "llama-8m",
            None,
            speed_goals={"trl": 3.8, "llamafactory": 2.4, "product": 0.8},
        ),
        Job(
            "llama-lora",
            "llama-8m",
            8,
            speed_goals={"trl": 4.5, "llamafactory": 2.8, "product": 0.7},
        ),
        # One step of TRL takes some twenty seconds here, so fewer steps are timed.
        Job(
            "qwen3-lora",
            "qwen3-60m",
            8,
            warmup=5,
            timed=20,
            quick=(2, 6),
            speed_goals={"trl": 5.0},
        ),
        Job(
            "llama-pt",
            "llama-8m",
            8,
            stage="pt",
            rows="c4_demo.jsonl",
            warmup=3,
            timed=15,
            quick=(3, 10),
            speed_goals={"trl": 2.5},
            memory_goal=0.5,
        ),
        Job(
            "llama-tools",
            "llama-8m",
            8,
            rows="glaive_toolcall_en_demo.json",
            warmup=5,
            timed=25,
            quick=(3, 10),
            speed_goals={"trl": 2.5},
            memory_goal=0.5,
        ),
    )
}
LOSS_GOAL = 1e-4  # largest loss difference of the first 20 steps


@dataclass(frozen=True)
class Places:
    """Where the benchmark finds its inputs and leaves its work.

    Without the shared folder the jobs run on what the package brings along: its example dataset
    and the tokenizer of its starter model. The goals belong to other rows and are then left out.
    """

    shared: Path
    environments: Path
    scratch: Path

    @property
    def has_shared(self) -> bool:
        """Whether the rows and tokenizers that the goals are set for are at hand."""
        return (self.shared / "data" / CHAT).is_file()

    def dataset(self, rows: str = CHAT) -> Path:
        """The rows of a job."""
        found = self.shared / "data" / rows
        if found.is_file():
            return found
        return PACKAGE / "examples" / "customer-service" / "train.jsonl"

    def tokenizer(self, model: str) -> Path | None:
        """The tokenizer's folder of a model; None when it is not at hand."""
        if self.has_shared:
            return self.shared / "tokenizers" / MODELS[model].tokenizer
        return PACKAGE / "starter" / "model" if MODELS[model].tokenizer == "minimind" else None

    def model(self, name: str) -> Path:
        """The built model."""
        return self.scratch / "models" / (name if self.has_shared else f"{name}-own")

    def adapter(self, name: str, rank: int) -> Path:
        """The adapter that every contender's LoRA training starts from."""
        model = self.model(name)
        return model.with_name(f"{model.name}-lora{rank}")
