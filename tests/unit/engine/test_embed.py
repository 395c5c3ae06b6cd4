"""Texts to vectors: pooling by hand, a whole encoder on the disk, and what is refused."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tunesmith.engine.embed import embed, pooled
from tunesmith.errors import ModelError

CPU = torch.device("cpu")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "refund",
    "money",
    "back",
    "ship",
    "退",
    "款",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with random weights, as sentence-transformers lays models out."""
    transformers: Any = import_module("transformers")
    folder = tmp_path_factory.mktemp("encoder")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=len(WORDS), intermediate_size=32, **sizes)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_the_mean_is_that_of_the_text_without_its_padding() -> None:
    hidden = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [99.0, 99.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert torch.allclose(pooled(hidden, mask, first=False), torch.tensor([[0.6, 0.8]]))
    assert torch.allclose(pooled(hidden, mask, first=True), torch.tensor([[1.0, 0.0]]))


def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder: Path) -> None:
    texts = ["refund", "money back " * 9, "", "退款"]
    together = embed(encoder, texts, CPU)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip(texts, together, strict=True):
        assert np.allclose(embed(encoder, [text], CPU)[0], vector, atol=1e-5)
    assert not np.allclose(together[0], together[3], atol=1e-3)


def test_a_way_of_pooling_that_is_not_known_is_refused(encoder: Path) -> None:
    (encoder / "1_Pooling").mkdir()
    settings = encoder / "1_Pooling" / "config.json"
    try:
        settings.write_text(json.dumps({"pooling_mode_max_tokens": True}))
        with pytest.raises(ModelError, match="pooling_mode_max_tokens"):
            embed(encoder, ["refund"], CPU)
        settings.write_text(json.dumps({"pooling_mode_cls_token": True}))
        assert embed(encoder, ["refund"], CPU).shape == (1, 16)
    finally:
        settings.unlink()
        settings.parent.rmdir()


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        embed(tmp_path, ["refund"], CPU)
