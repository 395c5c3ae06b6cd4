"""Notices: who is told of what happens, and what was sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tunesmith.schemas.notices import SentNoticeRead, SubscriptionRead, SubscriptionSecret
from tunesmith.sdk.connection import Connection

_PLACE = "/api/v1/subscriptions"


class Notices:
    """Subscriptions of one's own; admins of a project have all of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def subscribe(
        self,
        channel: str,
        address: str,
        events: Sequence[str] = ("job.succeeded", "job.failed"),
        **about: Any,
    ) -> SubscriptionSecret:
        """Be told; `secret` of a webhook is in this answer alone. `about`: job_id, language, ..."""
        body = {"channel": channel, "address": address, "events": list(events), **about}
        return self._connection.send("POST", _PLACE, SubscriptionSecret, body)

    def list(self, **query: str | int | None) -> Iterator[SubscriptionRead]:
        """Newest first; `project_id` and `job_id` narrow it."""
        return self._connection.all(_PLACE, SubscriptionRead, **query)

    def get(self, subscription_id: str) -> SubscriptionRead:
        return self._connection.get(f"{_PLACE}/{subscription_id}", SubscriptionRead)

    def update(self, subscription_id: str, **changes: Any) -> SubscriptionRead:
        """Events, address, language, enabled."""
        place = f"{_PLACE}/{subscription_id}"
        return self._connection.send("PATCH", place, SubscriptionRead, changes)

    def delete(self, subscription_id: str) -> None:
        self._connection.request("DELETE", f"{_PLACE}/{subscription_id}")

    def rotate_secret(self, subscription_id: str) -> SubscriptionSecret:
        """A new secret for a webhook; for a day the old one signs, too."""
        place = f"{_PLACE}/{subscription_id}/secret"
        return self._connection.send("POST", place, SubscriptionSecret)

    def test(self, subscription_id: str) -> SentNoticeRead:
        """Send a test now, and say what came of it."""
        return self._connection.send("POST", f"{_PLACE}/{subscription_id}/test", SentNoticeRead)

    def sent(self, subscription_id: str) -> Iterator[SentNoticeRead]:
        """What was sent or is to be, newest first, with every try."""
        place = "/api/v1/notices"
        return self._connection.all(place, SentNoticeRead, subscription_id=subscription_id)
