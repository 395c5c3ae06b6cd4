"""What can be wrong with a request to a served model; `problems.py` chooses the HTTP status."""

from __future__ import annotations

from tunesmith.errors import InputError, TunesmithError


class UnknownModel(InputError):
    """No base and no adapter goes by this name."""

    code = "model_not_found"


class NotAuthenticated(InputError):
    """The key is missing or wrong."""

    code = "invalid_api_key"


class NameTaken(InputError):
    """Something else is served under this name."""

    code = "name_taken"


class PromptTooLong(InputError):
    """The prompt leaves no room for an answer."""

    code = "context_length_exceeded"


class TemplateBroken(InputError):
    """The chat template does not take this conversation."""

    code = "template_refused"


class AdapterMismatch(InputError):
    """The adapter was made for another base, or is of a kind that is not served."""

    code = "adapter_mismatch"


class QueueFull(TunesmithError):
    """As many requests wait as may; the same one may be sent again later."""

    code = "queue_full"


class NotReady(TunesmithError):
    """The model is not loaded yet, or not any more."""

    code = "model_not_ready"


class GenerationFailed(TunesmithError):
    """A step of the model failed; the request got no whole answer."""

    code = "generation_failed"
