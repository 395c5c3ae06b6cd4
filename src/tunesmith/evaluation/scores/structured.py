"""Answers that are JSON: do they parse, do they fit, are they the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.evaluation.scores.libraries import need
from tunesmith.evaluation.scores.score import Score, mean_score

SCHEMA_COLUMNS = ("json_schema", "schema")
_BROKEN = object()


def parse(text: str) -> Any:
    """The value of a text that is JSON and nothing else; a marker where it is none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _BROKEN


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def is_json(text: str) -> bool:
    """Whether the whole text is JSON; a code fence around it makes it none."""
    return parse(text) is not _BROKEN


def is_json_record(text: str) -> bool:
    """Whether a text is a JSON object or list: numbers and words alone are JSON to the letter."""
    return isinstance(parse(text), dict | list)


def same_json(prediction: str, reference: str) -> float:
    """1 where both are the same value; the order of keys says nothing, 1.0 is 1, true is not 1."""
    given, wanted = parse(prediction), parse(reference)
    return float(given is not _BROKEN and _canonical(given) == _canonical(wanted))


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_canonical(each) for each in value]
    return ("truth", value) if isinstance(value, bool) else value


def same_shape(prediction: str, reference: str) -> float:
    """1 where the prediction has the keys of the reference, each with a value of the same type."""
    given = parse(prediction)
    return float(given is not _BROKEN and _fits(given, parse(reference)))


def _fits(given: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return (
            isinstance(given, dict)
            and given.keys() == wanted.keys()
            and all(_fits(given[key], wanted[key]) for key in wanted)
        )
    if isinstance(wanted, list):
        if not isinstance(given, list) or bool(given) != bool(wanted):
            return False
        return all(any(_fits(each, like) for like in wanted) for each in given)
    return _kind(given) == _kind(wanted)


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(type(value))
    return "number" if isinstance(value, int | float) else type(value).__name__


def matches_schema(prediction: str, schema: Any) -> float:
    """1 where the prediction is JSON that a JSON schema accepts."""
    need("jsonschema")
    from jsonschema import ValidationError
    from jsonschema.validators import validator_for

    value = parse(prediction)
    if value is _BROKEN:
        return 0.0
    validator: Any = validator_for(schema)
    try:
        validator(schema).validate(value)
    except ValidationError:
        return 0.0
    return 1.0


def schema_of(extra: Mapping[str, Any], common: Any = None) -> Any:
    """The JSON schema of a row: its own column, else the one for all rows; None without."""
    for column in SCHEMA_COLUMNS:
        value = extra.get(column)
        value = parse(value) if isinstance(value, str) else value
        if isinstance(value, dict) and {"type", "properties", "$schema", "anyOf"} & value.keys():
            return value
    return common


def json_scores(
    predictions: Sequence[str], references: Sequence[str], schemas: Sequence[Any]
) -> list[Score]:
    """Valid, of the right shape, equal to the reference."""
    pairs = list(zip(predictions, references, strict=True))
    given = any(schema is not None for schema in schemas)
    shapes = [
        same_shape(prediction, reference) if schema is None else matches_schema(prediction, schema)
        for (prediction, reference), schema in zip(pairs, schemas, strict=True)
    ]
    about = {"by": "schema" if given else "reference"}
    return [
        mean_score("json_valid", [float(is_json(p)) for p in predictions], is_verdict=True),
        mean_score("json_schema", shapes, is_verdict=True, about=about),
        mean_score("json_equal", [same_json(*pair) for pair in pairs], is_verdict=True),
    ]
