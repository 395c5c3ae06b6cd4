"""The OpenAPI documents of both APIs: every body of JSON has a whole example. Read `with_examples`.

An example is put together from the schema itself: what a field of a model gives (`examples=`), else
the value that stands for its name in schemas/samples.py, else its default or first choice. A field
that none of these knows is an error, so that no document ever says "string".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI

from tunesmith.schemas.samples import SAMPLES

Document = dict[str, Any]
Samples = Mapping[str, Any]
_NOTHING: Final = object()
_JSON: Final = "application/json"


@dataclass(frozen=True)
class Body:
    """What a request or an answer holds; `summary` is that of its operation."""

    place: str
    summary: str
    content: Document
    is_request: bool


class NoSample(LookupError):
    """A field of a body that nobody gave a value for the documents: a mistake of ours."""


class Documented(FastAPI):
    """An application whose OpenAPI document has examples; `samples` are those of its API."""

    def __init__(self, *, samples: Samples = SAMPLES, **settings: Any) -> None:
        self._samples = samples
        super().__init__(**settings)

    def openapi(self) -> Document:
        """The document, made when it is asked for the first time."""
        if self.openapi_schema is None:
            self.openapi_schema = with_examples(super().openapi(), self._samples)
        return self.openapi_schema


def with_examples(document: Document, samples: Samples) -> Document:
    """The document with an example beside each schema of a body that has none."""
    making = _Making(document.get("components", {}).get("schemas", {}), samples)
    for body in bodies(document):
        if "example" not in body.content and body.content.get("schema"):
            with suppress(NoSample):  # a document that lacks one is better than none; a test looks
                body.content["example"] = making.whole(body)
    _describe_empty(document)
    return document


def bodies(document: Document) -> Iterator[Body]:
    """Each body of JSON of the requests and answers, those of errors included."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            told, place = operation.get("summary", ""), f"{method.upper()} {path}"
            if _JSON in (sent := operation.get("requestBody", {}).get("content", {})):
                yield Body(place, told, sent[_JSON], is_request=True)
            for status, answer in operation["responses"].items():
                if _JSON in (content := answer.get("content", {})):
                    yield Body(f"{place} {status}", told, content[_JSON], is_request=False)


def a_file(what: str, media_type: str = "application/octet-stream") -> dict[int | str, Any]:
    """How a route that answers with the bytes of a file describes itself."""
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": what, "content": {media_type: {"schema": schema}}}}


def a_text(what: str, media_type: str, example: str) -> dict[int | str, Any]:
    """How a route that answers with text describes itself."""
    content = {media_type: {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": what, "content": content}}


def _describe_empty(document: Document) -> None:
    """What has no body says so."""
    for item in document["paths"].values():
        for operation in item.values():
            answer = operation["responses"].get("204", {})
            if answer.get("description") == "Successful Response":
                answer["description"] = "Done; there is no body."


class _Making:
    """Makes examples of the schemas of one document."""

    def __init__(self, schemas: Document, samples: Samples) -> None:
        self._schemas, self._samples = schemas, samples

    def whole(self, body: Body) -> Any:
        """An example of a body: of a request only what it needs, and what is worth showing."""
        schema = body.content["schema"]
        if schema.get("type") == "object" and body.summary in self._samples:
            return self._samples[body.summary]  # an object without a model
        return self._value(schema, "", "", body.is_request)

    def _value(self, schema: Document, model: str, name: str, is_request: bool) -> Any:
        given = self._given(schema, model, name)
        if given is not _NOTHING:
            return given
        if "$ref" in schema:
            return self._of_model(schema["$ref"].rpartition("/")[2], is_request)
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                first = next(each for each in schema[several] if each.get("type") != "null")
                return self._value(first, model, name, is_request)
        if schema.get("type") == "array":
            return [self._value(schema.get("items", {}), model, name, is_request)]
        if "properties" in schema:
            return self._object(schema, model, is_request)
        raise NoSample(f"{model}.{name} has no example: give it one in the model or in samples.")

    def _given(self, schema: Document, model: str, name: str) -> Any:
        """What somebody said that the field looks like; the most particular word wins."""
        if name and f"{model}.{name}" in self._samples:
            return self._samples[f"{model}.{name}"]
        if schema.get("examples"):
            return schema["examples"][0]
        for said in ("example", "const"):
            if said in schema:
                return schema[said]
        if name and name in self._samples and "$ref" not in schema:
            return self._samples[name]
        if "enum" in schema:
            return schema["enum"][0]
        return schema.get("default", _NOTHING)

    def _of_model(self, reference: str, is_request: bool) -> Any:
        schema = self._schemas[reference]
        model = reference.removeprefix("tunesmith__schemas__").replace("__", ".")
        if model in self._samples:
            return self._samples[model]
        if "properties" in schema:
            return self._object(schema, model, is_request)
        return self._value(schema, model, "", is_request)

    def _object(self, schema: Document, model: str, is_request: bool) -> Document:
        needed = schema.get("required", ())
        made = {
            name: self._value(part, model, name, is_request)
            for name, part in schema["properties"].items()
            if not is_request or name in needed or self._is_shown(part, model, name)
        }
        return _agreeing(made)

    def _is_shown(self, part: Document, model: str, name: str) -> bool:
        return any(part.get("examples", ())) or f"{model}.{name}" in self._samples


def _agreeing(made: Document) -> Document:
    """A page names the items that it has."""
    data: Any = made.get("data")
    for key, place in (("first_id", 0), ("last_id", -1)):
        if key in made and data and "id" in data[place]:
            made[key] = data[place]["id"]
    return made
