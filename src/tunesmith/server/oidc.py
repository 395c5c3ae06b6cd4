"""Signing in at an identity provider (OpenID Connect, authorization code with PKCE).

begin:   state, nonce and verifier go into a short-lived signed cookie; the browser goes to the
         provider with the state, the nonce and the verifier's hash
finish:  the cookie must be ours, in time and of this state; each state counts once, on all servers;
         the code is changed for an id token, which must hold; whom it names becomes a user of ours

A user is found by the provider's subject; by e-mail only where the provider says it is verified.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tunesmith.server import clock
from tunesmith.server.access import Caller, audit
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict, NotAuthenticated, NotFound, PermissionDenied
from tunesmith.server.oidc_errors import not_finished, refused
from tunesmith.server.services.people import People
from tunesmith.server.settings import Settings
from tunesmith.server.tables import UsedSignIn, User

if TYPE_CHECKING:  # loaded on first use: a server starts without them
    from joserfc.jwk import OctKey

    from tunesmith.server.oidc_provider import Provider

log = logging.getLogger(__name__)
LOGIN_SECONDS: Final = 600
_ALGORITHM: Final = "HS256"
_LONGEST_NAME: Final = 90
_REMEMBERED: Final = timedelta(seconds=2 * LOGIN_SECONDS)  # clocks may differ
_PLATFORM: Final = Caller("oidc", "oidc", is_admin=True)


@dataclass(frozen=True)
class Started:
    """A sign-in on its way: where the browser goes, and the cookie that it brings back."""

    address: str
    cookie: str


class Oidc:
    """Sign-in at the provider that the settings name."""

    def __init__(self, database: Database, people: People, settings: Settings) -> None:
        self._database, self._people, self._settings = database, people, settings
        self._place = DataDir(settings.data_dir)

    @property
    def is_on(self) -> bool:
        return bool(self._settings.oidc_issuer and self._settings.oidc_client_id)

    def begin(self, redirect_uri: str) -> Started:
        """A new sign-in."""
        from joserfc import jwt

        self._refuse_off()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        address = self._provider.sign_in_address(redirect_uri, state, nonce, verifier)
        claims = {
            "state": state, "nonce": nonce, "verifier": verifier,
            "redirect_uri": redirect_uri, "exp": int(time.time()) + LOGIN_SECONDS,
        }  # fmt: skip
        return Started(address, jwt.encode({"alg": _ALGORITHM}, claims, self._key))

    def finish(self, answer: Mapping[str, str], cookie: str) -> str:
        """The id of the user whom the provider names; NotAuthenticated or PermissionDenied."""
        self._refuse_off()
        begun = self._begun(cookie, answer.get("state", ""))
        if answer.get("iss", self._settings.oidc_issuer) != self._settings.oidc_issuer:
            raise refused("other_provider")
        if answer.get("error"):
            raise refused("said_no")
        code = answer.get("code", "")
        if not code:
            raise refused("no_code")
        claims = self._provider.claims_of(
            code, begun["redirect_uri"], begun["nonce"], begun["verifier"]
        )
        return self._user_of(claims)

    @cached_property
    def _provider(self) -> Provider:
        from tunesmith.server.oidc_provider import Provider

        return Provider(self._settings)

    @cached_property
    def _key(self) -> OctKey:
        """Of this purpose alone, made of the installation's secret."""
        from joserfc.jwk import OctKey

        derived = hmac.new(self._place.secret(), b"tunesmith oidc sign-in", hashlib.sha256)
        return OctKey.import_key(derived.digest())

    def _refuse_off(self) -> None:
        if not self.is_on:
            raise NotFound(
                "Signing in at an identity provider is not set up here.",
                hint="An administrator sets TUNESMITH_OIDC_ISSUER and TUNESMITH_OIDC_CLIENT_ID.",
                code="oidc_off",
            )

    def _begun(self, cookie: str, state: str) -> dict[str, Any]:
        """What the cookie holds, once; the browser that came back is the one that left."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            begun = jwt.decode(cookie, self._key, algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError) as error:
            raise not_finished("not_begun") from error
        if begun["exp"] < time.time():
            raise not_finished("too_late")
        if not hmac.compare_digest(begun["state"].encode(), state.encode("utf-8", "replace")):
            raise not_finished("other_sign_in")
        self._use_up(state)
        return begun

    def _use_up(self, state: str) -> None:
        """Once on all servers of the installation: a second row of one state is refused."""
        used = hashlib.sha256(state.encode()).hexdigest()
        try:
            with self._database.write() as session:
                now = clock.read(session).wall
                session.execute(delete(UsedSignIn).where(UsedSignIn.expires_at < now))
                session.add(UsedSignIn(id=used, expires_at=now + _REMEMBERED))
        except IntegrityError:
            raise not_finished("used_before") from None

    def _user_of(self, claims: Mapping[str, Any]) -> str:
        email = _verified_email(claims)
        self._refuse_domain(email)
        subject = f"{self._settings.oidc_issuer} {claims['sub']}"
        try:
            return self._find(claims, subject, email) or self._create(claims, subject, email)
        except IntegrityError:  # the same person came twice at once: the other one made the user
            found = self._find(claims, subject, email)
            if found is None:
                raise
            return found

    def _refuse_domain(self, email: str | None) -> None:
        allowed = {domain.lower().lstrip("@") for domain in self._settings.oidc_allowed_domains}
        if allowed and (email is None or email.rpartition("@")[2] not in allowed):
            raise PermissionDenied(
                "Only verified e-mail addresses of certain domains may come in here.",
                hint="Ask an administrator.",
                code="oidc_domain_not_allowed",
            )

    def _find(self, claims: Mapping[str, Any], subject: str, email: str | None) -> str | None:
        """A known user, linked where they were known by e-mail only."""
        with self._database.write() as session:
            moment = clock.read(session)
            user = session.scalars(
                select(User).where(User.oidc_subject == subject).with_for_update()
            ).one_or_none()
            if user is None and email is not None:
                user = _by_email(session, email)
                if user is not None:
                    user.oidc_subject = subject
                    audit(session, moment, Caller(user.id, user.name), "user.link", user.id)
            if user is None:
                return None
            if user.disabled_at is not None:
                raise NotAuthenticated("This user is switched off.", code="user_disabled")
            self._follow_group(session, user, claims)
            return user.id

    def _create(self, claims: Mapping[str, Any], subject: str, email: str | None) -> str:
        if not self._settings.oidc_create_users:
            raise PermissionDenied(
                "The provider knows you, and this installation has no user for you yet.",
                hint="Ask an administrator to make one with your e-mail address.",
                code="oidc_no_user",
            )
        name = _name(claims.get(self._settings.oidc_name_claim) or email or claims["sub"])
        for number in range(1, 100):
            chosen = name if number == 1 else f"{name}-{number}"
            try:
                user = self._people.create(
                    _PLATFORM,
                    chosen,
                    email=email,
                    is_admin=bool(self._is_in_group(claims)),
                    oidc_subject=subject,
                )
            except Conflict as error:
                if error.code == "email_taken":  # of a user who signs in as somebody else there
                    email = None
                continue
            return user.id
        raise Conflict(f"There are too many users called {name}.", code="name_taken", name=name)

    def _is_in_group(self, claims: Mapping[str, Any]) -> bool | None:
        """None where the provider does not decide who administrates."""
        group = self._settings.oidc_admin_group
        if not group:
            return None
        groups = claims.get(self._settings.oidc_groups_claim)
        return isinstance(groups, list) and group in groups

    def _follow_group(self, session: Session, user: User, claims: Mapping[str, Any]) -> None:
        wanted = self._is_in_group(claims)
        if wanted is None or wanted == user.is_admin:
            return
        others = select(func.count()).where(
            User.is_admin, User.disabled_at.is_(None), User.id != user.id
        )
        if not wanted and not session.scalar(others):
            log.warning("%s is the last administrator and stays one", user.id)
            return
        user.is_admin = wanted


def _by_email(session: Session, email: str) -> User | None:
    """One user with this address who has no other identity at the provider."""
    found = session.scalars(
        select(User)
        .where(func.lower(User.email) == email, User.oidc_subject.is_(None))
        .with_for_update()
        .limit(2)
    ).all()
    return found[0] if len(found) == 1 else None


def _verified_email(claims: Mapping[str, Any]) -> str | None:
    email = claims.get("email")
    if not isinstance(email, str) or claims.get("email_verified") is not True:
        return None
    plain = email.strip().lower()
    fits = len(plain) <= 254 and plain.isprintable() and plain.count("@") == 1 and " " not in plain
    return plain if fits and not plain.startswith("@") and not plain.endswith("@") else None


def _name(text: Any) -> str:
    """A claim as the name of a user: letters, digits and `._-@+`, and not too long."""
    plain = "".join(c for c in str(text) if c.isprintable()).strip()
    fit = "".join(c if c.isalnum() or c in "._-@+" else "-" for c in plain)
    return fit.lstrip(".-")[:_LONGEST_NAME] or "user"
