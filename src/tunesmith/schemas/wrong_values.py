"""What is wrong with a value that a schema refused, in sentences of ours and both languages.

    {"type": "int_parsing", "input": "x", ...} -> "must be a whole number, not 'x'"

The schemas of requests, options and settings are pydantic's, whose own texts no person meets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, Final, cast

from pydantic_core import PydanticCustomError

TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("is missing", "缺少该字段"),
    "extra_forbidden": ("there is no such field", "没有这个字段"),
    "extra_forbidden_near": (
        "there is no such field (did you mean {near}?)",
        "没有这个字段（您是否想写 {near}？）",
    ),
    "extra_forbidden_known": (
        "there is no such field; there are {known}",
        "没有这个字段；可用的字段：{known}",
    ),
    "string_type": ("must be text", "应为字符串"),
    "string_unicode": ("must be UTF-8 text", "应为 UTF-8 文本"),
    "string_too_short": (
        "must have at least {min_length} characters",
        "至少需要 {min_length} 个字符",
    ),
    "string_empty": ("must not be empty", "不能为空"),
    "string_too_long": (
        "must have at most {max_length} characters; it has {length}",
        "最多 {max_length} 个字符，现有 {length} 个",
    ),
    "string_pattern_mismatch": ("must be {pattern}", "应为{pattern}"),
    "int_type": ("must be a whole number", "应为整数"),
    "int_parsing": ("must be a whole number", "应为整数"),
    "int_parsing_size": ("is too large a whole number", "整数过大"),
    "int_from_float": (
        "must be a whole number, without a fraction",
        "应为整数，不能有小数部分",
    ),
    "float_type": ("must be a number", "应为数字"),
    "float_parsing": ("must be a number", "应为数字"),
    "finite_number": ("must be a finite number", "应为有限的数字"),
    "bool_type": ("must be true or false", "应为 true 或 false"),
    "bool_parsing": ("must be true or false", "应为 true 或 false"),
    "greater_than": ("must be above {gt}", "应大于 {gt}"),
    "greater_than_equal": ("must be at least {ge}", "应不小于 {ge}"),
    "less_than": ("must be below {lt}", "应小于 {lt}"),
    "less_than_equal": ("must be at most {le}", "应不大于 {le}"),
    "literal_error": ("must be one of {expected}", "应为下列之一：{expected}"),
    "enum": ("must be one of {expected}", "应为下列之一：{expected}"),
    "union_tag_invalid": (
        "{discriminator} must be one of {expected}",
        "{discriminator} 应为下列之一：{expected}",
    ),
    "union_tag_not_found": ("{discriminator} is missing", "缺少 {discriminator}"),
    "none_required": ("must be null", "应为 null"),
    "list_type": ("must be a list", "应为列表"),
    "tuple_type": ("must be a list", "应为列表"),
    "dict_type": ("must be an object", "应为对象"),
    "model_type": ("must be an object", "应为对象"),
    "model_attributes_type": ("must be an object", "应为对象"),
    "too_long": (
        "must have at most {max_length} items; it has {actual_length}",
        "最多 {max_length} 项，现有 {actual_length} 项",
    ),
    "too_short": (
        "must have at least {min_length} items; it has {actual_length}",
        "至少需要 {min_length} 项，现有 {actual_length} 项",
    ),
    "datetime_type": ("must be a time such as {when}", "应为时间，例如 {when}"),
    "datetime_parsing": ("must be a time such as {when}", "应为时间，例如 {when}"),
    "datetime_from_date_parsing": ("must be a time such as {when}", "应为时间，例如 {when}"),
    "timezone_aware": ("must be a time with its zone, such as {when}", "应带时区，例如 {when}"),
    "path_type": ("must be a path", "应为路径"),
    "json_invalid": (
        "is no valid JSON from character {position} on",
        "从第 {position} 个字符起不是有效的 JSON",
    ),
    "bytes_type": ("must be a file or text", "应为文件或文本"),
    "recursion_loop": ("is nested too deeply", "嵌套过深"),
    # checks of ours
    "changes_or_where": (
        "name either `changes`, or `where` and `fields`",
        "请填写 `changes`，或同时填写 `where` 和 `fields`，二者选一",
    ),
    "rows_or_where": ("name either `rows` or `where`", "请填写 `rows` 或 `where`，二者选一"),
    "model_with_perplexity": (
        "perplexity needs a `model`, and nothing else takes one",
        "perplexity 需要 `model`，其他方式不需要",
    ),
    "length_with_perplexity": (
        "`max_length` belongs to perplexity",
        "`max_length` 只用于 perplexity",
    ),
    "labels_with_classifier": (
        "`labels` belong to the classifier",
        "`labels` 只用于 classifier",
    ),
    "results_are_models": ("results of jobs are models already", "任务的结果已经是模型"),
    "auto_or_whole_number": (
        'must be "auto" or a whole number from {low} to {high}',
        "应为 “auto” 或 {low} 到 {high} 的整数",
    ),
    "auto_or_number": (
        'must be "auto" or a number above {above}, up to {most}',
        "应为 “auto”，或大于 {above} 且不大于 {most} 的数字",
    ),
    "section_of_other_method": (
        "{name} does not go with the type {method}",
        "{name} 与类型 {method} 不符",
    ),
    "grader_missing": ("reinforcement needs a grader", "reinforcement 需要评分器"),
}
OTHERWISE: Final = ("cannot be used", "无法使用")

_LINE: Final = (
    "text of one line without control characters",
    "单行文本，不含控制字符",
)
PATTERNS: Final[Mapping[str, tuple[str, str]]] = {
    r"^[^\x00-\x1f\x7f]*$": _LINE,
    r"^[^\x00-\x1f\x7f]+$": _LINE,
    r"^[^\x00-\x1f]*$": _LINE,
    r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$": (
        "text without control characters",
        "不含控制字符的文本",
    ),
    r"^[\x20-\x7e]+$": ("printable ASCII characters", "可打印的 ASCII 字符"),
    r"^[\x21-\x7e]+$": (
        "printable ASCII characters without spaces",
        "不含空格的可打印 ASCII 字符",
    ),
    "^[0-9a-fA-F]{64}$": ("a SHA-256 of 64 hexadecimal digits", " 64 位十六进制的 SHA-256"),
    "^[0-9a-fA-F]{32}$": ("an MD5 of 32 hexadecimal digits", " 32 位十六进制的 MD5"),
    r"^[\w.:-]+$": ("letters, digits, `.`, `_`, `:` and `-`", "字母、数字、`.`、`_`、`:` 和 `-`"),
    r"^[\w.:-]*$": ("letters, digits, `.`, `_`, `:` and `-`", "字母、数字、`.`、`_`、`:` 和 `-`"),
    r"^[\w.-]+$": ("letters, digits, `.`, `_` and `-`", "字母、数字、`.`、`_` 和 `-`"),
    r"^[\w-]{0,50}$": (
        "at most 50 letters, digits, `_` and `-`",
        "最多 50 个字母、数字、`_` 和 `-`",
    ),
    r"^[\w-]{1,40}$": (
        "1 to 40 letters, digits, `_` and `-`",
        " 1 到 40 个字母、数字、`_` 和 `-`",
    ),
    r"^[a-z0-9_]{1,40}$": (
        "1 to 40 small letters, digits and `_`",
        " 1 到 40 个小写字母、数字和 `_`",
    ),
    r"^[A-Za-z0-9][\w./-]{0,99}$": (
        "a branch, a tag or a commit: up to 100 letters, digits, `.`, `_`, `/` and `-`",
        "分支、标签或提交号：最多 100 个字母、数字、`.`、`_`、`/` 和 `-`",
    ),
    r"^[a-z_]+(\.[a-z_]+)+$": (
        "the path of a field, such as training.epochs",
        "字段的完整路径，例如 training.epochs",
    ),
    r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$": (
        "an e-mail address such as li@example.com",
        "邮箱地址，例如 li@example.com",
    ),
}
OTHER_PATTERN: Final = (
    "letters and digits, with `.`, `_`, `@`, `+` and `-` between them",
    "字母和数字，中间可用 `.`、`_`、`@`、`+` 和 `-`",
)
_TYPES: Final = frozenset({"string_pattern_mismatch", "literal_error", "enum"})
_SECRET: Final = ("password", "secret", "token", "key", "address")
_LONGEST: Final = 60  # characters of a wrong value that are shown


def refused(code: str, **values: Any) -> PydanticCustomError:
    """What a validator of ours raises: the code chooses the sentence in both languages."""
    return PydanticCustomError(cast("Any", code), cast("Any", TEXTS[code][0]), values)


def sentence(found: Mapping[str, Any], language: str = "en") -> str:
    """What is wrong with one value, as pydantic lists it (`error.errors()`); no full stop."""
    from tunesmith.recipe.words import filled  # lazily: clients load these schemas too

    place = 1 if language == "zh" else 0
    kind, known = _read(found, place)
    text = filled(TEXTS.get(kind, OTHERWISE)[place], known, language)
    shown = _shown(found, kind)  # after the filling: what a client sent is never a template
    if not shown:
        return text
    return f"{text}，现为 {shown}" if place else f"{text}, not {shown}"


def _read(found: Mapping[str, Any], place: int) -> tuple[str, dict[str, Any]]:
    """The code of the sentence, and what it names."""
    from tunesmith.recipe.catalog import show

    kind, value = str(found["type"]), found.get("input")
    known: dict[str, Any] = {
        name: show(each) if isinstance(each, int | float) else each
        for name, each in dict(found.get("ctx") or {}).items()
    }
    known |= {"when": "2026-01-31T12:00:00Z", "position": (found.get("loc") or (0,))[-1]}
    if kind == "string_too_short" and known.get("min_length") == "1":
        kind = "string_empty"
    if kind == "string_too_long":
        known["length"] = len(value) if isinstance(value, str) else "?"
    if known.get("actual_length", "") is None:  # of an object, pydantic does not count
        known["actual_length"] = len(value) if isinstance(value, Sized) else "?"
    if kind == "string_pattern_mismatch":
        known["pattern"] = PATTERNS.get(str(known.get("pattern")), OTHER_PATTERN)[place]
    for name in ("expected", "expected_tags"):
        if name in known:
            known["expected"] = _choices(str(known[name]), place)
    if "discriminator" in known:
        known["discriminator"] = str(known["discriminator"]).strip("'")
    return kind, known


def _choices(expected: str, place: int) -> str:
    """'a', 'b' or 'c' -> a, b, c"""
    parts = [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(", ")]
    return ("、" if place else ", ").join(parts)


def _shown(found: Mapping[str, Any], kind: str) -> str:
    """The value itself where it says something, is short and is no secret."""
    from tunesmith.recipe.catalog import show

    value, place = found.get("input"), str((found.get("loc") or ("",))[-1]).lower()
    says = kind in _TYPES or kind.endswith(("_type", "_parsing", "_equal", "_than", "_float"))
    plain = isinstance(value, str | int | float) or value is None
    if not says or not plain or any(part in place for part in _SECRET):
        return ""
    text = repr(value) if isinstance(value, str) else show(value) if value is not None else "null"
    return text if len(text) <= _LONGEST else ""
