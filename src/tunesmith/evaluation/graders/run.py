"""Grade one answer. Read `grade` first.

Nothing that a grader does wrong is raised: the reward is 0 then, and a flag of `Errors` says why.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import orjson

from tunesmith.evaluation.graders import formula
from tunesmith.evaluation.graders.kinds import (
    MOST_GRADERS,
    LabelModel,
    Multi,
    PythonSource,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from tunesmith.evaluation.graders.python_source import SourceFailed, SourceSilent, run_source
from tunesmith.evaluation.graders.similarity import METRICS, MOST_CHARACTERS
from tunesmith.evaluation.graders.templates import (
    InvalidVariable,
    Sample,
    SampleNotJson,
    fill,
    unknown_names,
)

AnyGrader = StringCheck | TextSimilarity | PythonSource | ScoreModel | LabelModel | Multi
NO_JUDGE: Final = "Graders that ask a model are not available in this installation."


@dataclass(frozen=True)
class Allowed:
    """What an administrator has turned on."""

    python: bool = False


@dataclass(frozen=True)
class Errors:
    """What went wrong, in the names of the OpenAI API."""

    formula_parse_error: bool = False
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False
    invalid_variable_error: bool = False
    other_error: bool = False
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    model_grader_server_error: bool = False
    model_grader_server_error_details: str | None = None
    model_grader_refusal_error: bool = False
    model_grader_parse_error: bool = False

    def joined(self, other: Errors) -> Errors:
        """The flags of both."""
        return replace(
            self,
            **{
                each.name: getattr(self, each.name) or getattr(other, each.name)
                for each in fields(self)
            },
        )


@dataclass(frozen=True)
class Outcome:
    """The reward of one answer, and how it came about."""

    reward: float
    errors: Errors = field(default_factory=Errors)
    scores: Mapping[str, float] = field(default_factory=dict[str, float])  # by grader
    sub_rewards: Mapping[str, float] = field(default_factory=dict[str, float])  # of a multi grader
    seconds: float = 0.0


def grade(grader: AnyGrader, answer: str, item: Any, allowed: Allowed) -> Outcome:
    """What an answer to a row is worth."""
    began = time.perf_counter()
    sample = Sample(answer, item)
    if isinstance(grader, Multi):
        outcome = _multi(grader, sample, allowed)
    else:
        outcome = _single(grader, sample, allowed)
        outcome = replace(outcome, scores={grader.name: outcome.reward})
    return replace(outcome, seconds=time.perf_counter() - began)


def problems(grader: AnyGrader) -> Iterator[tuple[str, str]]:
    """(field, what is wrong) of a grader before it sees an answer."""
    if isinstance(grader, StringCheck | TextSimilarity):
        for name in ("input", "reference"):
            for unknown in unknown_names(getattr(grader, name)):
                yield name, f"{{{{{unknown}}}}} is neither item.* nor sample.output_text"
    elif isinstance(grader, PythonSource):
        yield from _source_problems(grader.source)
    elif isinstance(grader, LabelModel):
        for label in set(grader.passing_labels) - set(grader.labels):
            yield "passing_labels", f"{label!r} is none of the labels"
    elif isinstance(grader, Multi):
        yield from _multi_problems(grader)


def _single(grader: AnyGrader, sample: Sample, allowed: Allowed) -> Outcome:
    try:
        if isinstance(grader, StringCheck):
            return Outcome(_compared(grader, sample))
        if isinstance(grader, TextSimilarity):
            return _similar(grader, sample)
        if isinstance(grader, PythonSource):
            return _program(grader, sample, allowed)
    except InvalidVariable:
        return Outcome(0.0, Errors(invalid_variable_error=True))
    except SampleNotJson:
        return Outcome(0.0, Errors(sample_parse_error=True))
    told = Errors(model_grader_server_error=True, model_grader_server_error_details=NO_JUDGE)
    return Outcome(0.0, told)


def _compared(grader: StringCheck, sample: Sample) -> float:
    given, wanted = fill(grader.input, sample), fill(grader.reference, sample)
    passed = {
        "eq": lambda: given == wanted,
        "ne": lambda: given != wanted,
        "like": lambda: wanted in given,
        "ilike": lambda: wanted.casefold() in given.casefold(),
    }
    return float(passed[grader.operation]())


def _similar(grader: TextSimilarity, sample: Sample) -> Outcome:
    """Texts beyond the limit are cut, and a flag says so."""
    texts = [fill(text, sample) for text in (grader.input, grader.reference)]
    is_cut = any(len(text) > MOST_CHARACTERS for text in texts)
    given, wanted = (text[:MOST_CHARACTERS] for text in texts)
    reward = METRICS[grader.evaluation_metric](given, wanted)
    return Outcome(reward, Errors(truncated_observation_error=is_cut))


def _program(grader: PythonSource, sample: Sample, allowed: Allowed) -> Outcome:
    if not allowed.python:
        told = "python_graders_not_allowed"
        return Outcome(
            0.0, Errors(python_grader_server_error=True, python_grader_server_error_type=told)
        )
    try:
        return Outcome(run_source(grader.source, _for_program(sample), sample.item))
    except SourceSilent:
        return Outcome(0.0, Errors(unresponsive_reward_error=True))
    except SourceFailed as error:
        told = str(error)
        return Outcome(
            0.0,
            Errors(python_grader_runtime_error=True, python_grader_runtime_error_details=told),
        )


def _for_program(sample: Sample) -> dict[str, Any]:
    try:
        parsed = orjson.loads(sample.text)
    except orjson.JSONDecodeError:  # an answer need not be JSON
        parsed = None
    return {"output_text": sample.text, "output_json": parsed}


def _multi(grader: Multi, sample: Sample, allowed: Allowed) -> Outcome:
    parts = grader.parts()
    found = {name: _single(part, sample, allowed) for name, part in parts.items()}
    rewards = {name: outcome.reward for name, outcome in found.items()}
    errors = Errors()
    for outcome in found.values():
        errors = errors.joined(outcome.errors)
    try:
        reward = formula.parse(grader.calculate_output)(rewards)
    except formula.FormulaError:
        reward, errors = 0.0, replace(errors, formula_parse_error=True)
    except KeyError:
        reward, errors = 0.0, replace(errors, invalid_variable_error=True)
    except ArithmeticError:
        reward, errors = 0.0, replace(errors, other_error=True)
    return Outcome(reward, errors, scores=rewards, sub_rewards=rewards)


def _multi_problems(grader: Multi) -> Iterator[tuple[str, str]]:
    parts = grader.parts()
    if not parts or len(parts) > MOST_GRADERS:
        yield "graders", f"a multi grader has 1 to {MOST_GRADERS} graders"
    for name, part in parts.items():
        for place, told in problems(part):
            yield f"graders.{name}.{place}", told
    try:
        read = formula.parse(grader.calculate_output)
    except formula.FormulaError as error:
        yield "calculate_output", f"it is no formula: {error}"
        return
    for name in sorted(read.names - parts.keys()):
        yield "calculate_output", f"there is no grader {name}"


def _source_problems(source: str) -> Iterator[tuple[str, str]]:
    try:
        compile(source, "grader.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        yield "source", f"it is no Python: {error}"
