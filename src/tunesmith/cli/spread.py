"""Options that several commands share, declared once as fields of a dataclass.

    @dataclass(frozen=True, kw_only=True)
    class Shown:
        json: Annotated[bool, typer.Option("--json")] = False

    @app.command()
    @spread
    def evaluate(model: str, shown: Shown) -> None: ...

The command line sees `model` and `json`; the function gets an object.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def spread(function: Callable[..., None]) -> Callable[..., None]:
    """The function with the fields of its dataclasses as options of its own."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type[Any]] = {}
    flat: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(hint := hints[name]):
            assert isinstance(hint, type)
            groups[name] = hint
            flat += _options(hint)
        else:
            flat.append(parameter.replace(annotation=hints[name], kind=_KEYWORD))

    def command(**given: Any) -> None:
        built = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        function(**given, **built)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__module__ = function.__module__
    command.__annotations__ = {each.name: each.annotation for each in flat}
    command.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return command


def _options(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            _KEYWORD,
            annotation=hints[field.name],
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(group)
    ]


def words_of(group: Any) -> list[str]:
    """The options that were given, one word each, so that a value may begin with a dash."""
    words: list[str] = []
    for field in fields(group):
        option, value = f"--{field.name.replace('_', '-')}", getattr(group, field.name)
        if isinstance(value, bool):
            words += [option] * value
        elif isinstance(value, list | tuple):
            words += [f"{option}={each}" for each in value]  # pyright: ignore[reportUnknownVariableType]
        elif value is not None:
            words.append(f"{option}={value}")
    return words
