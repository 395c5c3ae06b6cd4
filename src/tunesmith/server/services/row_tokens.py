"""How many tokens a row of a dataset has: counted with the base's tokenizer where it is here.

Counted are what ships with us and small versions, once: the cache remembers each row. For larger
ones a past run of the base that read the same version tells.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.data.names import is_builtin
from tunesmith.errors import TunesmithError
from tunesmith.models.presets import STARTER
from tunesmith.server.datadir import DataDir
from tunesmith.server.services.models.finding import folder_of
from tunesmith.server.services.submission import Resolved, Source
from tunesmith.server.tables import Event, Job, Model
from tunesmith.starter import starter_directory

_COUNTED_BYTES: Final = 1 << 20  # of a version: read and tokenised in about a second
_LONGEST_CHAIN: Final = 50
_PLANS: Final = 20
_TOKENIZER: Final = "tokenizer.json"


def mean_tokens(
    session: Session, place: DataDir, resolved: Resolved, source: Source
) -> float | None:
    """Tokens of a row of one dataset, cut at the longest; None where nobody has counted."""
    longest = resolved.recipe.data.max_length
    is_small = is_builtin(source.reference) or 0 < source.bytes <= _COUNTED_BYTES
    folder = tokenizer_folder(session, place, resolved) if is_small else None
    if folder is not None and source.is_stored:
        return _counted(source.reference, folder, _changed(folder), place.root, longest)
    return _of_past_runs(session, resolved.base_name, source.reference)


def tokenizer_folder(session: Session, place: DataDir, resolved: Resolved) -> Path | None:
    """Where the tokenizer of a base lies on this machine; an adapter has that of its base."""
    row: Model | None = resolved.base
    name = resolved.base_reference if row is None else row.base
    for _ in range(_LONGEST_CHAIN):
        if row is None:
            break
        folder = folder_of(session, place, row)
        if (folder / _TOKENIZER).is_file():
            return folder
        name = row.base
        row = session.get(Model, row.parent_id) if row.parent_id else None
    return starter_directory() if name == STARTER else None


def _changed(folder: Path) -> int:
    return (folder / _TOKENIZER).stat().st_mtime_ns


@lru_cache(256)
def _counted(reference: str, folder: Path, changed: int, root: Path, longest: int) -> float | None:
    """Of all rows; a dataset or a tokenizer that cannot be read is told when the job starts."""
    # With numpy and tokenizers, which a server loads when the first estimate asks.
    import numpy as np

    from tunesmith.data.lengths import measure
    from tunesmith.data.renderer import Renderer
    from tunesmith.data.tokenizer import TextTokenizer

    _ = changed  # a tokenizer that was replaced counts anew
    try:
        renderer = Renderer(TextTokenizer.load(folder))
        subject = _subject(reference, root)
        cache = DataDir(root).cache / "tokens"
        found = measure(subject, renderer, cache_dir=cache, on_progress=_silent)
    except TunesmithError:
        return None
    tokens = np.where(found.documents, found.lengths, np.minimum(found.lengths, longest))
    # A pair of answers is one row with two texts.
    return float(tokens.sum() / len(np.unique(found.lines))) if len(tokens) else None


def _subject(reference: str, root: Path) -> Any:
    """The rows of a dataset: the file of one that ships with us, else a version."""
    from tunesmith.data.resolve import resolve_dataset
    from tunesmith.data.store import Catalog
    from tunesmith.data.subject import Files
    from tunesmith.recipe import Dataset

    if not is_builtin(reference):
        return Catalog(root).open(reference)
    file = resolve_dataset(reference, base_dir=Path())
    return Files(reference, [file], Dataset(dataset=reference))


def _silent(*_: object) -> None:
    """Nobody watches."""


def _of_past_runs(session: Session, base: str, reference: str) -> float | None:
    """What the latest run of the base that read this dataset counted."""
    plans = session.scalars(
        select(Event.data)
        .join(Job, Job.id == Event.job_id)
        .where(Job.base == base, Event.type == "plan")
        .order_by(Event.job_id.desc())
        .limit(_PLANS)
    )
    for plan in plans:
        for each in plan.get("datasets") or ():
            if each.get("name") == reference and each.get("rows_drawn"):
                return each["tokens"] / each["rows_drawn"]
    return None
