"""Jobs, their events, metrics, checkpoints and estimates over the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, StringConstraints

from tunesmith.schemas.common import Answer, Name, Request, Text
from tunesmith.schemas.recipes import NoticeRead, RecipeBody

StatusWord = Literal[
    "validating_files",
    "queued",
    "starting",
    "running",
    "pausing",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
]
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PLAIN)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=_PLAIN)]
Labels = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_PLAIN)],
        Annotated[str, StringConstraints(max_length=512, pattern=_PLAIN)],
    ],
    Field(max_length=16),
]
Devices = Annotated[int, Field(ge=1, le=1024)]
Priority = Annotated[int, Field(ge=-100, le=100)]
_RECIPE = {"training": {"epochs": 2, "learning_rate": 1e-4}}


class JobDataset(Request):
    """A dataset to train on; the other fields are those of data.train of a recipe."""

    dataset: Reference = Field(description="Name, name@2, or id.", examples=["builtin:shop"])
    sampling_rate: float | None = Field(None, ge=0.01, le=10)
    share: float | None = Field(None, gt=0, le=100)
    role: Literal["user", "general"] | None = None


class SubscriptionWanted(Request):
    """Who is told of what happens to the job."""

    channel: Annotated[str, StringConstraints(max_length=20)] = Field(examples=["mail"])
    address: Annotated[str, StringConstraints(max_length=2000)] = Field(
        examples=["li.na@example.com"]
    )
    events: list[Annotated[str, StringConstraints(max_length=50)]] = Field(
        ["job.succeeded", "job.failed"], max_length=20
    )


class JobCreate(Request):
    """A training to queue. What is named here wins over the recipe."""

    project_id: Id | None = None
    name: Name | None = Field(None, examples=["support-bot"])
    description: Text = ""
    recipe: RecipeBody = Field(default_factory=dict[str, Any], examples=[_RECIPE])
    base: Reference | None = Field(None, description="Name or id of a model.", examples=["starter"])
    datasets: list[Reference | JobDataset] | None = Field(
        None, min_length=1, max_length=100, examples=[["builtin:shop"]]
    )
    flavour: Annotated[str, StringConstraints(max_length=100, pattern=_PLAIN)] = Field(
        "", description="What to compute on; empty: what comes free first."
    )
    num_devices: Devices | None = None
    priority: Priority = 0
    labels: Labels | None = Field(None, examples=[{"team": "help desk"}])
    subscriptions: list[SubscriptionWanted] = Field(
        default_factory=list[SubscriptionWanted], max_length=10
    )


class JobBranch(Request):
    """A new job that goes on from a checkpoint, or like another job, with changed fields."""

    changes: dict[Reference, Any] = Field(
        default_factory=dict[str, Any],
        max_length=200,
        description="Fields of the recipe by path; the rest is as it was.",
        examples=[{"training.learning_rate": 5e-5}],
    )
    name: Name | None = Field(None, examples=["support-bot-2"])
    description: Text | None = None
    flavour: Annotated[str, StringConstraints(max_length=100, pattern=_PLAIN)] | None = None
    num_devices: Devices | None = None
    priority: Priority = 0
    labels: Labels | None = None


class JobUpdate(Request):
    """What is named is changed."""

    name: Name | None = Field(None, examples=["support-bot"])
    description: Text | None = None
    labels: Labels | None = None
    priority: Priority | None = None


class JobResume(Request):
    """Goes on from the last checkpoint, perhaps on another number of devices."""

    num_devices: Devices | None = Field(None, examples=[1])


class JobReorder(Request):
    """A place in the queue of the project."""

    before: Id | None = Field(None, description="Id of a waiting job; null: last.", examples=[None])


class JobBulk(Request):
    """One action on several jobs; each has its own outcome."""

    action: Literal["cancel", "pause", "resume", "stop", "retry", "delete"] = Field(
        examples=["cancel"]
    )
    job_ids: list[Id] = Field(
        min_length=1, max_length=200, examples=[["ftjob-01kat3v9m0b6x1r5q8wz2c7d4e"]]
    )


class JobRead(Answer):
    """A job as lists show it."""

    id: str
    project_id: str
    user_id: str
    name: str
    description: str
    labels: dict[str, str] | None
    base: str
    base_model_id: str | None
    status: StatusWord
    reason: str
    error: dict[str, Any] | None
    intent: str | None = Field(description="What was asked of it: pause, stop, cancel.")
    priority: int
    position: float
    num_devices: int
    flavour: str = Field(
        validation_alias=AliasChoices("flavour_name", "flavour"),
        description="The name that was chosen; empty: any device.",
    )
    price_cents_per_hour: float
    parent_id: str | None
    checkpoint_id: str | None
    created_at: datetime
    changed_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker_id: str | None
    attempt: int
    tries: int
    step: int
    total_steps: int | None
    loss: float | None
    trained_tokens: int | None
    eta_seconds: float | None
    event_count: int


class DatasetUse(Answer):
    """A dataset version that a job uses; its name is that of today.

    What ships with tunesmith (builtin:...) has neither id nor versions: its name stands for both.
    """

    dataset_version_id: str
    role: str
    name: str = Field("", examples=["shop"])
    version: int | None = Field(None, examples=[3])


class AttemptRead(Answer):
    """One claim of a job by a worker."""

    number: int
    worker_id: str
    devices: list[int]
    claimed_at: datetime
    ended_at: datetime | None
    outcome: str
    reason: str
    device_seconds: float
    charged_cents: int


class EstimateRead(Answer):
    """How long a job will take, and what that costs."""

    basis: Literal["past_runs", "size"] = Field(
        description="From runs of the same base, or only from the size of model and data."
    )
    rows: int | None
    steps: int | None
    tokens: int
    seconds: float
    memory_bytes: int | None = Field(
        description="An estimate, of each device; on the CPU with the program itself. From layers: "
        "within a tenth of what the engine plans for a text model; from parameters: rough. "
        "POST /jobs/plan measures."
    )
    memory_basis: Literal["layers", "parameters"] | None = Field(
        description="The sizes of the layers of the base, or only its number of weights."
    )
    price_cents_per_hour: float
    price_cents: int
    num_past_runs: int


class JobDetails(JobRead):
    """One job with what lies beside it."""

    datasets: list[DatasetUse]
    attempts: list[AttemptRead]
    model_id: str | None = Field(description="The model that it made.")
    num_checkpoints: int
    expected: EstimateRead | None = Field(
        description="What it was ordered by; null while its rows were not known. What it took is "
        "in `attempts` and `peak_memory_bytes`."
    )
    peak_memory_bytes: int | None = Field(description="The most of one device, at its steps.")
    waits_for: NoticeRead | None = Field(
        description="While it is queued: what keeps it back beside its turn.", examples=[None]
    )


class SubscriptionMade(Answer):
    """Who is told of what happens to the job; the secret of a webhook is shown this once."""

    id: str
    channel: str
    secret: str | None


class JobSubmitted(JobRead):
    """A new job, and what its author should know."""

    notices: list[NoticeRead]
    subscriptions: list[SubscriptionMade]
    is_new: bool = Field(description="False: the same request came before; this is its job.")


class JobRecipe(Answer):
    """The recipe of a job."""

    submitted: dict[str, Any] | str = Field(description="As the client sent it.")
    recipe: dict[str, Any] = Field(description="Complete, with names looked up.")
    yaml: str
    resolved_yaml: str | None = Field(description="Every `auto` decided; once the run began.")


class EventRead(Answer):
    """One event; `number` counts 1, 2, 3 without a gap."""

    job_id: str
    number: int
    attempt: int
    seq: int | None
    type: str
    level: str
    message: str
    data: dict[str, Any]
    created_at: datetime


class EventPage(Answer):
    """Part of the events, oldest first; go on with `after=<last_number>`."""

    data: list[EventRead]
    has_more: bool
    last_number: int | None = None


class BulkOutcome(Answer):
    """What became of one job of a bulk action."""

    job_id: str
    ok: bool
    job: JobRead | None = None
    error: dict[str, Any] | None = None


class BulkAnswer(Answer):
    data: list[BulkOutcome]


class ScalingRead(Answer):
    """On how many devices of one flavour the job makes sense."""

    flavour: str
    num_devices: int
    is_sensible: bool = Field(description="Whether each of its devices would have something to do.")
    counts: list[int] = Field(
        description="Numbers of devices of this kind and region that make sense for the job; with "
        "one of them at most there is nothing to choose."
    )
    why: NoticeRead | None = Field(description="What keeps it from more devices.")


class Preflight(Answer):
    """What would be submitted: nothing is."""

    estimate: EstimateRead
    num_devices: int
    flavour: str
    credit_cents: int | None
    held_cents: int = Field(description="Of the credit, for jobs that wait or run.")
    affordable: bool
    billing_url: str
    notices: list[NoticeRead]
    scalings: list[ScalingRead] = Field(description="For each flavour.")


class SeriesRead(Answer):
    """The points of one curve, steps rising; null where nothing was measured."""

    steps: list[int]
    values: list[float | None]
    times: list[float] = Field(description="Seconds since 1970 (UTC).")
    smoothed: list[float | None] | None = None
    num_points: int = Field(description="How many there are; the list may be thinned out.")


class ReferenceRead(Answer):
    """A value that another system names for such a curve; a guide, no limit."""

    value: float
    num_machines: int
    num_devices: int


class MetricsRead(Answer):
    """The curves of a job by name, thinned to at most `points` each.

    `throughput` is in tokens a second and card (tokens/s/p), both utilisations are in percent.
    """

    job_id: str
    series: dict[str, SeriesRead]
    restarts: list[int] = Field(description="Steps at which a later attempt went on.")
    last_step: int | None
    references: dict[str, list[ReferenceRead]] = Field(
        default_factory=dict[str, list[ReferenceRead]],
        description="Values to compare a curve with, by its name.",
    )


class FindingRead(Answer):
    """One thing that the curves show, with its figures. `changes`: fields of a next recipe."""

    code: str
    weight: Literal["note", "good", "warning"]
    message: str
    hint: str
    numbers: dict[str, float]
    changes: dict[str, Any]


class AdviceRead(Answer):
    """What the curves of a job say, the most urgent first."""

    job_id: str
    findings: list[FindingRead]


class LogRead(Answer):
    """Part of a log as text; colours and other control characters are taken out."""

    text: str
    start: int = Field(description="Byte at which the part begins.")
    end: int = Field(description="Byte behind it: go on with `start=<end>`.")
    size: int = Field(description="Bytes that were ever written.")
    first: int = Field(0, description="First byte that is kept: older parts were dropped.")


class CheckpointRead(Answer):
    """A verified checkpoint of a job."""

    id: str
    job_id: str
    step: int
    attempt: int
    bytes: int
    metrics: dict[str, Any]
    created_at: datetime
    deleted_at: datetime | None


class CheckpointModel(Request):
    """A checkpoint becomes a model of the list."""

    name: Name | None = Field(None, examples=[None], description="Empty: made of job and step.")


class ModelMade(Answer):
    """The model that a checkpoint became."""

    model_id: str
    name: str
    kind: str
    is_new: bool
