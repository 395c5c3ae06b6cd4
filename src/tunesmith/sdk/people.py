"""Users, projects and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunesmith.schemas.common import Listed
from tunesmith.schemas.people import (
    MemberRead,
    ProjectRead,
    TokenCreated,
    TokenRead,
    UserCreated,
    UserRead,
)
from tunesmith.sdk.connection import Connection


class Users:
    """For administrators; `get("me")` for everybody."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Iterator[UserRead]:
        return self._connection.all("/api/v1/users", UserRead)

    def get(self, user_id: str) -> UserRead:
        return self._connection.get(f"/api/v1/users/{user_id}", UserRead)

    def create(self, name: str, **fields: Any) -> UserCreated:
        body = {"name": name, **fields}
        return self._connection.send("POST", "/api/v1/users", UserCreated, body)

    def update(self, user_id: str, **changes: Any) -> UserRead:
        return self._connection.send("PATCH", f"/api/v1/users/{user_id}", UserRead, changes)


class Projects:
    """What a team shares, and who is in it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Iterator[ProjectRead]:
        return self._connection.all("/api/v1/projects", ProjectRead)

    def get(self, project_id: str) -> ProjectRead:
        return self._connection.get(f"/api/v1/projects/{project_id}", ProjectRead)

    def update(self, project_id: str, **changes: Any) -> ProjectRead:
        place = f"/api/v1/projects/{project_id}"
        return self._connection.send("PATCH", place, ProjectRead, changes)

    def create(self, name: str, **fields: Any) -> ProjectRead:
        body = {"name": name, **fields}
        return self._connection.send("POST", "/api/v1/projects", ProjectRead, body)

    def members(self, project_id: str) -> list[MemberRead]:
        place = f"/api/v1/projects/{project_id}/members"
        return self._connection.get(place, Listed[MemberRead]).data

    def set_member(self, project_id: str, user_id: str, role: str) -> MemberRead:
        place = f"/api/v1/projects/{project_id}/members/{user_id}"
        return self._connection.send("PUT", place, MemberRead, {"role": role})

    def remove_member(self, project_id: str, user_id: str) -> None:
        self._connection.request("DELETE", f"/api/v1/projects/{project_id}/members/{user_id}")


class Tokens:
    """One's own API tokens."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Iterator[TokenRead]:
        return self._connection.all("/api/v1/tokens", TokenRead)

    def create(self, name: str, **fields: Any) -> TokenCreated:
        body = {"name": name, **fields}
        return self._connection.send("POST", "/api/v1/tokens", TokenCreated, body)

    def revoke(self, token_id: str) -> None:
        self._connection.request("DELETE", f"/api/v1/tokens/{token_id}")
