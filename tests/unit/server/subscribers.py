"""People who want to be told, and members that may be."""

from __future__ import annotations

from typing import Any

from tunesmith.server.notices.outbox import EVENTS
from tunesmith.server.tables import Membership, Subscription


def subscribe(world: Any, name: str = "sub-a", **columns: Any) -> str:
    """A subscription of the test's user, who is a member of the project."""
    fields: dict[str, Any] = {
        "user_id": world.user,
        "project_id": world.project,
        "events": list(EVENTS),
        "channel": "webhook",
        "address": "https://example.com/hook",
        "created_at": world.clock.now,
    }
    join(world, world.user)
    with world.database.write() as session:
        session.add(Subscription(id=name, **(fields | columns)))
    return name


def join(world: Any, user: str) -> None:
    with world.database.write() as session:
        if session.get(Membership, (user, world.project)) is None:
            session.add(
                Membership(
                    user_id=user,
                    project_id=world.project,
                    role="member",
                    created_at=world.clock.now,
                )
            )
