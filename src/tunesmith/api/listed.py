"""A page of a service as the list of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from tunesmith.schemas.common import Answer, Listed
from tunesmith.server.paging import Page

Shown = TypeVar("Shown", bound=Answer)


def written(answer: BaseModel, status: int = 200) -> Response:
    """An answer as it is, without a second look at it: for routes that are asked very often.

    The route names its `response_model`, for the description of the API.
    """
    return Response(answer.model_dump_json(), status, media_type="application/json")


def rows_written(page: Page[Any], shape: type[Answer]) -> Response:
    """The same as `written(listed(...))` for rows whose columns have the names of the shape.

    What the database checked when it was stored is not checked again: that took longer than
    the query.
    """
    names = tuple(shape.model_fields)
    data = [{name: row._mapping[name] for name in names} for row in page.items]
    body = {"data": data, "has_more": page.has_more, "last_id": data[-1]["id"] if data else None}
    return Response(orjson.dumps(body, option=orjson.OPT_UTC_Z), media_type="application/json")


def listed(
    page: Page[Any], shape: type[Shown], read: Callable[[Any], Shown] | None = None
) -> Listed[Shown]:
    """Each item in the shape of the wire; `last_id` is where the next page goes on."""
    read = read or shape.model_validate
    last = page.items[-1].id if page.items else None
    return Listed(data=[read(item) for item in page.items], has_more=page.has_more, last_id=last)
