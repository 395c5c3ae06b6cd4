"""A grader as a recipe of reinforcement has it: what can judge answers while a model is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tunesmith.errors import RecipeError
from tunesmith.evaluation.graders.kinds import Grader, LabelModel, Multi, ScoreModel
from tunesmith.evaluation.graders.run import AnyGrader, problems

_ANY_GRADER: TypeAdapter[AnyGrader] = TypeAdapter(Grader)


def read_grader(given: Mapping[str, Any]) -> AnyGrader:
    """A grader of a recipe; RecipeError names what is wrong with it."""
    if wrong := wrong_in(given):
        raise RecipeError(
            f"A grader in stage.rewards is not valid: {'; '.join(wrong)}.",
            hint="Its fields are those of the graders of the OpenAI API.",
            code="reward_not_valid",
        )
    return _ANY_GRADER.validate_python(given)


def wrong_in(given: Mapping[str, Any]) -> list[str]:
    """What keeps a grader from judging answers in training."""
    try:
        grader = _ANY_GRADER.validate_python(given)
    except ValidationError as error:
        return [_told(".".join(map(str, e["loc"][1:])), e["msg"]) for e in error.errors()]
    return [*(_told(*each) for each in problems(grader)), *_asks_models(grader)]


def _told(place: str, why: str) -> str:
    return f"{place}: {why}" if place else why


def _asks_models(grader: AnyGrader) -> Iterator[str]:
    parts = grader.parts().values() if isinstance(grader, Multi) else [grader]
    if any(isinstance(part, ScoreModel | LabelModel) for part in parts):
        yield "graders that ask a model are not available in training"
