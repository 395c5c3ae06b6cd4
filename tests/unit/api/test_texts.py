"""Every error that the server or the API raises is told whole in Chinese, with what to do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter

import pytest

from tunesmith import errors as base_errors
from tunesmith.api.engine_zh import ENGINE
from tunesmith.api.errors import native
from tunesmith.api.mends import HINTS, PARAMS
from tunesmith.api.texts import preferred, stored, translated
from tunesmith.api.texts_zh import TEXTS
from tunesmith.api.wrapped_zh import WRAPPED
from tunesmith.errors import DataError, TunesmithError
from tunesmith.server import errors, oidc_errors
from tunesmith.server.errors import NotFound

SOURCE = Path(__file__).parents[3] / "src" / "tunesmith"
# Programs that talk to a terminal, not over HTTP.
ELSEWHERE = (
    "server/keeping",
    "server/doctor.py",
    "server/worker",
    "server/settings.py",
    "server/reaching.py",
    "server/installation.py",
    "server/database.py",
    "server/datadir.py",
    "api/__main__.py",
    "api/server.py",
)


@dataclass(frozen=True)
class Raised:
    """A call that makes an error: its codes, and the details that it names."""

    file: str
    line: int
    codes: tuple[str, ...]
    details: frozenset[str]
    form: str = ""
    has_hint: bool = False
    has_param: bool = False


@cache
def raised() -> tuple[Raised, ...]:
    return tuple(
        found
        for package in ("server", "api")
        for file in sorted((SOURCE / package).rglob("*.py"))
        if not str(file.relative_to(SOURCE)).startswith(ELSEWHERE)
        for found in _raised(file)
    )


def _raised(file: Path) -> Iterator[Raised]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            given = {each.arg: each.value for each in node.keywords if each.arg}
            codes = tuple(_texts(given["code"])) if "code" in given else ()
            if codes and isinstance(node.func, ast.Name) and node.func.id[0].isupper():
                yield Raised(
                    str(file.relative_to(SOURCE)),
                    node.lineno,
                    codes,
                    frozenset(given) - {"code", "hint", "message"},
                    next(iter(_texts(given["form"])), "") if "form" in given else "",
                    "hint" in given,
                    "param" in given,
                )


def class_codes() -> Iterator[str]:
    for package in ("server", "api"):
        for file in (SOURCE / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    for line in node.body:
                        if isinstance(line, ast.Assign) and _name(line.targets[0]) == "code":
                            yield from _texts(line.value)


def _name(target: ast.expr) -> str:
    return target.id if isinstance(target, ast.Name) else ""


def _texts(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def fields(texts: tuple[str, ...]) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse("".join(texts)) if name}


def test_every_code_has_a_chinese_text() -> None:
    codes = {code for each in raised() for code in each.codes} | set(class_codes())
    assert codes - TEXTS.keys() - WRAPPED.keys() == set()


def test_whoever_raises_a_code_gives_what_its_chinese_text_names() -> None:
    lacking = {
        (each.file, each.line, code): missing
        for each in raised()
        for code in each.codes
        if code not in WRAPPED
        if (missing := fields(TEXTS.get(f"{code}.{each.form}", TEXTS[code])) - each.details)
    }
    assert lacking == {}


def test_every_reason_for_a_refused_sign_in_has_its_own_chinese_sentence() -> None:
    made = [oidc_errors.refused(form, "odd") for form in oidc_errors.REFUSED]
    made += [oidc_errors.not_finished(form) for form in oidc_errors.NOT_FINISHED]
    told = [translated(error, "zh")[0] for error in made]
    assert len(set(told)) == len(made)
    assert not {TEXTS[code][0] for code in ("oidc_refused", "oidc_invalid")} & set(told)


def test_the_chinese_texts_are_well_formed_and_chinese_and_say_what_to_do() -> None:
    for code, texts in (TEXTS | {name: each[:2] for name, each in WRAPPED.items()}).items():
        fields(texts)
        assert any("\u4e00" <= character <= "\u9fff" for character in texts[0]), code
        assert texts[1], f"{code} has no hint"


def test_few_texts_wrap_an_english_sentence_and_each_for_a_reason() -> None:
    assert [code for code, texts in TEXTS.items() if "{message}" in "".join(texts)] == []
    assert WRAPPED.keys() == {
        "invalid_body",  # composed in the caller's language
        *("invalid_recipe", "invalid_input", "invalid_data", "invalid_model"),
        *("plan_failed", "scoring_failed", "tokenizer_not_found", "download_failed"),
        *("bad_database_url", "database_unreachable", "database_login_refused"),
        *("database_missing", "database_damaged", "backup_refused", "backup_failed"),
        "bad_templates",
        *("bad_dataset_info", "invalid_grader"),
        *("invalid_training_file", "invalid_validation_file"),
    }
    assert all(len(reason) > 20 for _, _, reason in WRAPPED.values())


@pytest.mark.parametrize("code", sorted(ENGINE))
def test_what_ends_a_job_is_told_in_chinese_from_what_the_engine_says(code: str) -> None:
    name, _, form = code.partition(".")
    raised_there = [
        each
        for package in ("engine", "data")
        for file in sorted((SOURCE / package).rglob("*.py"))
        for each in _raised(file)
        if name in each.codes and (not form or each.form == form)
    ]
    assert raised_there
    able = [each for each in raised_there if fields(ENGINE[code]) - {"message"} <= each.details]
    assert able
    values = dict.fromkeys(able[0].details, 7)
    error = {"code": "server_error", "reason": name, "message": "English.", "hint": "Do."}
    told = stored({**error, **values, "form": form}, "zh")
    assert told is not None
    assert told["message"] == ENGINE[code][0].format(**values | {"message": "English."})


def test_every_error_that_is_raised_has_a_hint_in_english_too() -> None:
    lacking = {
        (each.file, each.line, code)
        for each in raised()
        for code in each.codes
        if not each.has_hint and code not in HINTS
    }
    kinds = [*vars(errors).values(), *vars(base_errors).values()]
    classes = {kind.code for kind in kinds if isinstance(kind, type) and _is_ours(kind)}
    assert lacking == set()
    assert {code for code in classes if code not in HINTS} <= {"error", "run_failed"} | {
        "invalid_run_directory",
        "checksum_mismatch",
    }


def _is_ours(kind: type) -> bool:
    return issubclass(kind, TunesmithError)


def test_every_error_about_one_thing_names_its_parameter() -> None:
    """`X_not_found` is about an X; what is taken, needed or at work is about it too."""
    about = ("_not_found", "_taken", "_in_use", "_locked", "_deleted", "_running", "_finished")
    lacking = {
        (each.file, each.line, code)
        for each in raised()
        for code in each.codes
        if code.endswith(about) and not each.has_param and code not in PARAMS
    }
    assert {each for each in lacking if each[2] not in NO_PARAM} == set()


# Of a name inside something else that is named already.
NO_PARAM = ("version_not_found", "worker_not_found", "import_running", "hub_dataset_not_found")


@pytest.mark.parametrize(
    ("error", "param"),
    [
        (NotFound("There is no job x.", code="job_not_found", id="x"), "job_id"),
        (errors.Conflict("There is a user x.", code="name_taken", name="x"), "name"),
        (errors.PermissionDenied("Only an administrator may.", code="admins_only"), None),
    ],
)
def test_param_and_hint_are_filled_in_both_languages(
    error: TunesmithError, param: str | None
) -> None:
    for language in ("en", "zh"):
        told = native(error, request_id="r", language=language).body["error"]
        assert told["param"] == param
        assert told["hint"]


def test_an_error_without_the_details_of_its_text_is_told_in_english() -> None:
    error = NotFound("There is no user x.", code="user_not_found")
    assert translated(error, "zh")[0] == "There is no user x."
    error = NotFound("There is no user x.", code="user_not_found", id="x")
    assert translated(error, "zh") == ("没有用户 x。", "请检查用户 ID；管理员可以查看用户列表。")


def test_one_code_may_have_several_forms_and_lists_are_told_as_lists() -> None:
    error = errors.QuotaExceeded("Too much.", form="storage", above=12)
    assert translated(error, "zh")[0] == "您保存的文件超出上限 12 字节。"
    error = DataError("No.", code="unknown_row", rows=[3, 5])
    assert "3、5" in translated(error, "zh")[0]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("zh", "zh"),
        ("zh-Hans-CN,en;q=0.5", "zh"),
        ("en-GB,zh;q=0.9", "en"),
        ("fr,zh;q=0.3,en;q=0.2", "zh"),
        ("fr", "en"),
        (";;q=x,,zh;q=oops", "en"),
    ],
)
def test_the_language_is_what_the_client_likes_best(header: str | None, language: str) -> None:
    assert preferred(header) == language
