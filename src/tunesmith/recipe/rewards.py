"""What an answer is worth to the reinforcement stage: one entry for each source of rewards.

    rewards:
      - {kind: json, json_schema: {type: object}, weight: 1}
      - {kind: grader, grader: {type: string_check, ...}}
      - {kind: python, file: reward.py}

In a list, `json` alone means `{kind: json}`, and an entry may be written as JSON text.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class RewardSource(BaseModel):
    """One source; the reward of an answer is the sum of all, each times its weight."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weight: float = Field(1.0, ge=-1000, le=1000)
    name: str = Field("", max_length=60, pattern=r"^[\w.-]*$")  # of its curve; empty: its kind


class JsonReward(RewardSource):
    """1 where the whole answer is JSON, and fits the schema where there is one, else 0.

    A row's own column `json_schema` or `schema` comes before `json_schema`.
    """

    kind: Literal["json"] = "json"
    json_schema: dict[str, Any] | None = None


class SqlReward(RewardSource):
    """1 where the query of an answer runs and returns what the row's reference returns, else 0.

    Without a reference running is enough. `fixtures` is an SQLite file, a script, or a folder of
    them; a row may hold the script that makes its database (`fixture`, `create_table`, `ddl`).
    """

    kind: Literal["sql"] = "sql"
    fixtures: str | None = None


class ModelReward(RewardSource):
    """The score of a reward model: a result of stage rm, or a sequence classifier of one label."""

    kind: Literal["model"] = "model"
    model: str = Field(min_length=1)


class GraderReward(RewardSource):
    """A grader in the shape of the OpenAI API, such as string_check, text_similarity or multi."""

    kind: Literal["grader"] = "grader"
    grader: dict[str, Any]
    seconds: float = Field(10.0, gt=0, le=600)  # that a grader of type python may take


class PythonReward(RewardSource):
    """`score(row)` of a Python file: a number, or a dictionary of numbers that are added up."""

    kind: Literal["python"] = "python"
    file: str = Field(min_length=1)
    seconds: float = Field(10.0, gt=0, le=600)  # for one answer


def _written(entry: Any) -> Any:
    """An entry as an object: a text is the name of a kind, or JSON."""
    if not isinstance(entry, str):
        return entry
    if not entry.lstrip().startswith("{"):
        return {"kind": entry.strip()}
    try:
        return json.loads(entry)
    except ValueError:
        return entry


AnyReward = Annotated[
    Annotated[
        JsonReward | SqlReward | ModelReward | GraderReward | PythonReward,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_written),
]


def reward_path(reward: AnyReward) -> str | None:
    """The file or folder that a source reads, if it does."""
    if isinstance(reward, PythonReward):
        return reward.file
    return reward.fixtures if isinstance(reward, SqlReward) else None


def has_program(reward: AnyReward) -> bool:
    """Whether a source is a program that stands in the recipe."""
    if not isinstance(reward, GraderReward):
        return False
    given: Any = reward.grader.get("graders") or []
    parts: list[Any] = [*given.values()] if isinstance(given, dict) else [given]
    parts = given if isinstance(given, list) else parts
    kinds = [part.get("type") for part in [reward.grader, *parts] if isinstance(part, dict)]
    return "python" in kinds


def names_of(rewards: list[AnyReward]) -> list[str]:
    """The name of each one's curve, no two alike."""
    found: list[str] = []
    for reward in rewards:
        name = wanted = reward.name or reward.kind
        number = 1
        while name in found:
            number += 1
            name = f"{wanted}_{number}"
        found.append(name)
    return found
