"""Whole trainings of a tiny model, in processes that tests may kill."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tunesmith.runs import RunDir, read_events

SERVER = Path(__file__).with_name("engine_server.py")
NUM_ROWS = 26
CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ADAPTERS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "lora": {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n`: a file, or the folder of one live server, stays together in one process."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            shared = item.path if item.path.parent == here else item.path.parent
            item.add_marker(pytest.mark.xdist_group(shared.name))


class EngineServer:
    """Talks to engine_server.py."""

    def __init__(self, data_dir: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TUNESMITH_DATA_DIR": str(data_dir)}
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **order: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the engine server has died"
        return int(answer)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError), self._process:
            pass


@dataclass
class Training:
    """A run directory, and the engine processes that work in it."""

    run: RunDir
    server: EngineServer
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.run.log_path

    def start(self, *, resume: bool = False, fault: str = "", **env: str) -> int:
        """Start an engine; returns its process id."""
        arguments = ["train", str(self.run.path), *(["--resume"] if resume else [])]
        environment = {"TUNESMITH_FAULT": fault, **env}
        return self.server.ask(start=arguments, env=environment, log=str(self.log))

    def wait(self, pid: int) -> int:
        return self.server.ask(wait=pid)

    def go(self, *, resume: bool = False, fault: str = "", **env: str) -> int:
        """Train to whatever end; returns the exit code, or minus the signal."""
        return self.wait(self.start(resume=resume, fault=fault, **env))

    def finish(self, *, resume: bool = False, fault: str = "") -> Training:
        """Train, and insist on the end."""
        code = self.go(resume=resume, fault=fault)
        assert code == 0, self.log.read_text()
        return self

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        found, _ = read_events(self.run.events_path)
        return [event for event in found if kind in (None, event["type"])]

    def wait_for(self, kind: str, **fields: Any) -> None:
        """Until an event with these fields is there."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.run.events_path.exists():
                for event in self.events(kind):
                    if fields.items() <= event.items():
                        return
            time.sleep(0.01)
        raise AssertionError(f"no {kind} event with {fields}: {self.log.read_text()}")

    def losses(self) -> dict[int, float]:
        """The loss of each step; of a step that was computed twice, the last."""
        return {event["step"]: event["loss"] for event in self.events("step")}

    def row_losses(self) -> list[dict[str, Any]]:
        return pq.read_table(self.run.data_dir / "row_losses.parquet").to_pylist()

    def last_checkpoint(self) -> Path:
        return max(self.run.checkpoints_dir.iterdir())

    def tensors(self) -> dict[str, Any]:
        """Weights and optimizer state of the last checkpoint."""
        from safetensors.torch import load_file

        tensors: dict[str, Any] = {}
        for file in sorted(self.last_checkpoint().rglob("*.safetensors")):
            tensors |= {f"{file.name}:{name}": value for name, value in load_file(file).items()}
        return tensors


def assert_same_state(one: Training, other: Training) -> None:
    """The same bits in all weights and moments at the end, the same losses on the way."""
    import torch

    mine, theirs = one.tensors(), other.tensors()
    assert one.last_checkpoint().name == other.last_checkpoint().name
    assert mine.keys() == theirs.keys()
    different = [name for name in mine if not torch.equal(mine[name], theirs[name])]
    assert not different
    assert one.losses() == other.losses()
    assert one.row_losses() == other.row_losses()


@pytest.fixture(scope="session")
def same_state() -> Callable[[Training, Training], None]:
    return assert_same_state


@pytest.fixture(scope="session")
def engine_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[EngineServer]:
    server = EngineServer(tmp_path_factory.mktemp("data-dir"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama with two layers and one token a byte."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    directory = tmp_path_factory.mktemp("base-model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIALS])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": CHATML,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    config = LlamaConfig(
        vocab_size=264, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions and answers of different lengths, no two alike."""
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [
        {"prompt": f"What is {n} and {n}?", "response": f"It is {2 * n}" + "!" * (n % 7)}
        for n in range(NUM_ROWS)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested settings with some of them replaced."""
    result = dict(base)
    for key, value in changes.items():
        nested = (
            isinstance(value, dict) and isinstance(result.get(key), dict) and "kind" not in value
        )
        result[key] = merged(result[key], value) if nested else value
    return result


def recipe_text(base_model: Path, rows_file: Path, name: str, changes: dict[str, Any]) -> str:
    """24 rows to train on, four a step, two epochs: twelve steps, with a checkpoint every third.

    Two rows are for validation. `changes` are settings to replace.
    """
    recipe = {
        "name": name,
        "model": {"base": str(base_model)},
        "adapter": ADAPTERS["full"],
        "data": {
            "train": [{"dataset": str(rows_file)}],
            "validation": {"kind": "split", "fraction": 0.08},
            "allow_small": True,
            "max_length": 128,
        },
        "training": {
            "epochs": 2,
            "batch_size": 4,
            "learning_rate": 0.01,
            "micro_batch_tokens": 128,
            "checkpoint": {"every_steps": 3},
            "evaluate": {"every_steps": 4},
            "stop": {"restore_best": False},
            "device": "cpu",
        },
        "report": {"tensorboard": False},
    }
    return yaml.safe_dump(merged(recipe, changes), sort_keys=False)


@pytest.fixture
def training(
    tmp_path: Path, engine_server: EngineServer, base_model: Path, rows_file: Path
) -> Callable[..., Training]:
    """`training("name", adapter=..., training={...})` is a run that has not been started."""

    def build(name: str = "run", **changes: Any) -> Training:
        text = recipe_text(base_model, rows_file, name, changes)
        return Training(RunDir.create(tmp_path / name, text, recipe_name=name), engine_server)

    return build


@pytest.fixture(scope="session")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    engine_server: EngineServer,
    base_model: Path,
    rows_file: Path,
) -> Callable[..., Training]:
    """`whole(adapter=...)` is a finished, undisturbed run to compare with; tests share it."""
    made: dict[str, Training] = {}

    def build(**changes: Any) -> Training:
        key = json.dumps(changes, sort_keys=True)
        if key not in made:
            text = recipe_text(base_model, rows_file, "whole", changes)
            run = RunDir.create(tmp_path_factory.mktemp("whole"), text, recipe_name="whole")
            made[key] = Training(run, engine_server).finish()
        return made[key]

    return build


@pytest.fixture(params=list(ADAPTERS))
def adapter(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Full tuning, and LoRA with dropout."""
    return ADAPTERS[request.param]
