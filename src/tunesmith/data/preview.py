"""One row as the model sees it: every token, and whether it is learned."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.data.convert import RowUnusable
from tunesmith.data.formats import SAMPLE_ROWS, find_layout
from tunesmith.data.readers import dataset_files, read_rows
from tunesmith.data.renderer import EncodedRow, Renderer
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tunesmith.recipe import Dataset


@dataclass(frozen=True)
class PreviewToken:
    """One token; `text` holds a replacement character where a character spans several tokens."""

    id: int
    text: str
    supervised: bool


@dataclass(frozen=True)
class RowPreview:
    """A row of the data and the training rows that it becomes."""

    line: int
    why: str  # the format, and how it was recognised
    rows: list[list[PreviewToken]]
    refused: str | None  # why there are no rows


def preview_row(dataset: Dataset, number: int, renderer: Renderer, *, base_dir: Path) -> RowPreview:
    """Row `number` of a dataset, counted from 1, in tokens."""
    file = dataset_files(base_dir / Path(dataset.dataset).expanduser())[0]
    rows = read_rows(file)
    first = list(islice(rows, SAMPLE_ROWS))
    layout = find_layout([row for _, row in first], dataset, file.name)
    line, row = next(islice(chain(first, rows), number - 1, None), (0, None))
    if row is None:
        raise DataError(f"{file} has no row {number}.", hint="Rows are counted from 1.")
    try:
        rendered = renderer.render(layout.convert(row))
    except RowUnusable as reason:
        return RowPreview(line, layout.why, [], str(reason))
    tokens = [_tokens(row, renderer) for row in renderer.encode_rendered([rendered])]
    return RowPreview(line, layout.why, tokens, rendered.refused)


def _tokens(row: EncodedRow, renderer: Renderer) -> list[PreviewToken]:
    pairs = zip(row.ids.tolist(), row.targets.tolist(), strict=True)
    return [
        PreviewToken(token, renderer.tokenizer.decode([token]), bool(target))
        for token, target in pairs
    ]
