"""Both OpenAPI documents: every body has a whole example, and it is true to its schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from tests.unit.api.conftest import Server

from tunesmith.api.documented import Body, bodies

_PARAMETER = re.compile(r"{[^}]*}")
DOCUMENTS = {"native": "/api/v1/openapi.json", "openai": "/v1/openapi.json"}
# Words that say nothing: what generators write where nobody thought of an example.
MEANINGLESS = {"string", "str", "foo", "bar", "example", "todo", "additionalProp1"}


def document_of(server: Server, name: str) -> dict[str, Any]:
    answer = server.admin.get(DOCUMENTS[name])
    assert answer.status_code == 200, answer.text
    return answer.json()


def shown(body: Body) -> Any:
    return body.content.get("example")


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():  # pyright: ignore[reportUnknownVariableType]
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:  # pyright: ignore[reportUnknownVariableType]
            yield from texts(part)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_body_of_json_lacks_an_example(server: Server, name: str) -> None:
    found = list(bodies(document_of(server, name)))
    lacking = [body.place for body in found if "example" not in body.content]
    # 501 on purpose: what these would answer is not known.
    lacking = [place for place in lacking if not place.endswith((" 501",))]
    assert len(found) > 60
    assert lacking == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_example_is_true_to_its_schema(server: Server, name: str) -> None:
    document = document_of(server, name)
    wrong: list[str] = []
    for body in bodies(document):
        if "example" not in body.content:
            continue
        schema = {**body.content["schema"], "components": document["components"]}
        checking = Draft202012Validator(schema, format_checker=FormatChecker())
        errors = checking.iter_errors(shown(body))  # pyright: ignore[reportUnknownMemberType]
        wrong += [f"{body.place}: {error.json_path}: {error.message[:200]}" for error in errors]
    assert wrong == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_are_of_real_life(server: Server, name: str) -> None:
    for body in bodies(document_of(server, name)):
        found = MEANINGLESS.intersection(texts(shown(body)))
        assert not found, f"{body.place}: {found}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_answer_that_is_no_json_says_what_it_holds(server: Server, name: str) -> None:
    for path, item in document_of(server, name)["paths"].items():
        for method, operation in item.items():
            for status, answer in operation["responses"].items():
                place = f"{method} {path} {status}"
                assert answer["description"] != "Successful Response" or answer.get("content"), (
                    place
                )
                for kind, content in answer.get("content", {}).items():
                    assert content.get("schema"), f"{place}: {kind}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_example_of_a_request_is_a_body_that_the_server_reads(
    server: Server, name: str
) -> None:
    """It may name things that are not there; it is never refused as a body."""
    prefix = "/v1" if name == "openai" else ""
    refused: list[str] = []
    sent = [body for body in bodies(document_of(server, name)) if body.is_request]
    for body in sent:
        method, _, path = body.place.partition(" ")
        path = _PARAMETER.sub(lambda found: "1" if "number" in found[0] else "file-0", path)
        answer = server.admin.request(method, prefix + path, json=shown(body))
        error = answer.json().get("error") if answer.status_code >= 400 else None
        if error and error["code"] in ("invalid_body", "extra_forbidden"):
            refused.append(f"{body.place}: {error['message']}")
        assert answer.status_code < 500 or answer.status_code in (501, 507), body.place
    assert len(sent) > 5
    assert refused == []
