"""What answers are worth, by the sources of rewards that a recipe names. Read `Judge` first.

An answer that a source cannot judge (its program raises, hangs or returns NaN) has no reward: it
is left out with a reason, and whoever asked counts it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from tunesmith.data.prompts import REFERENCE
from tunesmith.errors import RecipeError
from tunesmith.evaluation.graders import Allowed, PythonSource, grade
from tunesmith.evaluation.graders.run import AnyGrader
from tunesmith.evaluation.graders.training import read_grader
from tunesmith.evaluation.scores.libraries import need
from tunesmith.evaluation.scores.sql import SECONDS, Fixtures, query_in, same_result
from tunesmith.evaluation.scores.structured import is_json, matches_schema, schema_of
from tunesmith.evaluation.workers import scorer, sql
from tunesmith.evaluation.workers.process import Limits, Worker, WorkerFailed
from tunesmith.recipe.rewards import (
    AnyReward,
    GraderReward,
    JsonReward,
    ModelReward,
    PythonReward,
    SqlReward,
    names_of,
)

_MEMORY_BYTES = 2 << 30


@dataclass(frozen=True)
class Answered:
    """One answer, its question, and the fields of the question's row."""

    messages: Sequence[Mapping[str, Any]]
    fields: Mapping[str, Any]
    text: str

    @property
    def reference(self) -> str:
        """The right answer, where the row has one."""
        return str(self.fields.get(REFERENCE) or "")


class NoReward(Exception):
    """A source has nothing to say about an answer; its text says why."""


class Source(Protocol):
    """One source of rewards."""

    def rewards(self, answers: Sequence[Answered]) -> list[float | NoReward | None]:
        """Of each answer; None where the source says that the answer is none of its business."""
        ...

    def close(self) -> None:
        """No more answers will come."""
        ...


@dataclass(frozen=True)
class Judged:
    """The reward of an answer: None where it has none, and then why."""

    reward: float | None
    parts: dict[str, float] = field(default_factory=dict[str, float])
    why: str = ""


class Judge:
    """All sources of a recipe; their rewards are added up by weight."""

    def __init__(self, names: Sequence[str], weights: Sequence[float], sources: Sequence[Source]):
        self._named = list(zip(names, weights, sources, strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process that was started."""
        with ExitStack() as stack:
            for _, _, source in self._named:
                stack.callback(source.close)

    def judge(self, answers: Sequence[Answered]) -> list[Judged]:
        """The reward of each answer."""
        columns = [(name, weight, s.rewards(answers)) for name, weight, s in self._named]
        return [
            _added([(name, weight, rewards[at]) for name, weight, rewards in columns])
            for at in range(len(answers))
        ]


def _added(told: Sequence[tuple[str, float, float | NoReward | None]]) -> Judged:
    parts: dict[str, float] = {}
    total = 0.0
    for name, weight, reward in told:
        if isinstance(reward, NoReward):
            return Judged(None, why=f"{name}: {reward}")
        if reward is None:
            continue
        if not math.isfinite(reward):
            return Judged(None, why=f"{name}: the reward is {reward}")
        parts[name] = reward
        total += weight * reward
    if not parts:
        return Judged(None, why="no source of rewards has anything to say about it")
    return Judged(total, parts)


OpenModel = Callable[[ModelReward], Source]


def build_judge(rewards: Sequence[AnyReward], base_dir: Path, open_model: OpenModel) -> Judge:
    """The sources of a recipe; RecipeError for what cannot work. Paths are relative to base_dir."""
    if not rewards:
        raise RecipeError(
            "stage.rewards is empty: nothing says which answers are good.",
            hint="Name at least one, such as stage.rewards: [{kind: json}].",
            code="no_rewards",
        )
    sources: list[Source] = []
    for reward in rewards:
        match reward:
            case JsonReward():
                sources.append(JsonSource(reward))
            case SqlReward():
                place = None if reward.fixtures is None else base_dir / reward.fixtures
                sources.append(SqlSource(place))
            case GraderReward():
                sources.append(_grader_source(reward))
            case PythonReward():
                sources.append(_python_source(reward, base_dir))
            case ModelReward():
                sources.append(open_model(reward))
    return Judge(names_of(list(rewards)), [reward.weight for reward in rewards], sources)


class _Each:
    """A source that looks at one answer after the other."""

    def rewards(self, answers: Sequence[Answered]) -> list[float | NoReward | None]:
        """Of each answer."""
        return [self._told(answer) for answer in answers]

    def _told(self, answer: Answered) -> float | NoReward | None:
        try:
            return self.reward(answer)
        except NoReward as none:
            return none

    def reward(self, answer: Answered) -> float | None:
        """Of one answer; NoReward."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing was started."""


class JsonSource(_Each):
    """Kind `json`."""

    def __init__(self, reward: JsonReward) -> None:
        self._schema = reward.json_schema
        if self._schema is not None:
            _check_schema(self._schema)

    def reward(self, answer: Answered) -> float:
        """1 or 0."""
        schema = schema_of(answer.fields, self._schema)
        if schema is None:
            return float(is_json(answer.text))
        try:
            return matches_schema(answer.text, schema)
        except Exception as error:  # a schema of a row that is none: any kind of error
            raise NoReward(f"the schema of the row is broken: {error}") from error


def _check_schema(schema: dict[str, Any]) -> None:
    need("jsonschema")
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise RecipeError(
            f"The json_schema in stage.rewards is no JSON schema: {error.message}.",
            hint="Its fields are those of JSON Schema: type, properties, required.",
            code="reward_not_valid",
        ) from error


class SqlSource(_Each):
    """Kind `sql`."""

    def __init__(self, place: Path | None) -> None:
        self._opened = ExitStack()
        folder = tempfile.TemporaryDirectory(prefix="tunesmith-sql-")
        self._fixtures = Fixtures(place, Path(self._opened.enter_context(folder)))
        worker = Worker(Path(str(sql.__file__)), limits=Limits(seconds=4 * SECONDS))
        self._worker = self._opened.enter_context(worker)

    def reward(self, answer: Answered) -> float:
        """1 or 0; NoReward where the row has no database, or its own query does not run on it."""
        try:
            database = self._fixtures.of(answer.fields)
        except Exception as error:
            raise NoReward(f"the database of the row: {error}") from error
        if database is None:
            raise NoReward("the row has no database to run a query on")
        given = query_in(answer.text)
        if answer.reference:
            wanted = query_in(answer.reference)
            value, why = same_result(self._worker, database, given, wanted)
            if value is None:
                raise NoReward(why)
            return value
        job = {"database": str(database.resolve()), "seconds": SECONDS, "queries": [given]}
        try:
            return float("error" not in self._worker.ask(job)["results"][0])
        except WorkerFailed:  # what was asked took too long, or ended the process
            return 0.0

    def close(self) -> None:
        """End the process, forget the databases."""
        self._opened.close()


class GraderSource(_Each):
    """Kind `grader` without programs: a text is compared, here and at once."""

    def __init__(self, grader: AnyGrader) -> None:
        self._grader = grader

    def reward(self, answer: Answered) -> float:
        """NoReward where the grader names a field that the row does not have, say."""
        item = {**answer.fields, "messages": list(answer.messages)}
        outcome = grade(self._grader, answer.text, item, Allowed(python=True))
        raised = vars(outcome.errors) | {"truncated_observation_error": False}
        if raised.pop("sample_parse_error"):  # no JSON where JSON is looked into: a bad answer
            return 0.0
        wrong = [name for name, value in raised.items() if value is True]
        if wrong:
            details = outcome.errors.python_grader_runtime_error_details or ""
            raise NoReward(f"{wrong[0]} {details}".strip())
        return outcome.reward


class ProgramSource(_Each):
    """A program in a process of its own with limits, asked about one answer after the other."""

    def __init__(self, file: Path, seconds: float, opened: ExitStack | None = None) -> None:
        self._opened = opened or ExitStack()  # with the folder of a program of the recipe
        limits = Limits(seconds=seconds, memory_bytes=_MEMORY_BYTES)
        worker = Worker(Path(str(scorer.__file__)), str(file), limits=limits)
        self._worker = self._opened.enter_context(worker)
        self._seconds = seconds

    def reward(self, answer: Answered) -> float | None:
        """What `score(row)` returns; several numbers are added up."""
        row = {
            "messages": list(answer.messages),
            "prediction": answer.text,
            "reference": answer.reference,
            "columns": dict(answer.fields),
        }
        try:
            told = self._worker.ask(row)
        except WorkerFailed as failure:
            slow = f"it took longer than {self._seconds:g} s"
            raise NoReward(slow if failure.reason == "slow" else str(failure)) from failure
        if "error" in told:
            raise NoReward(str(told["error"]).strip()[-500:])
        if "values" in told:
            return float(sum(told["values"].values()))
        return told.get("value")

    def close(self) -> None:
        """End the process."""
        self._opened.close()


def _python_source(reward: PythonReward, base_dir: Path) -> Source:
    file = base_dir / Path(reward.file).expanduser()
    if not file.is_file():
        raise RecipeError(
            f"The file of a reward, {reward.file}, does not exist.",
            hint="It is a Python file with score(row); its path is relative to the recipe.",
            code="reward_not_valid",
        )
    return ProgramSource(file.resolve(), reward.seconds)


# A grader's grade(sample, item) in the words of a scorer.
_ADAPTED = """
import json as _json

def score(row):
    text = row["prediction"]
    try:
        parsed = _json.loads(text)
    except ValueError:
        parsed = None
    item = {**row["columns"], "messages": row["messages"]}
    return grade({"output_text": text, "output_json": parsed}, item)
"""


def _grader_source(reward: GraderReward) -> Source:
    grader = read_grader(reward.grader)
    if not isinstance(grader, PythonSource):
        return GraderSource(grader)
    opened = ExitStack()
    folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="tunesmith-grader-"))
    file = Path(folder) / "grader.py"
    file.write_text(grader.source + "\n" + _ADAPTED, encoding="utf-8")
    return ProgramSource(file, reward.seconds, opened)
