"""Models: presets, imports, results; their files and where they come from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from tunesmith.schemas.common import Answer, Listed, Request, Text
from tunesmith.schemas.wrong_values import refused

TaskType = Literal["text QA", "text generation", "custom"]
ModelKind = Literal["base", "adapter", "full"]
ModelSource = Literal["hub", "modelscope", "github", "folder", "job"]
ModelName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]
Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w./-]{0,99}$")]


class CapabilityRead(Answer):
    """Whether a training type goes with a method on this model, and why not."""

    stage: str
    method: str
    available: bool
    reason: str = ""


class PresetRead(Answer):
    """A well-known model to start from. `model_id` is its import, where there is one."""

    name: str
    title: str
    about: str = Field(description="What it is good for, in the language of the request.")
    family: str
    parameters: int
    size: str = Field(examples=["0.6B"])
    context: int = Field(description="Most tokens of one row.")
    context_label: str = Field(examples=["32k"])
    task: TaskType
    licence: str
    gated: bool = Field(description="Its owner wants the licence accepted on the hub first.")
    hubs: dict[str, str]
    memory_bytes: dict[str, int] = Field(
        description="By method: weights, gradients and optimizer on a GPU; rows come on top."
    )
    capabilities: list[CapabilityRead]
    model_id: str | None = None


class PresetList(Answer):
    """All presets, and how to choose between them."""

    data: list[PresetRead]
    guide: list[str]


class ModelImport(Request):
    """What to bring in: an id of a hub, a repository, or a folder that an administrator has put
    in place. Of GitHub come the assets of the release of the tag `revision`, else the files there.
    """

    source: ModelSource | None = Field(
        None,
        description="Left out: Hugging Face, or ModelScope where the server has "
        "USE_MODELSCOPE_HUB=1.",
        examples=["hub"],
    )
    name: ModelName = Field(
        examples=["Qwen/Qwen3-0.6B"],
        description="Id on the hub, OWNER/REPOSITORY or OWNER/REPOSITORY/FOLDER on GitHub, or name "
        "of the folder.",
    )
    revision: Revision = Field("main", description="Branch, tag or commit.")
    shown_name: ModelName | None = Field(
        None, description="Name here, in place of the one it has there."
    )
    base: ModelName | None = Field(
        None, description="For an adapter: the model that it was trained on."
    )
    task: TaskType | None = Field(None, examples=["text QA"])
    description: Text = ""
    shared: bool = Field(False, description="For every project; for administrators.")
    project_id: str | None = Field(None, max_length=100)

    @model_validator(mode="after")
    def _comes_from_outside(self) -> ModelImport:
        if self.source == "job":
            raise refused("results_are_models")
        return self


FieldPath = Annotated[str, StringConstraints(max_length=100, pattern=r"^[a-z_]+(\.[a-z_]+)+$")]


class ModelUpdate(Request):
    """What is named is changed."""

    description: Text | None = Field(None, examples=["For the help desk, second try"])
    task: TaskType | None = Field(None, examples=["text QA"])
    defaults: dict[FieldPath, Any] | None = Field(
        None,
        max_length=50,
        description="Values that forms are filled with for this model, by the path of the field; "
        "all of them at once.",
        examples=[{"training.learning_rate": 5e-5, "training.epochs": 3}],
    )


class ModelRead(Answer):
    """`base` is what the weights rest on. `details` has what its files say."""

    id: str
    name: str
    project_id: str | None = Field(description="Null: everybody's.")
    user_id: str | None
    kind: ModelKind
    source: str
    base: str
    parent_id: str | None
    job_id: str | None
    checkpoint_id: str | None
    task: str
    description: str
    details: dict[str, Any]
    bytes: int
    created_at: datetime


class ModelDetails(ModelRead):
    """One model, with what it can be trained with."""

    size: str | None = Field(description="Parameters, for people.", examples=["0.6B"])
    context: int | None = Field(description="Most tokens of one row.")
    context_label: str | None
    memory_bytes: dict[str, int]
    capabilities: list[CapabilityRead]
    defaults: dict[str, Any] = Field(description="What forms are filled with, by path.")
    recipe: dict[str, Any] | None


class ModelFileRead(Answer):
    path: str
    bytes: int
    sha256: str
    is_text: bool


class ModelFiles(Listed[ModelFileRead]):
    """Every file that belongs to a model."""


class ModelFilePreview(Answer):
    """The beginning of a text file."""

    path: str
    text: str
    is_whole: bool


class LineageNode(Answer):
    """A thing in the graph; without a name it belongs to a project of others."""

    id: str
    kind: str = Field(description="model, base, job, recipe, dataset_version, checkpoint")
    name: str
    details: dict[str, Any]


class LineageEdge(Answer):
    """`source` led to `target`."""

    source: str
    target: str
    relation: str = Field(description="base, recipe, result, checkpoint, train, validation, test")


class LineageRead(Answer):
    model_id: str
    nodes: list[LineageNode]
    edges: list[LineageEdge]


class ImportFolders(Answer):
    """Folders that models may be imported from, by name."""

    data: list[str]
