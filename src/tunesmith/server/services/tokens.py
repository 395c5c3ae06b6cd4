"""API tokens of users: made, listed, revoked. Shown once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import select

from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.database import Database
from tunesmith.server.errors import NotFound
from tunesmith.server.known import Known
from tunesmith.server.paging import Page, page
from tunesmith.server.secrets import new_token
from tunesmith.server.services.people import SESSION_NAME
from tunesmith.server.tables import Token


class Tokens:
    """One's own tokens; an administrator may revoke anybody's."""

    def __init__(self, database: Database, known: Known) -> None:
        self._database = database
        self._known = known

    def create(
        self,
        caller: Caller,
        name: str,
        *,
        scopes: Collection[str],
        project_id: str | None = None,
        lifetime: timedelta | None = None,
    ) -> tuple[Token, str]:
        """A token and its secret. It never may more than the token that made it."""
        for scope in scopes:
            caller.require_scope(scope)
        if project_id is not None:
            caller.require(project_id, Role.VIEWER)
        fresh = new_token()
        with self._database.write() as session:
            moment = clock.read(session)
            made_by = session.get_one(Token, caller.token_id)
            token = Token(
                id=ids.new(ids.TOKEN, moment.wall),
                user_id=caller.user_id,
                project_id=project_id or made_by.project_id,
                name=name,
                prefix=fresh.prefix,
                token_hash=fresh.token_hash,
                scopes=sorted(scopes),
                created_at=moment.wall,
                expires_at=moment.wall + lifetime if lifetime else None,
            )
            session.add(token)
            audit(session, moment, caller, "token.create", token.id, name=name)
            session.flush()
            return token, fresh.secret

    def list(self, caller: Caller, *, after: str | None, limit: int) -> Page[Token]:
        """One's own tokens, browser sessions left out."""
        query = select(Token).where(
            Token.user_id == caller.user_id,
            Token.name != SESSION_NAME,
            Token.revoked_at.is_(None),
        )
        with self._database.read() as session:
            return page(session, query, Token.id, after=after, limit=limit)

    def revoke(self, caller: Caller, token_id: str) -> None:
        """It counts no more from this moment on."""
        with self._database.write() as session:
            moment = clock.read(session)
            token = session.get(Token, token_id)
            if token is None or (token.user_id != caller.user_id and not caller.is_admin):
                raise NotFound(
                    f"There is no token {token_id}.", code="token_not_found", id=token_id
                )
            token.revoked_at = token.revoked_at or moment.wall
            audit(session, moment, caller, "token.revoke", token_id)
        self._known.clear()
