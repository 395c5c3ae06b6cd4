"""What the engine asks of a model in memory; `fast.py` and `modules.py` are the two that there are.

A row of the batch has a slot with its keys and values. The decoder does as it is told: which rows
there are, and which of their tokens come now, is decided in `engine.py`.

A row is a line of places. Its tokens take one each; an adapter with learned vectors in front of the
text takes the first ones (`front.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class LoadedAdapter(Protocol):
    """An adapter in memory, of whatever kind."""

    @property
    def num_bytes(self) -> int: ...

    @property
    def num_places(self) -> int:
        """Places that it takes in front of the text of a row."""
        ...


def places_in_front(adapter: LoadedAdapter | None) -> int:
    """Where the first token of a row with this adapter stands."""
    return 0 if adapter is None else adapter.num_places


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one row that come now: the next token, a prompt, or a part of one.

    `start` is the place of the first of them; all places before it lie in the cache, where the
    decoder puts those in front of the text when the row begins. Scores are wanted behind the last
    `wanted` tokens of the piece.
    """

    slot: int
    start: int
    ids: Sequence[int]
    wanted: int = 1
    adapter: Any = None

    @property
    def end(self) -> int:
        return self.start + len(self.ids)

    @property
    def begins(self) -> bool:
        """Whether these are the first tokens of their row."""
        return self.start == places_in_front(self.adapter)


class Decoder(Protocol):
    """A model with room for rows."""

    context: int | None  # most places of a row; None where there is no limit
    loads_beside: bool  # adapters may be read in another thread while it computes

    def forward(self, pieces: Sequence[Piece]) -> Tensor:
        """Scores [wanted of all pieces, V], in the order of the pieces."""
        ...

    def fits(self, num_rows: int, longest: int) -> bool:
        """Whether there may be so many rows, the longest of them with so many places."""
        ...

    def move(self, source: int, target: int, length: int) -> None:
        """Bring what a slot holds into another one."""
        ...

    def forget(self, slot: int) -> None:
        """The row of a slot has ended."""
        ...

    def load_adapter(self, directory: Path) -> LoadedAdapter:
        """Read an adapter; AdapterMismatch where it does not belong to this model."""
        ...

    def unload_adapter(self, adapter: Any) -> None:
        """The adapter is not needed any more; no row has it."""
        ...
