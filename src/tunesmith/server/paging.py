"""Lists in parts, by id: none comes twice and none is skipped, whatever is added meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tunesmith.errors import InputError
from tunesmith.server import ids

Item = TypeVar("Item")
MOST_A_PAGE = 1000
# What is deleted here leaves no row; its id still has a place, so that a list can be read in parts
# while its items are deleted.
_LEAVE_NO_ROW: Final = frozenset(
    {"asked_requests", "checkpoint_permissions", "datasets", "notices", "subscriptions"}
)


@dataclass(frozen=True)
class Page(Generic[Item]):
    """A part of a list; `has_more` tells whether others follow."""

    items: Sequence[Item]
    has_more: bool


def page(
    session: Session,
    query: Select[Item],
    key: InstrumentedAttribute[str],
    *,
    after: str | None = None,
    limit: int = 20,
    newest_first: bool = True,
    most: int = MOST_A_PAGE,
) -> Page[Item]:
    """The rows of a query behind the id `after`. Ids sort by the time of making."""
    limit = min(max(limit, 1), most)
    if after:
        refuse_no_cursor(session, after, key)
        query = query.where(key < after if newest_first else key > after)
    query = query.order_by(key.desc() if newest_first else key).limit(limit + 1)
    rows: Sequence[Any] = session.scalars(query).all()
    return Page(rows[:limit], len(rows) > limit)


def refuse_no_cursor(session: Session, after: str, key: InstrumentedAttribute[str]) -> None:
    """InputError for what is no id of this list; that of a deleted item still has a place."""
    table = key.class_.__tablename__
    prefix = ids.PREFIXES.get(table, "")
    if ids.is_id(after, prefix) and (
        table in _LEAVE_NO_ROW or session.scalar(select(key).where(key == after)) is not None
    ):
        return
    raise bad_cursor(after, prefix)


def bad_cursor(after: str, prefix: str) -> InputError:
    """What a list answers to an `after` that names none of its items."""
    return InputError(
        f"{after[:100]!r} is no id of an item of this list.",
        hint="Write the id of the last item of the page before, or leave `after` out.",
        code="bad_cursor",
        param="after",
        prefix=prefix,
    )
