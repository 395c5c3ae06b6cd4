"""Errors of the platform; the API chooses their HTTP status in one place."""

from __future__ import annotations

from tunesmith.errors import InputError, TunesmithError


class NotFound(InputError):
    """There is no such thing, or the caller may not know of it."""

    code = "not_found"


class Conflict(InputError):
    """The thing is in a state that does not allow what was asked for."""

    code = "conflict"


class IllegalTransition(Conflict):
    """A job cannot go from its status to the one that was asked for."""

    code = "illegal_transition"


class StaleAttempt(Conflict):
    """A worker wrote with a token that is no longer the current one; nothing was changed."""

    code = "stale_attempt"


class EventsMissing(Conflict):
    """Events came without the ones before them; nothing was recorded."""

    code = "events_missing"


class KeyReused(Conflict):
    """An idempotency key came again with another body."""

    code = "idempotency_key_reused"


class QuotaExceeded(InputError):
    """A limit of the user is reached."""

    code = "exceeded_quota"


class DatabaseUnavailable(TunesmithError):
    """The database does not answer or stays locked; the same request may succeed later."""

    code = "database_unavailable"


class DatabaseRefused(InputError):
    """The database cannot be used by this version of the program."""

    code = "database_refused"
