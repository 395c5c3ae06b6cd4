"""Which texts mean the same: by the vectors of an embedding model that lies on this machine.

Beside the runs of characters of `ngrams.py`, which know no synonyms. The engine makes the vectors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from tunesmith.errors import InputError
from tunesmith.evaluation.engine_work import OnProgress, let_engine
from tunesmith.evaluation.tracing.ngrams import MOST_CHARACTERS

Floats = npt.NDArray[np.float32]


class MeaningIndex:
    """Texts whose likeness by meaning was measured; every text that is asked for must be there."""

    def __init__(self, folder: Path, texts: Sequence[str], on_progress: OnProgress) -> None:
        self._places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        self._vectors_ND = _vectors(folder, list(self._places), on_progress)

    def similarities(self, text: str, others: Sequence[str]) -> Floats:
        """The cosine of a text with each of the others; what points away counts as 0."""
        places = np.array([self._places[other] for other in others], dtype=np.int64)
        cosines = self._vectors_ND[places] @ self._vectors_ND[self._places[text]]
        return np.clip(cosines, 0.0, 1.0)


def _vectors(folder: Path, texts: Sequence[str], on_progress: OnProgress) -> Floats:
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder} with an embedding model.",
            hint="It holds config.json, tokenizer.json and model.safetensors.",
            code="embedder_missing",
        )
    with tempfile.TemporaryDirectory(prefix="tunesmith-embed-") as temporary:
        data, out = Path(temporary, "texts.jsonl"), Path(temporary, "vectors.npy")
        lines = (orjson.dumps(text[:MOST_CHARACTERS]) + b"\n" for text in texts)
        data.write_bytes(b"".join(lines))
        let_engine(
            *("embed", str(folder), "--data", str(data), "--out", str(out)),
            what="The rows could not be compared by meaning",
            code="embedding_failed",
            on_progress=on_progress,
        )
        return np.load(out)
