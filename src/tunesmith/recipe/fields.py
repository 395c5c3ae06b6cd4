"""How a field of a recipe is declared, and the facts that it carries.

    rank: int = field(16, "Inner dimension of each adapter.", "...", aliases="lora_rank", ge=1)

The declared type checks the default; everything else rides along in the JSON schema: help in
English (`description`) and Chinese (`zh`), `unit`, `aliases`, `spellings` of single values, and
what the field `changes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

T = TypeVar("T")

Changes = Literal["result", "speed", "records"]
"""What another value changes: the weights, only speed and memory, or only what is written."""


class Section(BaseModel):
    """A part of a recipe: frozen, complete, and it knows its names."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
        protected_namespaces=(),
        defer_build=True,  # keeps the import of this package fast
    )


S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Facts:
    """What a field says about itself beyond its type, default and range."""

    en: str = ""
    zh: str = ""
    unit: str = ""
    changes: Changes = "result"
    aliases: tuple[str, ...] = ()
    spellings: Mapping[str, str] = attribute(default_factory=dict[str, str])


def field(
    default: T,
    en: str,
    zh: str,
    *,
    aliases: str = "",
    unit: str = "",
    changes: Changes = "result",
    spellings: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    min_length: int | None = None,
) -> T:
    """Declare a field; X."""
    extra: dict[str, Any] = {
        "zh": zh,
        "unit": unit,
        "changes": changes,
        "aliases": aliases.split(),
        "spellings": dict(pair.split("=") for pair in spellings.split()),
    }
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt, "min_length": min_length}
    given = {name: value for name, value in bounds.items() if value is not None}
    info: Any = Field(default, description=en, json_schema_extra=extra, **cast(Any, given))
    return info


def required(en: str, zh: str, **facts: Any) -> Any:
    """Declare a field that has no default."""
    return field(cast(Any, ...), en, zh, **facts)


def section(kind: type[S], en: str, zh: str) -> S:
    """Declare a part of a recipe that may be left out: it is then made of its own defaults."""
    extra: dict[str, Any] = {"zh": zh}
    info: Any = Field(default_factory=kind, description=en, json_schema_extra=extra)
    return info


def facts_of(info: FieldInfo) -> Facts:
    """The facts of a declared field."""
    extra = cast("dict[str, Any]", info.json_schema_extra or {})
    return Facts(
        en=info.description or "",
        zh=extra.get("zh", ""),
        unit=extra.get("unit", ""),
        changes=extra.get("changes", "result"),
        aliases=tuple(extra.get("aliases", ())),
        spellings=extra.get("spellings", {}),
    )
