"""Fine-tuning jobs: what creates one; the job, its events and checkpoints as they are read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from tunesmith.evaluation.graders import Grader
from tunesmith.schemas.common import Answer, Request
from tunesmith.schemas.openai.common import (
    AutoFloat,
    AutoInt,
    FullPage,
    Id,
    Metadata,
    ModelName,
    Page,
    Seconds,
    Words,
)
from tunesmith.schemas.wrong_values import refused

Status = Literal[
    "validating_files",
    "queued",
    "running",
    "pausing",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
]
NumEpochs = Annotated[int | str, AutoInt(1, 50)]
BatchSize = Annotated[int | str, AutoInt(1, 256)]
Multiplier = Annotated[float | str, AutoFloat(0, 1e6)]
Count = Annotated[int | str, AutoInt(1, 1_000_000)]


class Hyperparameters(Request):
    """What all methods have. "auto": decided from the data, and shown once it is."""

    n_epochs: NumEpochs = "auto"
    batch_size: BatchSize = "auto"
    learning_rate_multiplier: Multiplier = "auto"


class DpoHyperparameters(Hyperparameters):
    beta: Annotated[float | str, AutoFloat(0, 2)] = "auto"


class ReinforcementHyperparameters(Hyperparameters):
    compute_multiplier: Annotated[float | str, AutoFloat(1e-5, 10)] = "auto"
    eval_interval: Count = "auto"
    eval_samples: Count = "auto"
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"


class Supervised(Request):
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)


class Dpo(Request):
    hyperparameters: DpoHyperparameters = Field(default_factory=DpoHyperparameters)


class Reinforcement(Request):
    grader: Grader
    hyperparameters: ReinforcementHyperparameters = Field(
        default_factory=ReinforcementHyperparameters
    )


MethodType = Literal["supervised", "dpo", "reinforcement"]


class Method(Request):
    """How the model learns; the section of the same name has the numbers."""

    type: MethodType
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    reinforcement: Reinforcement | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        for name in ("supervised", "dpo", "reinforcement"):
            if getattr(self, name) is not None and name != self.type:
                raise refused("section_of_other_method", name=name, method=self.type)
        if self.type == "reinforcement" and self.reinforcement is None:
            raise refused("grader_missing")
        return self

    @property
    def section(self) -> Supervised | Dpo | Reinforcement | None:
        """What is said of the method, if anything."""
        return self.supervised or self.dpo or self.reinforcement


class Wandb(Request):
    project: Words = Field(min_length=1)
    name: Words | None = None
    entity: Words | None = None
    tags: list[Words] | None = Field(None, max_length=50)


class Integration(Request):
    """Where the curves go besides."""

    type: Literal["wandb"]
    wandb: Wandb


class ExtraDataset(Request):
    """A dataset to mix with the training file; the fields are those of data.train of a recipe."""

    dataset: ModelName = Field(description="Name, name@2, or id.", examples=["builtin:general"])
    sampling_rate: float | None = Field(None, ge=0.01, le=10)
    share: float | None = Field(None, gt=0, le=100)
    role: Literal["user", "general"] | None = None


class JobCreate(BaseModel):
    """A training to queue.

    Every other field is one of a recipe (docs/parameters.md), such as `rank`, `general_ratio`,
    `preset` or `training.stop.patience`; one that no recipe has is an error.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "model": "starter",
                    "training_file": "file-01kat3v9m0b6x1r5q8wz2c7d4e",
                    "suffix": "shop",
                    "method": {
                        "type": "supervised",
                        "supervised": {"hyperparameters": {"n_epochs": 3}},
                    },
                }
            ]
        },
    )

    model: ModelName
    training_file: Id
    validation_file: Id | None = None
    suffix: Annotated[
        str | None,
        StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$"),
    ] = None
    seed: Annotated[int, Field(ge=0, le=2_147_483_647, strict=True)] | None = None
    metadata: Metadata | None = None
    integrations: list[Integration] | None = Field(None, max_length=5)
    method: Method | None = None
    hyperparameters: Hyperparameters | None = Field(
        None, description="As method.supervised.hyperparameters, from before there were methods."
    )
    trainingType: Words | int | None = Field(
        None, description="Accepted for programs that send it; nothing hangs on it."
    )
    datasets: list[ExtraDataset] | None = Field(None, max_length=99)
    flavour: Words = Field("", description="What to compute on; empty: what comes free first.")
    num_devices: int | None = Field(None, ge=1, le=1024)
    priority: int = Field(0, ge=-100, le=100)

    @property
    def recipe_fields(self) -> dict[str, Any]:
        """The fields that are no fields of this API."""
        return dict(self.model_extra or {})

    @property
    def kind(self) -> MethodType:
        """The method; a job that names none is supervised."""
        return "supervised" if self.method is None else self.method.type

    @property
    def numbers(self) -> Hyperparameters:
        """The hyper-parameters of the method, wherever they stand."""
        section = None if self.method is None else self.method.section
        if section is not None:
            return section.hyperparameters
        if self.kind == "dpo":
            return DpoHyperparameters()
        return self.hyperparameters or Hyperparameters()


class JobError(Answer):
    model_config = ConfigDict(from_attributes=True, extra="allow")

    code: str
    message: str
    param: str | None


class JobObject(Answer):
    """A job; `starting` of the native API is `queued` here."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: Seconds
    finished_at: Seconds | None
    estimated_finish: Seconds | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    status: Status
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: int | None
    seed: int
    hyperparameters: dict[str, Any]
    method: dict[str, Any] | None
    integrations: list[dict[str, Any]] | None
    metadata: dict[str, str] | None
    error: JobError | None
    user_provided_suffix: str | None


class EventObject(Answer):
    """What happened to a job."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: Seconds
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class CheckpointMetrics(Answer):
    step: float
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None


class CheckpointObject(Answer):
    """A saved state of the model; its name can be used wherever a model is named."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: Seconds
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics


class PermissionCreate(Request):
    project_ids: list[Id] = Field(
        min_length=1, max_length=100, examples=[["proj-01kat3v9m0b6x1r5q8wz2c7d4e"]]
    )


class PermissionObject(Answer):
    """Another project that may use a checkpoint."""

    id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    created_at: Seconds
    project_id: str


class PermissionDeleted(Answer):
    id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    deleted: bool = True


class EstimateObject(Answer):
    """What a job would need; nothing was started."""

    object: Literal["fine_tuning.job.estimate"] = "fine_tuning.job.estimate"
    basis: Literal["past_runs", "size"]
    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    rows: int | None
    steps: int | None
    trained_tokens: int
    seconds: float
    memory_bytes: int | None
    price_cents_per_hour: float
    price_cents: int


class CopyCreate(BaseModel):
    """Accepts what other services send; everything is optional."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{}]})

    name: ModelName | None = Field(None, description="Of the copy; empty: that of the checkpoint.")


class CopyObject(Answer):
    """A checkpoint that became a model of the list."""

    id: str
    object: Literal["fine_tuning.job.checkpoint.copy"] = "fine_tuning.job.checkpoint.copy"
    status: Literal["completed", "not_started"]
    fine_tuning_job_id: str
    checkpoint_id: str
    model: str | None
    created_at: Seconds | None


class ModelObject(Answer):
    """A model that jobs can start from, or that one made."""

    id: str
    object: Literal["model"] = "model"
    created: Seconds
    owned_by: str
    shutdown_date: str | None = None


class ModelList(Answer):
    object: Literal["list"] = "list"
    data: list[ModelObject]


class ModelDeleted(Answer):
    id: str
    object: Literal["model"] = "model"
    deleted: bool = True


JobPage = Page[JobObject]
EventPage = Page[EventObject]
CheckpointPage = FullPage[CheckpointObject]
PermissionPage = FullPage[PermissionObject]
