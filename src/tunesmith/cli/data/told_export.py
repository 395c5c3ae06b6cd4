"""What `tunesmith data export` prints for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.data.exporting import Exported


def export_lines(path: Path, done: Exported) -> Iterator[str]:
    """What was written, then everything that is not in the file as it is in the version."""
    left = f"; {done.rejected:,} could not be used, see `tunesmith data check`"
    yield f"{path}: {done.rows:,} rows{left if done.rejected else ''}."
    for loss, count in done.lost.items():
        yield f"  lost or changed: {loss} in {count:,} rows"
    if done.columns_left_out:
        yield f"  columns left out, the format has no place: {_named(done.columns_left_out)}"
    if done.columns_renamed:
        told = [f"{old} -> {new}" for old, new in done.columns_renamed.items()]
        yield f"  columns renamed, their names mean something else there: {_named(told)}"
    if done.columns_as_text:
        yield f"  columns written as text: {_named(done.columns_as_text)}"
    if done.cells_with_apostrophe:
        yield (
            f"  {done.cells_with_apostrophe:,} cells begin with an apostrophe, so that no "
            "spreadsheet calculates them; an import takes it away"
        )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
