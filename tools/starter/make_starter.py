"""Rebuild the starter model with the product's own `pt` stage: `make starter`.

corpus -> tokenizer -> random weights -> `python -m tunesmith.engine train` -> float16 weights.
The build directory keeps the run, so an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from corpus import write_corpus
from intents import HERE
from safetensors.torch import load_file, save_file
from tokenizer import END_OF_TEXT, PAD, TURN_END, VOCABULARY, write_tokenizer
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from tunesmith.runs import RunDir
from tunesmith.starter import starter_directory

ROOT = Path(__file__).parents[2]
SIDE_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json")


def random_model(tokenizer: Tokenizer, directory: Path, seed: int) -> None:
    """A small Llama with random weights, saved in the folder of its tokenizer."""
    ids = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=160,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=[ids[END_OF_TEXT], ids[TURN_END]],
        pad_token_id=ids[PAD],
        initializer_range=0.06,  # about 1 / sqrt(hidden size): a narrow model learns faster so
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(directory)


def prepare(build: Path, seed: int) -> None:
    """Write corpus, tokenizer and random weights into the build directory."""
    corpus, base = build / "corpus.jsonl", build / "base"
    write_corpus(corpus, seed)
    write_tokenizer(corpus, base)
    random_model(Tokenizer.from_file(str(base / "tokenizer.json")), base, seed)


def pretrain(build: Path) -> Path:
    """Run the pt stage in a process of its own; return the folder of the trained model."""
    run = build / "run"
    command = [sys.executable, "-m", "tunesmith.engine", "train", str(run)]
    if (run / "recipe.yaml").exists():
        command.append("--resume")
    else:
        recipe = yaml.safe_load((HERE / "recipe.yaml").read_text(encoding="utf-8"))
        recipe["model"]["base"] = str(build / "base")
        recipe["data"]["train"][0]["dataset"] = str(build / "corpus.jsonl")
        RunDir.create(run, yaml.safe_dump(recipe), recipe_name="starter")
    subprocess.run(command, check=True)
    return run / "artifacts" / "model"


def install(model: Path, base: Path, target: Path) -> None:
    """Copy a model folder into the package, weights in half precision."""
    weights = load_file(model / "model.safetensors")
    halves = {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}
    # The head is the embedding: stored once.
    halves.pop("lm_head.weight", None)
    save_file(halves, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)
    for name in SIDE_FILES:
        shutil.copyfile(base / name, target / name)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float16"
    generation = {"eos_token_id": config["eos_token_id"], "pad_token_id": config["pad_token_id"]}
    generation |= {"do_sample": False, "max_new_tokens": 256}
    write_json(target / "config.json", config)
    write_json(target / "generation_config.json", generation)


def write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Build in `--build`, then replace the files of the package."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--build", type=Path, default=ROOT / "build" / "starter")
    options.add_argument("--seed", type=int, default=7)
    chosen = options.parse_args()
    build: Path = chosen.build.absolute()
    if not (build / "base" / "model.safetensors").exists():
        prepare(build, chosen.seed)
    install(pretrain(build), build / "base", starter_directory())


if __name__ == "__main__":
    main()
