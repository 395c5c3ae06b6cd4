"""The kinds of graders, in the shapes and names of the OpenAI API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]*$")]
Template = Annotated[str, StringConstraints(max_length=100_000)]
Metric = Literal[
    "cosine",
    "fuzzy_match",
    "bleu",
    "gleu",
    "meteor",
    "rouge_1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
]
MOST_GRADERS = 20


class _Kind(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name


class StringCheck(_Kind):
    """1 where the texts compare as `operation` says, else 0; `like` is 'contains'."""

    type: Literal["string_check"]
    input: Template
    reference: Template
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarity(_Kind):
    """How alike two texts are, from 0 to 1."""

    type: Literal["text_similarity"]
    input: Template
    reference: Template
    evaluation_metric: Metric


class PythonSource(_Kind):
    """A program with a function grade(sample, item) that returns a number."""

    type: Literal["python"]
    source: str = Field(min_length=1, max_length=262_144)
    image_tag: str | None = Field(None, max_length=100)


class ScoreModel(_Kind):
    """A model that is asked for a number."""

    type: Literal["score_model"]
    model: str = Field(min_length=1, max_length=300)
    input: list[dict[str, Any]] = Field(min_length=1, max_length=100)
    range: list[float] | None = Field(None, min_length=2, max_length=2)
    sampling_params: dict[str, Any] | None = None


class LabelModel(_Kind):
    """A model that is asked for one of several labels."""

    type: Literal["label_model"]
    model: str = Field(min_length=1, max_length=300)
    input: list[dict[str, Any]] = Field(min_length=1, max_length=100)
    labels: list[Name] = Field(min_length=1, max_length=100)
    passing_labels: list[Name] = Field(min_length=1, max_length=100)


Single = Annotated[
    StringCheck | TextSimilarity | PythonSource | ScoreModel | LabelModel,
    Field(discriminator="type"),
]


class Multi(_Kind):
    """Several graders, and a formula over their rewards: `0.8 * exact + 0.2 * close`.

    `graders` is an object, whose keys are the names in the formula; a list or a single grader is
    taken too, and the graders' own names count then.
    """

    type: Literal["multi"]
    graders: dict[str, Single] | list[Single] | Single
    calculate_output: str = Field(max_length=1000)

    def parts(self) -> dict[str, Single]:
        """The graders by the name that the formula knows them under."""
        if isinstance(self.graders, dict):
            return self.graders
        listed = self.graders if isinstance(self.graders, list) else [self.graders]
        return {each.name: each for each in listed}


Grader = Annotated[
    StringCheck | TextSimilarity | PythonSource | ScoreModel | LabelModel | Multi,
    Field(discriminator="type"),
]
