"""Users, projects, tokens, sessions, audit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from tunesmith.schemas.common import Answer, Name, Request, Text

RoleWord = Literal["admin", "member", "viewer"]
Scope = Literal["read", "write", "admin"]
Language = Literal["en", "zh"]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
# Letters (Latin and of Chinese, Japanese, Korean), digits, and `._-@+`, but no leading `.` or `-`:
# such a name fits into an address, a command line and a log.
_LETTERS = (
    "A-Za-z0-9\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
    "\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
)
UserName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=100,
        pattern=f"^[{_LETTERS}_@+][{_LETTERS}._@+-]*$",
    ),
]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")
]


class SignIn(Request):
    """Name and password of a user."""

    name: Name = Field(examples=["admin"])
    password: Password = Field(examples=["correct horse battery"])


class PasswordChange(Request):
    """A new password for oneself; the old one where there is one."""

    password: Password = Field(examples=["correct horse battery"])
    old_password: Password | None = Field(None, examples=[None])


class MeUpdate(Request):
    """What a user may change of themselves."""

    language: Language = Field(examples=["zh"])


class UserCreate(Request):
    """A new user."""

    name: UserName = Field(
        examples=["li.na"],
        description="Letters, digits and `._-@+`; it does not begin with a dot or a hyphen.",
    )
    email: Email | None = Field(None, examples=["li.na@example.com"])
    password: Password | None = Field(None, examples=["correct horse battery"])
    is_admin: bool = False
    language: Language = "en"
    project_ids: list[str] | None = Field(
        None,
        max_length=100,
        description="What they become a member of; [] for nothing. Null: the project named "
        "`default` while there is one, else nothing.",
    )
    quota_running_jobs: int | None = Field(None, ge=0, le=10**9)
    quota_device_hours: float | None = Field(None, ge=0, le=10**9)
    quota_storage_bytes: int | None = Field(None, ge=0, le=2**62)
    credit_cents: int | None = Field(None, ge=-(2**53), le=2**53)


class UserUpdate(Request):
    """What is named is changed; null clears a limit."""

    email: Email | None = Field(None, examples=["li.na@example.com"])
    password: Password | None = None
    is_admin: bool | None = None
    disabled: bool | None = None
    language: Language | None = Field(None, examples=["zh"])
    quota_running_jobs: int | None = Field(None, ge=0, le=10**9)
    quota_device_hours: float | None = Field(None, ge=0, le=10**9)
    quota_storage_bytes: int | None = Field(None, ge=0, le=2**62)
    credit_cents: int | None = Field(None, ge=-(2**53), le=2**53)


class UserRead(Answer):
    id: str
    name: str
    email: str | None
    is_admin: bool
    language: str
    created_at: datetime
    last_login_at: datetime | None
    disabled_at: datetime | None
    quota_running_jobs: int | None
    quota_device_hours: float | None
    quota_storage_bytes: int | None
    credit_cents: int | None


class UserCreated(UserRead):
    project_ids: list[str] = Field(description="What the user is in now; all for administrators.")


class Session(Answer):
    """Who is signed in; the cookie that proves it comes beside."""

    user: UserRead
    expires_at: datetime


class OidcStatus(Answer):
    """Whether an identity provider is set up, and where signing in there begins."""

    is_on: bool
    login: str


class Me(Answer):
    """Oneself: what this token may do, and where."""

    user: UserRead
    roles: dict[str, str] = Field(description="Project id to role: viewer, member, admin.")
    project_id: str = Field(description="The project that is meant when none is named.")
    scopes: list[str]


class UsageRead(Answer):
    """What a user has of each limit; null is no limit, or no account with credit."""

    running_jobs: int = Field(examples=[1])
    limit_running_jobs: int | None = Field(examples=[2])
    device_hours: float = Field(examples=[31.5], description="In the last 30 days.")
    limit_device_hours: float | None = Field(examples=[100.0])
    storage_bytes: int = Field(examples=[9_663_676_416])
    limit_storage_bytes: int | None = Field(examples=[50_000_000_000])
    credit_cents: int | None = Field(examples=[12_500])
    held_cents: int = Field(examples=[61], description="Of it, for jobs that wait or run.")


class ProjectCreate(Request):
    name: Name = Field(examples=["support"])
    description: Text = Field("", examples=["Bots of the help desk"])


class ProjectUpdate(Request):
    """What is named is changed. `weight` is the share of the devices, against other projects."""

    name: Name | None = Field(None, examples=["support"])
    description: Text | None = None
    weight: float | None = Field(None, gt=0, le=1000)
    archived: bool | None = None


class ProjectRead(Answer):
    id: str
    name: str
    description: str
    weight: float
    created_at: datetime
    archived_at: datetime | None


class MemberSet(Request):
    role: RoleWord = Field(examples=["member"])


class MemberRead(Answer):
    user_id: str
    name: str
    role: RoleWord
    created_at: datetime


class CandidateRead(Answer):
    """A user whom an admin of a project may let in; no more is told of them."""

    user_id: str
    name: str


class TokenCreate(Request):
    """An API key. It may at most what the caller may."""

    name: Name = Field(examples=["laptop"])
    scopes: list[Scope] = Field(["read", "write"], min_length=1, max_length=3)
    project_id: str | None = Field(None, description="Only for this project.")
    lifetime_days: int | None = Field(90, ge=1, le=3650, description="Null: never ends.")


class TokenRead(Answer):
    id: str
    name: str
    prefix: str
    project_id: str | None
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class TokenCreated(TokenRead):
    """The only time that the secret is shown."""

    secret: str


class AuditRead(Answer):
    id: str
    time: datetime
    user_id: str | None
    token_id: str | None
    project_id: str | None
    action: str
    target: str
    request_id: str
    address: str
    details: dict[str, Any]
