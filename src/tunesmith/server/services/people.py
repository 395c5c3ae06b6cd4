"""Users: the first one, who they are by token or password, and their administration."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from tunesmith.errors import InputError
from tunesmith.runs.files import StorageFull, StorageRefused
from tunesmith.server import clock, ids
from tunesmith.server.access import SCOPES, Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.errors import Conflict, DatabaseUnavailable, NotAuthenticated, NotFound
from tunesmith.server.known import Known
from tunesmith.server.paging import Page, page
from tunesmith.server.secrets import (
    SHORTEST_PASSWORD,
    hash_password,
    is_password,
    new_token,
    token_of,
)
from tunesmith.server.tables import Membership, Project, Token, User

log = logging.getLogger("tunesmith.api")
ADMIN_NAME: Final = "admin"
DEFAULT_PROJECT: Final = "default"
SESSION_NAME: Final = "session"  # of tokens that a sign-in made
SESSION_TIME: Final = timedelta(days=14)
_SEEN_EVERY: Final = timedelta(minutes=5)  # `last_used_at` is that coarse: reads stay reads


@dataclass(frozen=True)
class Asked:
    """What is known of a request beside its token."""

    language: str = "en"
    request_id: str = ""
    address: str = ""
    project_id: str | None = None  # named in the request


# Made once: every request asks these.
_BY_TOKEN: Final = (
    select(Token, User)
    .join(User, User.id == Token.user_id)
    .where(Token.token_hash == bindparam("token_hash"))
)
_ALL_PROJECTS: Final = select(Project.id).where(Project.archived_at.is_(None)).order_by(Project.id)
_MEMBERSHIPS: Final = (
    select(Membership.project_id, Membership.role)
    .join(Project, Project.id == Membership.project_id)
    .where(Membership.user_id == bindparam("user_id"), Project.archived_at.is_(None))
    .order_by(Membership.project_id)
)


class People:
    """Who may come in, and who they are."""

    def __init__(self, database: Database, known: Known | None = None) -> None:
        self._database = database
        self._known = known or Known()

    def first_start(self, admin_token: str | None = None) -> str | None:
        """Make the first admin and project; the admin's token, where a new one was made.

        A token that is given becomes a token of the admin at every start, so it can be changed.
        """
        with self._database.write() as session:
            moment = clock.read(session)
            admin = session.scalars(select(User).where(User.is_admin).order_by(User.id)).first()
            is_first = admin is None
            if admin is None:
                admin = _first_user(session, moment)
            if admin_token:
                _remember(session, admin, admin_token, moment)
                return None
            if not is_first:
                return None
            fresh = new_token()
            _add_token(session, admin, fresh.secret, "first start", moment)
            return fresh.secret

    def now(self) -> datetime:
        """The time of the database; an error where it does not answer."""
        with self._database.read() as session:
            return clock.read(session).wall

    def needs_setup(self) -> bool:
        """Whether nobody has a password or another way to sign in yet."""
        with self._database.read() as session:
            known = select(User.id).where(
                User.password_hash.is_not(None) | User.oidc_subject.is_not(None)
            )
            return session.scalar(known.limit(1)) is None

    def known(self, secret: str, asked: Asked) -> Caller | None:
        """The same as `caller` from memory, where it was asked for a moment ago."""
        found = self._known.get(token_of(secret).token_hash)
        return None if found is None else _as_asked(found, asked)

    def caller(self, secret: str, asked: Asked) -> Caller:
        """Who a token belongs to; NotAuthenticated where it counts no more."""
        token_hash = token_of(secret).token_hash
        with self._database.read() as session:
            moment = clock.read(session)
            found = session.execute(_BY_TOKEN, {"token_hash": token_hash}).one_or_none()
            if found is None:
                raise NotAuthenticated("The token is not known here.", code="invalid_token")
            token, user = found
            _refuse_ended(token, user, moment)
            caller = _caller(session, user, token)
        self._known.put(token_hash, caller)
        if token.last_used_at is None or token.last_used_at < moment.wall - _SEEN_EVERY:
            self._note_use(token.id, moment)
        return _as_asked(caller, asked)

    def as_user(self, user_id: str, project_id: str | None) -> Caller:
        """The user for whom the platform itself works, as a background task does."""
        with self._database.read() as session:
            user = _existing(session, user_id)
            roles = _roles(session, user)
        return Caller(
            user.id,
            user.name,
            user.is_admin,
            roles,
            project_id or next(iter(roles), ""),
            language=user.language,
        )

    def sign_in(self, name: str, password: str) -> tuple[User, str, datetime]:
        """A token for a browser session: user, secret, end. One answer to every wrong pair."""
        with self._database.read() as session:
            user = session.scalars(select(User).where(User.name == name)).one_or_none()
        fits = is_password(password, user.password_hash if user else None)
        if user is None or not fits or user.disabled_at is not None:
            raise NotAuthenticated("Name or password is wrong.", code="wrong_password")
        return self.open_session(user.id)

    def open_session(self, user_id: str) -> tuple[User, str, datetime]:
        """A browser session for a user who has shown who they are."""
        with self._database.write() as session:
            moment = clock.read(session)
            user = _existing(session, user_id)
            user.last_login_at = moment.wall
            fresh, end = new_token(), moment.wall + SESSION_TIME
            _add_token(session, user, fresh.secret, SESSION_NAME, moment, expires_at=end)
            audit(session, moment, Caller(user.id, user.name), "session.open", user.id)
            return user, fresh.secret, end

    def note_pause(self, account: str, address: str, failures: int, wait: float) -> None:
        """Write down that sign-ins of an account had to be paused; the name need not exist."""
        with self._database.write() as session:
            moment = clock.read(session)
            user_id = session.scalar(select(User.id).where(func.lower(User.name) == account))
            caller = Caller(user_id or "", account, address=address)
            told: dict[str, Any] = {"name": account, "failures": failures, "wait": round(wait)}
            audit(session, moment, caller, "session.paused", user_id or "", **told)

    def sign_out(self, caller: Caller) -> None:
        """Revoke the token of this request."""
        with self._database.write() as session:
            moment = clock.read(session)
            session.execute(
                update(Token).where(Token.id == caller.token_id).values(revoked_at=moment.wall)
            )
        self._known.clear()

    def set_password(self, caller: Caller, password: str, old: str | None) -> User:
        """One's own password. The old one is asked for where there is one."""
        with self._database.read() as session:
            before = _existing(session, caller.user_id).password_hash
        if before is not None and not is_password(old or "", before):
            raise NotAuthenticated("The old password is wrong.", code="wrong_password")
        return self._change_password(caller, caller.user_id, password)

    def create(
        self,
        caller: Caller,
        name: str,
        *,
        password: str | None = None,
        email: str | None = None,
        is_admin: bool = False,
        project_ids: list[str] | None = None,
        **columns: Any,
    ) -> User:
        """A new user, a member of these projects; of the one named `default` where it is None."""
        caller.require_admin()
        hashed = hash_password(_good(password)) if password else None
        with self._database.write() as session:
            moment = clock.read(session)
            _refuse_taken(session, name, email)
            user = User(
                id=ids.new(ids.USER, moment.wall),
                name=name,
                email=email,
                password_hash=hashed,
                is_admin=is_admin,
                created_at=moment.wall,
                **columns,
            )
            session.add(user)
            session.flush()
            for project_id in project_ids if project_ids is not None else _default(session):
                _join(session, user.id, project_id, moment)
            audit(session, moment, caller, "user.create", user.id, name=name)
            session.flush()
            return user

    def update(self, caller: Caller, user_id: str, **changes: Any) -> User:
        """Change e-mail, language, limits, admin, `disabled`, password; what is None is cleared."""
        caller.require_admin()
        password = changes.pop("password", None)
        if password is not None:
            self._change_password(caller, user_id, password)
        with self._database.write() as session:
            moment = clock.read(session)
            user = _existing(session, user_id)
            if "disabled" in changes:
                changes["disabled_at"] = moment.wall if changes.pop("disabled") else None
            if changes.get("email") not in (None, user.email):
                _refuse_taken_email(session, changes["email"])
            for column, value in changes.items():
                setattr(user, column, value)
            session.flush()
            _refuse_without_admin(session)
            told = {key: value for key, value in changes.items() if key != "disabled_at"}
            audit(session, moment, caller, "user.update", user.id, **told)
        self._known.clear()
        return user

    def set_language(self, caller: Caller, language: str) -> User:
        """One's own."""
        with self._database.write() as session:
            moment = clock.read(session)
            user = _existing(session, caller.user_id)
            user.language = language
            audit(session, moment, caller, "user.update", user.id, language=language)
        self._known.clear()
        return user

    def get(self, caller: Caller, user_id: str) -> User:
        """Oneself, or anybody for an administrator."""
        if user_id in ("me", caller.user_id):
            user_id = caller.user_id
        elif not caller.is_admin:
            raise _no_user(user_id)
        with self._database.read() as session:
            return _existing(session, user_id)

    def list(self, caller: Caller, *, after: str | None, limit: int) -> Page[User]:
        caller.require_admin()
        with self._database.read() as session:
            return page(session, select(User), User.id, after=after, limit=limit)

    def _change_password(self, caller: Caller, user_id: str, password: str) -> User:
        """Every session of the user but this one ends."""
        hashed = hash_password(_good(password))  # slow on purpose: outside the transaction
        with self._database.write() as session:
            moment = clock.read(session)
            user = _existing(session, user_id)
            user.password_hash = hashed
            session.execute(
                update(Token)
                .where(
                    Token.user_id == user_id,
                    Token.name == SESSION_NAME,
                    Token.id != (caller.token_id or ""),
                )
                .values(revoked_at=moment.wall)
            )
            audit(session, moment, caller, "user.password", user.id)
        self._known.clear()
        return user

    def _note_use(self, token_id: str, moment: Moment) -> None:
        """For people to read; a database that cannot be written does not keep anybody out."""
        try:
            with self._database.write() as session:
                session.execute(
                    update(Token).where(Token.id == token_id).values(last_used_at=moment.wall)
                )
        except (StorageRefused, StorageFull, DatabaseUnavailable) as error:
            log.warning("the last use of token %s was not noted: %s", token_id, error.message)


def _first_user(session: Session, moment: Moment) -> User:
    admin = User(
        id=ids.new(ids.USER, moment.wall), name=ADMIN_NAME, is_admin=True, created_at=moment.wall
    )
    project = Project(
        id=ids.new(ids.PROJECT, moment.wall), name=DEFAULT_PROJECT, created_at=moment.wall
    )
    session.add_all([admin, project])
    session.flush()
    _join(session, admin.id, project.id, moment, Role.ADMIN)
    return admin


def _remember(session: Session, admin: User, secret: str, moment: Moment) -> None:
    known = session.scalar(select(Token.id).where(Token.token_hash == token_of(secret).token_hash))
    if known is None:
        _add_token(session, admin, secret, "TUNESMITH_ADMIN_TOKEN", moment)


def _add_token(
    session: Session,
    user: User,
    secret: str,
    name: str,
    moment: Moment,
    expires_at: datetime | None = None,
) -> None:
    kept = token_of(secret)
    session.add(
        Token(
            id=ids.new(ids.TOKEN, moment.wall),
            user_id=user.id,
            name=name,
            prefix=kept.prefix,
            token_hash=kept.token_hash,
            scopes=sorted(SCOPES),
            created_at=moment.wall,
            expires_at=expires_at,
        )
    )
    session.flush()


def _refuse_ended(token: Token, user: User, moment: Moment) -> None:
    if token.revoked_at is not None:
        raise NotAuthenticated("This token was revoked.", code="token_revoked")
    if token.expires_at is not None and token.expires_at <= moment.wall:
        raise NotAuthenticated(
            "This token has expired.",
            hint="Sign in again, or make a new one.",
            code="token_expired",
        )
    if user.disabled_at is not None:
        raise NotAuthenticated("This user is switched off.", code="user_disabled")


def _caller(session: Session, user: User, token: Token) -> Caller:
    roles = _roles(session, user)
    if token.project_id is not None:
        roles = {key: role for key, role in roles.items() if key == token.project_id}
    return Caller(
        user_id=user.id,
        user_name=user.name,
        is_admin=user.is_admin and token.project_id is None,
        roles=roles,
        project_id=next(iter(roles), ""),
        token_id=token.id,
        scopes=frozenset(token.scopes),
    )


def _as_asked(caller: Caller, asked: Asked) -> Caller:
    """A caller in one request."""
    named = asked.project_id if asked.project_id in caller.roles else None
    return replace(
        caller,
        project_id=named or caller.project_id,
        language=asked.language,
        request_id=asked.request_id,
        address=asked.address,
    )


def _roles(session: Session, user: User) -> dict[str, Role]:
    """An administrator of the installation has every project, as its admin; oldest first."""
    if user.is_admin:
        found = session.scalars(_ALL_PROJECTS)
        return dict.fromkeys(found, Role.ADMIN)
    rows = session.execute(_MEMBERSHIPS, {"user_id": user.id})
    return {project: Role.of(role) for project, role in rows}


def _join(
    session: Session, user_id: str, project_id: str, moment: Moment, role: Role = Role.MEMBER
) -> None:
    if session.get(Project, project_id) is None:
        raise NotFound(
            f"There is no project {project_id}.", code="project_not_found", id=project_id
        )
    session.add(
        Membership(user_id=user_id, project_id=project_id, role=role.word, created_at=moment.wall)
    )


def _default(session: Session) -> list[str]:
    """Nobody is let into a project of a team without being named for it."""
    found = select(Project.id).where(Project.name == DEFAULT_PROJECT, Project.archived_at.is_(None))
    return list(session.scalars(found))


def _existing(session: Session, user_id: str) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise _no_user(user_id)
    return user


def _no_user(user_id: str) -> NotFound:
    return NotFound(f"There is no user {user_id}.", code="user_not_found", id=user_id)


def _refuse_taken(session: Session, name: str, email: str | None) -> None:
    if session.scalar(select(User.id).where(User.name == name)):
        raise Conflict(f"There is a user {name} already.", code="name_taken", name=name)
    if email:
        _refuse_taken_email(session, email)


def _refuse_taken_email(session: Session, email: str) -> None:
    if session.scalar(select(User.id).where(User.email == email)):
        raise Conflict(f"{email} belongs to another user.", code="email_taken", name=email)


def _refuse_without_admin(session: Session) -> None:
    """The installation keeps somebody who can administrate it."""
    left = session.scalar(select(func.count()).where(User.is_admin, User.disabled_at.is_(None)))
    if not left:
        raise Conflict(
            "This is the last administrator; nothing was changed.",
            hint="Make somebody else an administrator first.",
            code="last_admin",
        )


def _good(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(
            f"A password has at least {SHORTEST_PASSWORD} characters; nothing was changed.",
            code="password_too_short",
            param="password",
            shortest=SHORTEST_PASSWORD,
        )
    return password
