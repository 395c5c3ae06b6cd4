"""From wrong answers to the training rows behind them, and to the next training."""

from __future__ import annotations

from pydantic import Field

from tunesmith.schemas.common import Answer, Request
from tunesmith.schemas.datasets import Fields, RowId
from tunesmith.schemas.evaluations import ScoreName
from tunesmith.schemas.jobs import Id


class TraceCreate(Request):
    """Which rows have failed, and how many training rows to find for each."""

    score: ScoreName | None = Field(
        None, description="The score that decides; missing: the primary one.", examples=[None]
    )
    below: float | None = Field(
        None,
        ge=-1e9,
        le=1e9,
        description="Rows with a lower score have failed (a higher one, where less is better). "
        "Missing: all that are not right, or those worse than the mean.",
        examples=[None],
    )
    failures: int = Field(20, ge=1, le=200, description="Failed rows to look at, worst first.")
    neighbours: int = Field(5, ge=1, le=20, description="Training rows for each of them.")
    measure: bool = Field(
        False, description="Measure the losses of the found rows, by the base and by the result."
    )


class PlaceRead(Answer):
    """Where a training row stands; without `dataset_id` it is line `row` of `file`."""

    dataset_id: str | None = Field(examples=["ds-01jq7c4k9x5m2v8n3p6r0t1w"])
    dataset: str = Field(examples=["support"])
    version: int | None = Field(description="The one that was learned from.", examples=[2])
    row: int = Field(description="Its id, the same in all versions.", examples=[17])
    file: str = Field(examples=["support.jsonl:17"])


class FailureRead(Answer):
    """A row that was answered wrongly."""

    id: str = Field(examples=["3"])
    question: str = Field(examples=["When do you answer?"])
    reference: str = Field(examples=["Within a day."])
    prediction: str = Field(examples=["Never."])
    score: float | None = Field(examples=[0.0])


class EpochLossRead(Answer):
    """The mean loss of a row in one epoch."""

    epoch: int = Field(examples=[1])
    loss: float = Field(examples=[3.12])


class NeighbourRead(Answer):
    """A training row that is like a failed one; `answer_similarity` is that to the wrong answer."""

    place: PlaceRead
    question: str = Field(examples=["When do you answer e-mails?"])
    answer: str = Field(examples=["We never answer e-mails."])
    question_similarity: float = Field(examples=[0.83])
    answer_similarity: float = Field(examples=[0.61])
    loss_before: float = Field(examples=[3.12])
    loss_after: float = Field(examples=[0.08])
    losses: list[EpochLossRead]


class TracedRead(Answer):
    """A failed row and the training rows most like it, the nearest first."""

    failure: FailureRead
    neighbours: list[NeighbourRead]


class SuspectRead(Answer):
    """A training row that is near several failures."""

    place: PlaceRead
    question: str = Field(examples=["When do you answer e-mails?"])
    answer: str = Field(examples=["We never answer e-mails."])
    failures: int = Field(examples=[4])
    loss_after: float = Field(examples=[0.08])


class TraceRead(Answer):
    """All failed rows that were looked at: those with `score` beyond `limit`."""

    evaluation_id: str
    job_id: str
    score: str = Field(examples=["exact_match"])
    limit: float = Field(examples=[1.0])
    lower_is_better: bool = Field(
        description="Then a row failed above the limit, else below it.", examples=[False]
    )
    rows: int = Field(examples=[120])
    failed: int = Field(examples=[9])
    training_rows: int = Field(examples=[1080])
    traced: list[TracedRead]
    suspects: list[SuspectRead]
    notes: list[str] = Field(
        examples=[["The loss before is that of the base model, the loss after that of the result."]]
    )


class ChangedRowCreate(Request):
    """A row of a dataset that is to say something else, by its id."""

    dataset_id: Id
    row: RowId = Field(examples=[17])
    fields: Fields = Field(examples=[{"answer": "We answer within a day."}])


class RemovedRowCreate(Request):
    """A row of a dataset that is to go."""

    dataset_id: Id
    row: RowId = Field(examples=[23])


class RetrainCreate(Request):
    """What to change in the data before the training goes on from the result."""

    changes: list[ChangedRowCreate] = Field(default_factory=list[ChangedRowCreate], max_length=1000)
    removals: list[RemovedRowCreate] = Field(
        default_factory=list[RemovedRowCreate], max_length=1000
    )
    name: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="Of the next job; missing: the name of the job before, and -next.",
        examples=["support-next"],
    )
