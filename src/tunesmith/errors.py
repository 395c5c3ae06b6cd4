"""The one tree of errors that a user can meet.

Each error has a stable `code` for programs, a `message` that says what happened and where, and a
`hint` that says what to change. All of them survive pickling, so they cross process borders.

    TunesmithError
      InputError            wrong input: exit code 2
        RecipeError         the recipe does not validate
        DataError           the rows cannot be used
        ModelError          the model folder or id cannot be used
        RunDirError         the run directory is not in the state that the command needs
      RunFailed             a run that started and could not go on: exit code 1
"""

from __future__ import annotations

from typing import Any


class TunesmithError(Exception):
    """Base of all errors with a message for people."""

    code = "error"
    exit_code = 1
    subject = ""  # what the error is about: recipe, data, model; empty for anything else

    def __init__(
        self, message: str, *, hint: str = "", code: str | None = None, **details: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.code, self.details))

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def to_dict(self) -> dict[str, Any]:
        """The error as one JSON object: code, message, hint and details."""
        return {"code": self.code, "message": self.message, "hint": self.hint, **self.details}


def _rebuild(
    kind: type[TunesmithError], message: str, hint: str, code: str, details: dict[str, Any]
) -> TunesmithError:
    return kind(message, hint=hint, code=code, **details)


class InputError(TunesmithError):
    """Wrong use or wrong input; nothing was started and nothing was changed."""

    code = "invalid_input"
    exit_code = 2


class RecipeError(InputError):
    """The recipe does not validate; `details['problems']` lists every problem."""

    code = "invalid_recipe"
    subject = "recipe"


class DataError(InputError):
    """The rows cannot be used as they are."""

    code = "invalid_data"
    subject = "data"


class ModelError(InputError):
    """The base model or its tokenizer cannot be used."""

    code = "invalid_model"
    subject = "model"


class RunDirError(InputError):
    """The run directory is not in the state that the command needs."""

    code = "invalid_run_directory"


class RunFailed(TunesmithError):
    """A run that started and could not go on."""

    code = "run_failed"
