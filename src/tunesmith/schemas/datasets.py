"""Datasets, their versions and rows, and what is done with them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tunesmith.schemas.common import Answer, Request, Text
from tunesmith.schemas.recipes import KeyRead
from tunesmith.schemas.tasks import TaskRead
from tunesmith.schemas.wrong_values import refused

DatasetName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Column = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Encoding = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[\w.-]+$")]
Short = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^[^\x00-\x1f\x7f]*$")]
RowId = Annotated[int, Field(ge=1, le=2**53)]
Number = Annotated[int, Field(ge=1, le=10**6)]
Where = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
Cell = Annotated[str, StringConstraints(max_length=4_000_000)]
Tags = Annotated[list[Tag], Field(max_length=50)]
RoleOfDataset = Literal["user", "general"]
ExportFormat = Literal["jsonl", "csv", "xlsx", "parquet", "alpaca", "sharegpt", "openai"]


class Mapping(Request):
    """Which column means what; what is not named is found in the first rows."""

    format: Literal["auto", "alpaca", "sharegpt", "messages", "prompt_response", "text"] | None = (
        Field(None, examples=["prompt_response"])
    )
    prompt_field: Column | None = Field(None, examples=["question"])
    response_field: Column | None = Field(None, examples=["answer"])
    history_field: Column | None = None
    system_field: Column | None = None
    context_field: Column | None = None
    messages_field: Column | None = None
    tools_field: Column | None = None
    chosen_field: Column | None = None
    rejected_field: Column | None = None
    label_field: Column | None = None
    role_tag: Column | None = None
    content_tag: Column | None = None
    user_tag: Column | None = None
    assistant_tag: Column | None = None
    system_tag: Column | None = None
    function_tag: Column | None = None
    observation_tag: Column | None = None
    max_samples: int | None = Field(None, ge=1, le=2**31)


class FilesToRead(Request):
    """Files that were sent before, and how they are read."""

    file_ids: list[Id] = Field(min_length=1, max_length=100, examples=[["file-01kat3v9m0b6"]])
    mapping: Mapping = Mapping.model_construct()
    encoding: Encoding | None = Field(
        None, description="Of text that is not UTF-8; auto guesses.", examples=["gb18030"]
    )
    near: bool = Field(True, description="Search nearly equal rows too.")
    note: Short = Field("", description="What is new in this version.")


class DatasetCreate(FilesToRead):
    """A dataset, and the files that its first version is made of."""

    name: DatasetName = Field(examples=["support"])
    description: Text = Field("", examples=["Questions to the help desk"])
    tags: Tags = Field(default_factory=list[str], examples=[["shop"]])
    licence: Short = Field("", examples=["CC0-1.0"])
    language: Short = Field("", examples=["en"])
    role: RoleOfDataset = "user"
    project_id: Id | None = None


class ImportMore(FilesToRead):
    """Further files: behind the rows that there are, or (append: false) in their place."""

    append: bool = True


class HubDatasetCreate(Request):
    """A dataset of Hugging Face: its files are fetched, its loading scripts never."""

    hub_id: Annotated[str, StringConstraints(max_length=200)] = Field(
        examples=["someone/questions"]
    )
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w./-]{0,99}$")] = "main"
    files: list[Annotated[str, StringConstraints(min_length=1, max_length=300)]] = Field(
        default_factory=list[str],
        max_length=50,
        description="Patterns of its files; empty: those of the split, or all that hold rows.",
        examples=[["data/train-*.parquet"]],
    )
    split: Annotated[str, StringConstraints(pattern=r"^[\w-]{0,50}$")] = Field(
        "train", description="Only files that have this word in their path, where some have."
    )
    name: DatasetName | None = Field(None, description="Empty: the last part of its id.")
    mapping: Mapping = Mapping.model_construct()
    encoding: Encoding | None = None
    near: bool = Field(True, description="Search nearly equal rows too.")
    note: Short = ""
    description: Text = ""
    tags: Tags = Field(default_factory=list[str])
    licence: Short = ""
    language: Short = ""
    role: RoleOfDataset = "user"
    project_id: Id | None = None


class ImportListed(Request):
    """A dataset_info.json of LLaMA-Factory and its data files, sent before; or a zip of both."""

    file_ids: list[Id] = Field(min_length=1, max_length=200, examples=[["file-01kat3v9m0b6"]])
    only: list[DatasetName] = Field(
        default_factory=list[str], max_length=200, description="Some of its datasets; empty: all."
    )
    project_id: Id | None = None


class DatasetUpdate(Request):
    """What is named is changed; versions stay as they are."""

    name: DatasetName | None = Field(None, examples=["support"])
    description: Text | None = Field(None, examples=["Questions to the help desk"])
    tags: Tags | None = None
    licence: Short | None = None
    language: Short | None = None
    role: RoleOfDataset | None = None


class Detect(Request):
    """Look at the first rows of a file before it is imported."""

    file_id: Id = Field(examples=["file-01kat3v9m0b6"])
    mapping: Mapping = Mapping.model_construct()
    encoding: Encoding | None = None
    rows: int = Field(10, ge=0, le=100, description="How many rows to show as records.")


class DetectedColumn(Answer):
    name: str
    examples: list[str]


class DetectedProblem(Answer):
    line: int
    code: str
    message: str


class DetectedRow(Answer):
    """A row as it would be stored, or why it would not be: the code, and the same in words."""

    line: int
    record: dict[str, Any] | None
    refused: str | None
    reason: str | None = None


class Detected(Answer):
    """`format` is null where nothing fits: name the columns in `mapping`."""

    file: str
    format: str | None
    why: str
    kind: str | None
    columns: list[DetectedColumn]
    used_columns: list[str] = Field(default_factory=list[str])
    rows: list[DetectedRow]
    problems: list[DetectedProblem]


class VersionRead(Answer):
    """A published version; it never changes."""

    id: str
    dataset_id: str
    number: int
    state: Literal["published"] = "published"
    parent_id: str | None
    user_id: str
    rows: int
    bytes: int = Field(description="Of text, before compression.")
    content: str = Field(description="SHA-256 over all rows in order.")
    kinds: dict[str, int]
    note: str
    created_at: datetime


class VersionDetails(VersionRead):
    """Also how it came to be."""

    operations: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    rejected: int = Field(description="Rows of the files that could not be used.")


class DatasetRead(Answer):
    """A dataset; `newest` is null until its first import is through."""

    id: str
    project_id: str
    user_id: str
    name: str
    description: str
    tags: list[str]
    licence: str
    language: str
    role: RoleOfDataset
    created_at: datetime
    state: Literal["empty", "published"]
    num_versions: int
    newest: VersionRead | None


class DatasetStarted(Answer):
    """A dataset whose rows come in by a task."""

    dataset: DatasetRead
    task: TaskRead


class ListedRead(Answer):
    """One dataset of a list: what became of its keys, and its import, or why there is none."""

    name: str
    problem: str
    verdicts: list[KeyRead]
    dataset_id: str | None
    task: TaskRead | None


class ListedAnswer(Answer):
    """Every dataset that was asked for."""

    data: list[ListedRead]


class PresetRead(Answer):
    """A dataset that ships with tunesmith; recipes name it so."""

    name: str
    description: str
    role: RoleOfDataset
    rows: int
    bytes: int
    kinds: dict[str, int] = Field(description="Kinds of rows, as of a version.")


class RowsPage(Answer):
    """Rows of a version. Without an order the next page is asked for with `after=<next_after>`."""

    data: list[dict[str, Any]]
    has_more: bool
    next_after: int | None
    total: int = Field(description="Rows of the version, whatever is searched for.")


Fields = Annotated[dict[Column, Any], Field(min_length=1, max_length=50)]


class RowChange(Request):
    row: RowId = Field(examples=[17])
    fields: Fields = Field(examples=[{"answer": "We answer within a day."}])


class ChangeRows(Request):
    """Rows that say something else: question, answer, system, text, a whole record, or a column.

    Each its own by its id (`changes`), or all that meet a condition the same (`where`, `fields`).
    """

    operation: Literal["change"]
    changes: list[RowChange] = Field(default_factory=list[RowChange], max_length=1000)
    where: Where | None = Field(None, examples=[None])
    fields: Fields | None = Field(None, examples=[None])
    new_columns: bool = Field(False, description="With `changes`: columns that no row has yet.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        by_condition = self.where is not None and self.fields is not None
        if by_condition == bool(self.changes) or (self.where is None) != (self.fields is None):
            raise refused("changes_or_where")
        return self


class RemoveRows(Request):
    """Rows by their ids, or all that meet a condition."""

    operation: Literal["remove"]
    rows: list[RowId] = Field(default_factory=list[int], max_length=100_000, examples=[[23, 42]])
    where: Where | None = Field(None, examples=[None])

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.rows) == (self.where is not None):
            raise refused("rows_or_where")
        return self


class KeepRows(Request):
    """Only the rows that meet a condition stay."""

    operation: Literal["keep"]
    where: Where = Field(examples=["answer_length >= 10"])


class ReplaceText(Request):
    """Find and replace in the texts of all rows, or `only` of those that meet a condition."""

    operation: Literal["replace"]
    find: Cell = Field(min_length=1, examples=["Acme"])
    new: Cell = Field(examples=["Globex"])
    where: Literal["question", "answer", "system", "text", "all"] = "all"
    regex: bool = False
    only: Where | None = Field(None, examples=["id < 100"])


class AddRows(Request):
    """Further rows, as they would stand in a file of lines."""

    operation: Literal["add"]
    rows: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=1000,
        examples=[[{"prompt": "How late are you open?", "completion": "Until 18:00."}]],
    )


class FixRows(Request):
    """The mends that cannot do harm; `only` chooses among them."""

    operation: Literal["fix"]
    only: list[Short] = Field(default_factory=list[str], max_length=50, examples=[["duplicate"]])


class RollBack(Request):
    """An older version once more, as the newest."""

    operation: Literal["roll_back"]
    version: Number = Field(examples=[1])


class ScoreRows(Request):
    """A column `quality` or `perplexity`, and what it shows.

    Heuristics name their reasons; a classifier is ours, or trained on `labels`, a column that is
    true for good rows; perplexity is how little a `model` expects the answers.
    """

    operation: Literal["score"]
    by: Literal["heuristics", "classifier", "perplexity"] = "heuristics"
    labels: Column | None = Field(None, examples=[None])
    model: Short | None = Field(None, min_length=1, examples=[None])
    max_length: int | None = Field(None, ge=2, le=2**24, description="Of a row, in tokens.")

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if (self.by == "perplexity") != (self.model is not None):
            raise refused("model_with_perplexity")
        if self.max_length is not None and self.by != "perplexity":
            raise refused("length_with_perplexity")
        if self.labels is not None and self.by != "classifier":
            raise refused("labels_with_classifier")
        return self


class AugmentRows(Request):
    """Further rows that ask the same in other words; `templates` is YAML, as in the guide."""

    operation: Literal["augment"]
    templates: Annotated[str, StringConstraints(max_length=1_000_000)] | None = Field(
        None,
        description="Sets of wordings with one meaning; those that ship where it is left out.",
        examples=["to_english:\n  - 'Translate into English: {text}'\n  - 'In English: {text}'\n"],
    )
    seed: int = Field(0, ge=0, le=2**31)
    rate: float = Field(1.0, ge=0, le=100, description="Further rows for each row that matches.")


class ExploreDiversity(Request):
    """Columns `cluster` and `near_same_as`, and how different the questions are."""

    operation: Literal["diversity"]
    clusters: int | None = Field(None, ge=1, le=1000)
    seed: int = Field(0, ge=0, le=2**31)


Operation = Annotated[
    ChangeRows
    | RemoveRows
    | KeepRows
    | ReplaceText
    | AddRows
    | FixRows
    | RollBack
    | ScoreRows
    | ExploreDiversity
    | AugmentRows,
    Field(discriminator="operation"),
]


class Edit(Request):
    """One operation. `base` is the version that was looked at: refused where it is not newest."""

    operation: Operation = Field(examples=[{"operation": "remove", "rows": [23, 42]}])
    base: Number | None = Field(None, examples=[2])
    preview: bool = Field(False, description="Only show what would change; nothing is published.")


class Edited(Answer):
    """A new version, or the task that makes one; neither where no row changed.

    `diff` is what a preview would change: counts, and the first hundred rows of each kind.
    """

    version: VersionRead | None
    task: TaskRead | None
    counts: dict[str, Any]
    diff: dict[str, Any] | None = None
    details: dict[str, Any] | None = Field(None, description="What a score or a search found.")


class CheckVersion(Request):
    """What to look for. `model` also looks at tokens; `against` finds rows that both hold."""

    profile: Literal["", "openai"] = ""
    near: bool = Field(True, description="Search nearly equal rows too.")
    model: Short | None = Field(None, examples=["starter"])
    max_length: int = Field(1024, ge=1, le=2**24)
    against: Short = Field("", examples=["holdout@1"])


class CountTokens(Request):
    """Statistics in tokens of a model."""

    model: Short = Field("starter", examples=["starter"])
    max_length: int | None = Field(None, ge=1, le=2**24)
    epochs: int = Field(1, ge=1, le=10_000)
    batch_size: int = Field(8, ge=1, le=2**20)


class SplitWish(Request):
    """How rows are held out, as a recipe says it."""

    fraction: float = Field(0.1, ge=0.01, le=0.5, examples=[0.1])
    max_rows: int = Field(100, ge=1, le=2**31)
    stratify_by: Column | None = Field(None, examples=[None])
    group_by: Column | None = Field(None, examples=[None])


class SplitRequest(Request):
    """Which splits to look at; a null one is none."""

    validation: SplitWish | None = Field(default_factory=lambda: SplitWish.model_construct())
    test: SplitWish | None = Field(None, examples=[{"fraction": 0.1, "max_rows": 1000}])
    seed: int = Field(42, ge=0, le=2**31, description="That of the training.")


class SplitPart(Answer):
    """Rows that are held out; `ids` are the first of them."""

    rows: int
    wanted: int
    returned_to_training: int = Field(description="Of the fraction, because of max_rows.")
    set_aside: int = Field(description="In neither part: the rest of a large group.")
    duplicates_removed: int = Field(description="They equal a row that the model has seen.")
    ids: list[int]


class TrainingPart(Answer):
    rows: int


class SplitsRead(Answer):
    """What is held out; `values`: by column, how often each value is in each part."""

    rows: int
    seed: int
    training: TrainingPart
    validation: SplitPart
    test: SplitPart
    values: dict[str, list[dict[str, Any]]]


class SplitAnswer(Answer):
    """The splits, or the task whose result they will be."""

    splits: SplitsRead | None
    task: TaskRead | None


class NearPair(Answer):
    """A row, and an earlier one that it nearly repeats."""

    row: int
    same_as: int
    similarity: float
    text: str
    same_text: str


class NearRead(Answer):
    """How many rows nearly repeat an earlier one; the first thousand as pairs."""

    subject: str
    rows: int
    near: int
    exact: int = Field(description="Rows that repeat an earlier one word for word.")
    similarity_from: float
    pairs: list[NearPair]


class ExportVersion(Request):
    """A file to download. `lossy` goes on where the format cannot hold everything."""

    format: ExportFormat = Field("jsonl", examples=["openai"])
    lossy: bool = False


class MixingDataset(Request):
    """A dataset of a mixture, by name, NAME@2, id or builtin:NAME."""

    dataset: Short = Field(examples=["builtin:shop"])
    sampling_rate: float = Field(1.0, ge=0.01, le=10.0)
    share: float | None = Field(None, gt=0, le=100, description="Percent.")
    role: RoleOfDataset | None = None
    tokens: int | None = Field(None, ge=0, le=2**53)


class MixingRequest(Request):
    """How much of each dataset one epoch shall draw."""

    datasets: list[MixingDataset] = Field(min_length=1, max_length=100)
    general_ratio: float = Field(0.2, ge=0, le=100)
    project_id: Id | None = None


class MixingPortion(Answer):
    name: str
    role: RoleOfDataset
    rows_available: int
    rows_drawn: int
    rate: float
    share: float
    tokens: int | None


class MixingRead(Answer):
    """`general_missing`: rows that a small general corpus cannot give."""

    datasets: list[MixingPortion]
    rows: int
    tokens: int | None
    general_missing: int


class PreviewTokenRead(Answer):
    id: int
    text: str
    supervised: bool = Field(description="The model learns to write it.")
    special: bool


class PreviewTokens(Answer):
    tokens: list[PreviewTokenRead]
    cut_at: int | None = Field(description="Tokens from here on are cut off.")
    window: int | None = Field(
        None, description="A document is never cut: it is split after every so many tokens."
    )
    answer: str = Field(
        "", description="Of a pair: which answer the row holds, chosen or rejected."
    )


class PreviewRead(Answer):
    """A row as messages, and as the training rows that it becomes."""

    line: int
    file: str
    why: str
    record: dict[str, Any] | None
    rows: list[PreviewTokens]
    refused: str | None
