"""Tokens of every row, measured once through the one renderer and remembered under a fingerprint.

For each row: how many tokens, how many of them are learned, and how many of those would be left if
the row were cut at each of some lengths. The tokens themselves are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import tokenizers

from tunesmith.data import cache
from tunesmith.data.renderer import Renderer
from tunesmith.data.store import Version
from tunesmith.data.subject import Subject
from tunesmith.data.tokenise import Fit, Progress, Source, Tokeniser
from tunesmith.recipe import Dataset

CUTS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
_ROWS_AT_ONCE = 1024
_WHOLE = Fit(2**31 - 1, "truncate", view="all")
_COLUMNS = {
    "lines": np.int64,
    "sources": np.uint16,
    "lengths": np.int32,
    "label_counts": np.int32,
    "answers": np.int32,
}


@dataclass(frozen=True)
class Lengths:
    """One entry a row, or a side of a pair; `kept` is [rows, cuts]: labels left at each cut."""

    lines: npt.NDArray[np.int64]
    sources: npt.NDArray[np.uint16]
    lengths: npt.NDArray[np.int32]  # tokens
    label_counts: npt.NDArray[np.int32]  # tokens that are learned
    answers: npt.NDArray[np.int32]  # stretches of them: trained turns
    kept: npt.NDArray[np.int32]
    cuts: tuple[int, ...]
    tallies: list[dict[str, Any]]
    documents: npt.NDArray[np.bool_]  # rows of plain text: split into windows, never cut
    context: int | None = None  # tokens that the model has positions for, where it is known
    stored: bool = False  # lines are the ids of stored rows

    def __len__(self) -> int:
        return len(self.lengths)

    def kept_at(self, cut: int) -> npt.NDArray[np.int32]:
        """Labels of each row that are left at one of the cuts.

        A document loses the first token of each further window: nothing there predicts it.
        """
        kept = self.kept[:, self.cuts.index(cut)]
        split = self.label_counts - (-(-self.lengths // cut) - 1)
        return np.where(self.documents, np.maximum(split, 0), kept).astype(np.int32)

    def rows_at(self, cut: int) -> npt.NDArray[np.int64]:
        """How many training rows each row becomes at one of the cuts; 0 where none has labels."""
        windows = -(-self.lengths // cut) - self._lone_tokens(cut)
        rows = np.where(self.documents, windows, 1)
        return np.where(self.kept_at(cut) > 0, rows, 0)

    def tokens_at(self, cut: int) -> npt.NDArray[np.int64]:
        """Tokens that are trained on of each row; 0 where nothing would be learned."""
        whole = self.lengths - self._lone_tokens(cut)
        tokens = np.where(self.documents, whole, np.minimum(self.lengths, cut))
        return np.where(self.kept_at(cut) > 0, tokens, 0)

    def _lone_tokens(self, cut: int) -> npt.NDArray[np.int64]:
        """1 where the last window of a document would be a single token, which teaches nothing."""
        return ((self.lengths > cut) & (self.lengths % cut == 1)).astype(np.int64)


def measure(
    subject: Subject,
    renderer: Renderer,
    *,
    cache_dir: Path,
    on_progress: Progress,
    max_length: int | None = None,
) -> Lengths:
    """Measure all rows, or read what was measured before."""
    context = renderer.tokenizer.context
    cuts: tuple[int, ...] = tuple(sorted({*CUTS, max_length or CUTS[0], context or CUTS[0]}))
    sources = _sources(subject)
    facts = {
        "code": cache.code_fingerprint(),
        "tokenizers": tokenizers.__version__,
        "renderer": renderer.facts(),
        "cuts": cuts,
        "sources": [
            [
                cache.file_digest(source.file, cache_dir),
                source.name,
                source.wanted.model_dump(mode="json"),
                source.encoding,
            ]
            for source in sources
        ],
    }

    def build(draft: Path) -> None:
        writer = _LengthWriter(draft, cuts)
        tokeniser = Tokeniser(renderer, _WHOLE, writer, on_progress, skips_bad_lines=True)
        tokeniser.run(sources)

    folder = cache.build_once(cache_dir, f"lengths-{cache.fingerprint(facts)}", build)
    columns = {name: np.load(folder / f"{name}.npy") for name in (*_COLUMNS, "kept")}
    tallies = orjson.loads((folder / "tallies.json").read_bytes())
    documents = _documents(subject, columns["sources"], tallies)
    stored = isinstance(subject, Version)
    return Lengths(
        **columns, cuts=cuts, tallies=tallies, documents=documents, context=context, stored=stored
    )


def _documents(
    subject: Subject, sources: npt.NDArray[np.uint16], tallies: list[dict[str, Any]]
) -> npt.NDArray[np.bool_]:
    """Rows of plain text: pre-training splits them into windows and loses nothing."""
    if isinstance(subject, Version):
        return np.full(len(sources), subject.manifest.kinds.keys() == {"text"})
    is_text = np.array([tally["format"] == "text" for tally in tallies], np.bool_)
    return is_text[sources]


def _sources(subject: Subject) -> list[Source]:
    if isinstance(subject, Version):
        wanted = Dataset(dataset=subject.label)
        return [Source(part, subject.label, 0, wanted, None) for part in subject.parts]
    wanted, encoding = subject.wanted, subject.encoding
    return [Source(path, path.name, 0, wanted, None, encoding) for path in subject.paths]


class _LengthWriter:
    """Takes rows from the tokeniser in the place of a table's writer."""

    keeps_digests = False

    def __init__(self, directory: Path, cuts: Sequence[int]) -> None:
        self._directory = directory
        self._cuts = cuts
        self._places: list[tuple[int, int]] = []  # (line, source) of the rows that wait
        self._targets: list[npt.NDArray[np.uint8]] = []
        self._columns: dict[str, list[npt.NDArray[Any]]] = {n: [] for n in (*_COLUMNS, "kept")}

    def announce(self, rows: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """Nothing of the raw rows is kept."""

    def add(
        self,
        ids: npt.NDArray[np.uint32],
        targets: npt.NDArray[np.uint8],
        note: bytes = b"",
        **facts: float,
    ) -> None:
        """One row, or each side of a pair; many are counted together, which is much faster."""
        del note
        assert len(ids) == len(targets)
        at = int(facts["splits"])
        for side in (targets[:at], targets[at:]) if at else (targets,):
            self._places.append((int(facts["lines"]), int(facts["sources"])))
            self._targets.append(side)
        if len(self._targets) >= _ROWS_AT_ONCE:
            self._count()

    def _count(self) -> None:
        if not self._targets:
            return
        lengths = np.array([len(targets) for targets in self._targets], np.int64)
        starts = np.cumsum(lengths) - lengths
        targets = np.concatenate(self._targets)
        learned = np.concatenate([[0], np.cumsum(targets, dtype=np.int64)])  # before each token
        begins = np.diff(targets.astype(np.int8), prepend=0) == 1  # a stretch of learned tokens
        begins[starts] = targets[starts] == 1
        begun = np.concatenate([[0], np.cumsum(begins, dtype=np.int64)])
        ends = starts + lengths
        kept = [learned[np.minimum(starts + cut, ends)] - learned[starts] for cut in self._cuts]
        lines, sources = zip(*self._places, strict=True)
        counted: dict[str, Any] = {
            "lines": lines,
            "sources": sources,
            "lengths": lengths,
            "label_counts": learned[ends] - learned[starts],
            "answers": begun[ends] - begun[starts],
            "kept": np.stack(kept, axis=1),
        }
        for name, column in counted.items():
            self._columns[name].append(np.array(column, _COLUMNS.get(name, np.int32)))
        self._places, self._targets = [], []

    def finish(self, about: dict[str, Any]) -> None:
        self._count()
        for name, parts in self._columns.items():
            empty = np.zeros(
                (0, len(self._cuts)) if name == "kept" else 0, _COLUMNS.get(name, np.int32)
            )
            np.save(self._directory / f"{name}.npy", np.concatenate([empty, *parts]))
        (self._directory / "tallies.json").write_bytes(orjson.dumps(about["tallies"]))
