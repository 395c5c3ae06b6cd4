"""`python -m tunesmith.engine embed`: texts to vectors by a sentence-embedding model.

    embed FOLDER --data texts.jsonl --out vectors.npy

FOLDER is any encoder in the transformers layout, such as those of sentence-transformers; what its
`1_Pooling/config.json` says is followed, else the mean over tokens is taken. Vectors
have length 1. Progress goes to standard output, one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tunesmith.engine.setup import choose_device
from tunesmith.errors import ModelError
from tunesmith.models.files import check_model_files
from tunesmith.runs.files import storage_errors

BATCH_ROWS = 32
MOST_TOKENS = 512
INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Embed the texts of a file: one JSON string a line."""
    parser = argparse.ArgumentParser(prog="tunesmith.engine embed")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    texts = [json.loads(line) for line in options.data.read_text("utf-8").splitlines()]
    try:
        vectors_ND = embed(options.folder, texts, choose_device(options.device))
    except KeyboardInterrupt:
        return INTERRUPTED
    with storage_errors(options.out), options.out.open("wb") as file:
        np.save(file, vectors_ND)
    _tell("done", len(texts), len(texts))
    return 0


def embed(folder: Path, texts: Sequence[str], device: torch.device) -> npt.NDArray[np.float32]:
    """One vector of length 1 a text. N texts, T tokens, D dimensions."""
    check_model_files(folder)
    model, tokenizer = _load(folder, device)
    pools_first = _pools_first_token(folder)
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    found: dict[int, Tensor] = {}
    with torch.inference_mode():
        for numbers in _batches(order):
            batch = tokenizer(
                [texts[number] for number in numbers],
                padding=True,
                truncation=True,
                max_length=min(MOST_TOKENS, tokenizer.model_max_length),
                return_tensors="pt",
            ).to(device)
            hidden_NTD = model(**batch).last_hidden_state.float()
            vectors_ND = pooled(hidden_NTD, batch["attention_mask"], first=pools_first)
            found |= dict(zip(numbers, vectors_ND.cpu(), strict=True))
            _tell("embed", len(found), len(texts))
    return torch.stack([found[number] for number in range(len(texts))]).numpy()


def pooled(hidden_NTD: Tensor, mask_NT: Tensor, *, first: bool) -> Tensor:
    """The first token's vector, or the mean over the tokens of the text; of length 1."""
    if first:
        vectors_ND = hidden_NTD[:, 0]
    else:
        weights_NT1 = mask_NT[:, :, None].to(hidden_NTD.dtype)
        vectors_ND = (hidden_NTD * weights_NT1).sum(1) / weights_NT1.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(vectors_ND, dim=-1)


def _load(folder: Path, device: torch.device) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model: Any = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        return model.eval().to(device), AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (ValueError, KeyError, OSError) as error:
        raise ModelError(
            f"{folder} cannot be loaded as an embedding model: {str(error).splitlines()[0]}",
            hint="Name a folder with config.json, tokenizer.json and model.safetensors.",
        ) from error


def _pools_first_token(folder: Path) -> bool:
    settings = folder / "1_Pooling" / "config.json"
    if not settings.is_file():
        return False
    told: dict[str, Any] = json.loads(settings.read_text("utf-8"))
    wanted = {name for name, value in told.items() if name.startswith("pooling_mode") and value}
    known = {"pooling_mode_cls_token", "pooling_mode_mean_tokens"}
    if len(wanted) > 1 or not wanted <= known:
        raise ModelError(
            f"{folder} pools in a way that is not known here: {', '.join(sorted(wanted))}.",
            hint="Models that take the mean over tokens, or the first one, can be used.",
        )
    return "pooling_mode_cls_token" in wanted


def _batches(order: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(order), BATCH_ROWS):
        yield order[first : first + BATCH_ROWS]


def _tell(kind: str, done: int, total: int) -> None:
    sys.stdout.write(json.dumps({"kind": kind, "done": done, "total": total}) + "\n")
    sys.stdout.flush()
