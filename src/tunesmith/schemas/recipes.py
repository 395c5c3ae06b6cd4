"""Recipes over the wire: fields of the form, presets, problems, what a recipe comes to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from tunesmith.schemas.common import Answer, Request

Origin = Literal["default", "profile", "model", "preset", "given"]
LongText = Annotated[str, StringConstraints(max_length=1_000_000)]
_EXAMPLE: dict[str, Any] = {
    "name": "support-bot",
    "model": {"base": "starter"},
    "data": {"train": [{"dataset": "builtin:shop"}]},
    "training": {"epochs": 2, "learning_rate": 1e-4},
}
RecipeBody = Annotated[
    dict[str, Any] | LongText,
    Field(
        description="A recipe: an object, or YAML text. Names of other systems are understood.",
        examples=[_EXAMPLE],
    ),
]


class RecipeRequest(Request):
    """A recipe to look at; nothing is started."""

    recipe: RecipeBody
    project_id: str | None = Field(
        None, max_length=100, description="Whose datasets and models the names mean."
    )
    num_devices: int = Field(1, ge=1, le=1024, description="Counts in per-device batch sizes only.")


class ConvertRequest(Request):
    """A job file of LLaMA-Factory, with its dataset_info.json where the names need it."""

    text: LongText = Field(
        examples=["model_name_or_path: starter\nstage: sft\ndataset: shop\nlearning_rate: 5e-5\n"]
    )
    dataset_info: LongText | None = Field(None, examples=[None])


class RenderRequest(Request):
    """A recipe to write another way: an object as YAML, or YAML text as an object."""

    recipe: RecipeBody


class Help(Answer):
    """One text in both languages."""

    en: str
    zh: str


class Range(Answer):
    """What a value must keep; null is no bound."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    multiple_of: int | None = None


class FieldRead(Answer):
    """One field of a form, with the default and the range of the chosen profile."""

    path: str
    section: str
    group: Literal["basic", "advanced"]
    types: list[str] = Field(description="int, float, bool, str, list; empty: only the choices.")
    choices: list[Any]
    optional: bool
    required: bool
    default: Any = None
    range: Range
    takes: Help = Field(description="The range in words.")
    unit: str
    help: Help
    aliases: list[str] = Field(description="Its names in other systems.")
    changes: Literal["result", "speed", "records"]
    kinds: list[str] = Field(description="Only for these kinds of its section; empty: for all.")


class RecipeSchema(Answer):
    """The fields of a recipe as a form shows them, and as JSON schema."""

    profile: str
    fields: list[FieldRead]
    stage_rows: dict[str, list[str]] = Field(
        description="By training type: the kinds of rows (`kinds` of a version of a dataset) that "
        "it is meant for."
    )
    json_schema: dict[str, Any]


class ProfileRead(Answer):
    """A named set of defaults and ranges."""

    name: str
    help: Help
    defaults: dict[str, Any]
    rules: dict[str, Help] = Field(description="Ranges in words, by field.")


class PresetRead(Answer):
    """A named set of values on top of a profile."""

    name: str
    help: Help
    profile: str
    values: dict[str, Any] = Field(description="By the path of the field.")
    written: dict[str, Any] = Field(description="As its source writes them.")
    notices: list[NoticeRead]


class NoticeRead(Answer):
    """One thing to know about a recipe that is accepted."""

    code: str
    message: str
    hint: str = ""
    field: str = ""


class ProblemRead(Answer):
    """One reason to refuse a recipe."""

    field: str
    code: str = ""
    message: str
    hint: str = ""
    line: int | None = None


class Validated(Answer):
    """All that is wrong with a recipe at once, and what to know about it."""

    valid: bool
    problems: list[ProblemRead]
    notices: list[NoticeRead]
    recipe: dict[str, Any] | None = Field(None, description="Complete, where it is valid.")


class ValueRead(Answer):
    """A value, and who said so."""

    path: str
    value: Any = None
    origin: Origin
    preset: Any = Field(None, description="What the preset says, where it was changed.")
    changed_from_preset: bool = False


class Comes(Answer):
    """What the numbers of a recipe come to; null where the rows are not known."""

    num_devices: int
    batch_rows: int | None = Field(
        description="Rows of one weight update: per device x devices x accumulation."
    )
    batch_rows_per_device: int | None = Field(
        description="A device's share of them, in as many micro-batches as its memory asks for."
    )
    batch_tokens: int | None
    rows_available: int | None
    training_rows: int | None
    steps_per_epoch: int | None
    total_steps: int | None
    learning_rate: float
    lowest_learning_rate: float
    warmup_steps: int | None
    tokens_per_checkpoint: int = Field(description="Steps x batch x longest row: at most.")


class Explained(Answer):
    """Every value of a recipe with its origin, and what they come to together."""

    recipe: dict[str, Any]
    values: list[ValueRead]
    comes_to: Comes
    notices: list[NoticeRead]


class KeyRead(Answer):
    """What became of one key of a converted file."""

    key: str
    value: str
    verdict: str
    to: str = ""
    reason: str = ""
    line: int | None = None


class Converted(Answer):
    """A recipe made from a job of another system."""

    recipe: dict[str, Any]
    yaml: str
    keys: list[KeyRead]
    notices: list[NoticeRead]


class Rendered(Answer):
    """The same recipe both ways, complete."""

    recipe: dict[str, Any]
    yaml: str


class ModelDefaults(Answer):
    """What a form is filled with for a model (and the datasets of the job, where named)."""

    base: str
    profile: str
    preset: str | None = None
    values: dict[str, Any] = Field(description="Recommended values, by the path of the field.")
    reasons: dict[str, str] = Field(description="Why, by the path of the field.")
    methods: list[str] = Field(description="What the model can be trained with.")
    context_length: int | None = None
    parameters: int | None = None


PresetRead.model_rebuild()
