"""What a request gets wrong is told in sentences of ours, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError
from tests.unit.api.conftest import Server

from tunesmith.schemas.wrong_values import OTHER_PATTERN, PATTERNS, TEXTS, refused, sentence


class Wanted(BaseModel, extra="forbid"):
    name: str = Field("x", min_length=1, max_length=5, pattern=r"^[\w.-]+$")
    count: int = Field(1, ge=1, le=9)
    kind: Literal["a", "b", "c"] = "a"
    some: list[int] = Field([1], min_length=1, max_length=2)
    password: str = Field("long", min_length=3)
    secret: SecretStr = SecretStr("x")


def told(language: str = "en", **values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Wanted(**values)
    return "; ".join(sentence(each, language) for each in caught.value.errors())  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("values", "english", "chinese"),
    [
        ({"count": 0}, "must be at least 1, not 0", "应不小于 1，现为 0"),
        ({"count": 10}, "must be at most 9, not 10", "应不大于 9，现为 10"),
        ({"count": "x"}, "must be a whole number, not 'x'", "应为整数，现为 'x'"),
        ({"count": None}, "must be a whole number, not null", "应为整数，现为 null"),
        ({"count": 1.5}, "must be a whole number, without a fraction, not 1.5", "应为整数，不能有小"
        "数部分，现为 1.5"),
        ({"kind": "d"}, "must be one of a, b, c, not 'd'", "应为下列之一：a、b、c，现为 'd'"),
        ({"name": ""}, "must not be empty", "不能为空"),
        ({"name": "x" * 9}, "must have at most 5 characters; it has 9", "最多 5 个字符，现有 9 个"),
        ({"name": "a b"}, "must be letters, digits, `.`, `_` and `-`, not 'a b'", "应为字母、数字、"
        "`.`、`_` 和 `-`，现为 'a b'"),
        ({"some": []}, "must have at least 1 items; it has 0", "至少需要 1 项，现有 0 项"),
        ({"nmae": 1}, "there is no such field", "没有这个字段"),
    ],
)  # fmt: skip
def test_a_sentence_names_what_is_allowed_and_the_value(
    values: dict[str, Any], english: str, chinese: str
) -> None:
    assert told(**values) == english
    assert told("zh", **values) == chinese


def test_the_pairs_of_an_object_are_counted() -> None:
    found = {
        "type": "too_long",
        "loc": ("body", "metadata"),
        "input": {"a": "b", "c": "d"},
        "ctx": {"max_length": 1, "actual_length": None},
    }
    assert sentence(found) == "must have at most 1 items; it has 2"


@pytest.mark.parametrize(
    "value", ["{x}", "{0}", "{", "}", "{expected.__class__}", "{expected:>30}"]
)
def test_what_a_client_sends_is_never_a_template(value: str) -> None:
    assert told(kind=value) == f"must be one of a, b, c, not '{value}'"
    assert told("zh", count=value) == f"应为整数，现为 '{value}'"


@pytest.mark.parametrize(
    "path",
    ["/api/v1/jobs?limit={x}", "/api/v1/jobs?status={0}", "/v1/files?order={a.__class__}"],
)
def test_braces_in_a_request_are_a_wrong_value_like_any_other(server: Server, path: str) -> None:
    answer = server.member.get(path)
    assert answer.status_code in (400, 422)
    assert "{" in answer.json()["error"]["message"]


def test_a_number_beyond_64_bits_is_refused_in_a_clone(server: Server) -> None:
    changes = {"changes": {"training.learning_rate": 2**70}}
    answer = server.member.post("/api/v1/jobs/ftjob-nothing/clone", json=changes)
    assert answer.status_code == 404


def test_a_secret_is_never_shown() -> None:
    assert told(password=123456) == "must be text"
    assert told(secret=123456) == "must be text"


def test_both_languages_name_the_same_values() -> None:
    for code, (english, chinese) in TEXTS.items():
        fields = [
            {name for _, name, _, _ in Formatter().parse(text) if name}
            for text in (english, chinese)
        ]
        assert fields[0] == fields[1], code
        assert re.search("[\u4e00-\u9fff]", chinese), code


def test_an_error_of_ours_carries_its_sentence() -> None:
    error = refused("auto_or_whole_number", low=1, high=9)
    assert error.message() == 'must be "auto" or a whole number from 1 to 9'


def patterns(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for name, value in document.items():
            if name == "pattern" and isinstance(value, str):
                yield value
            yield from patterns(value)
    elif isinstance(document, list):
        for item in document:
            yield from patterns(item)


def test_every_pattern_of_a_request_is_described_in_words(server: Server) -> None:
    """But that of names of users, which is long and is what `OTHER_PATTERN` says."""
    found: set[str] = set()
    for path in ("/api/v1/openapi.json", "/v1/openapi.json"):
        answer = server.admin.get(path)
        if answer.status_code == 200:
            found |= set(patterns(answer.json()))
    assert len(found) > 5
    assert [each for each in found - PATTERNS.keys() if "_@+][" not in each] == []
    assert "@" in OTHER_PATTERN[0]


def test_no_text_of_the_library_reaches_a_client(server: Server) -> None:
    odd: list[dict[str, Any]] = [
        {"name": 7, "password": 7, "email": "x", "language": "fr", "is_admin": "?", "x": 1},
        {"name": "", "project_ids": {"a": 1}, "quota_running_jobs": 1.5, "credit_cents": "1e999"},
    ]
    for body in odd:
        for language in ("en", "zh"):
            answer = server.admin.post(
                "/api/v1/users", json=body, headers={"Accept-Language": language}
            )
            assert answer.status_code == 422
            assert not re.search("Input should|Value error|String should|Extra inputs", answer.text)
            assert all(each["message"] for each in answer.json()["error"]["details"]["problems"])
