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


class NotAuthenticated(InputError):
    """There is no token, or it is unknown, expired or revoked."""

    code = "invalid_token"


class PermissionDenied(InputError):
    """The caller is known, and may not do this."""

    code = "permission_denied"


class RateLimited(TunesmithError):
    """Too many requests; `details['retry_after']` says in how many seconds to come back."""

    code = "rate_limited"


class TooLarge(InputError):
    """What was sent is above a limit; nothing of it was kept."""

    code = "too_large"


class Gone(NotFound):
    """The thing was there and is not any more: it expired, or somebody ended it."""

    code = "gone"


class Locked(Conflict):
    """Another request changes the thing at this moment; nothing was changed by this one."""

    code = "locked"


class ChecksumMismatch(InputError):
    """What arrived is not what was announced; it was dropped."""

    code = "checksum_mismatch"


class UnknownProtocol(InputError):
    """The request speaks another version of a protocol than this server."""

    code = "unknown_protocol"


class NotOffered(InputError):
    """The address exists in an API that we follow, and this version does not serve it."""

    code = "not_offered"


class UnsupportedMedia(InputError):
    """The body is of another kind than this address takes."""

    code = "unsupported_media_type"


class SettingsRefused(InputError):
    """Settings are wrong; `details['problems']` lists every one."""

    code = "invalid_settings"


class DataDirectoryInUse(InputError):
    """Another server works on the data directory; it was not disturbed."""

    code = "data_directory_in_use"


class BackupRefused(InputError):
    """A backup cannot be made or restored as asked; nothing was changed."""

    code = "backup_refused"


class BackupFailed(TunesmithError):
    """A backup was begun and could not be finished, or its content is damaged."""

    code = "backup_failed"


class DeploymentNotReady(TunesmithError):
    """The model does not answer now: it is on its way, stopped, or has failed."""

    code = "deployment_not_ready"
