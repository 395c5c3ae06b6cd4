"""Conditions on rows, as people write them: `answer_length > 20 and "refund" in question`.

A small part of Python's expressions, read by Python's own parser and evaluated here: nothing that
is not listed below can be reached, so a condition may come from anyone.

    names       id line file kind text question answer turns length question_length answer_length
                and any column beside the record
    operators   and or not  == != < <= > >=  in, not in  + - * / %  [ ] lists, constants
    functions   len lower upper strip startswith endswith contains matches
    columns     col("my column"): one whose name is no word, or is one of the names above

What is empty (null) is neither smaller nor larger than anything, and contains nothing.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from tunesmith.errors import InputError

Values = Mapping[str, Any]
Evaluate = Callable[[Values], Any]
_MAX_LENGTH = 10_000  # characters of a condition

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: lambda left, right: _are_there(left, right) and left < right,
    ast.LtE: lambda left, right: _are_there(left, right) and left <= right,
    ast.Gt: lambda left, right: _are_there(left, right) and left > right,
    ast.GtE: lambda left, right: _are_there(left, right) and left >= right,
    ast.In: lambda left, right: right is not None and left in right,
    ast.NotIn: lambda left, right: right is None or left not in right,
}


class RowValues(dict[str, Any]):
    """Values of a row by name; `beside` holds the columns alone, for `col("...")`."""

    def __init__(self, values: Values, beside: Values) -> None:
        super().__init__(values)
        self.beside = beside


def _are_there(*values: Any) -> bool:
    return all(value is not None for value in values)


@lru_cache(256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "len": (1, lambda value: 0 if value is None else len(value)),
    "lower": (1, lambda text: _text(text).lower()),
    "upper": (1, lambda text: _text(text).upper()),
    "strip": (1, lambda text: _text(text).strip()),
    "startswith": (2, lambda text, start: _text(text).startswith(start)),
    "endswith": (2, lambda text, end: _text(text).endswith(end)),
    "contains": (2, lambda text, part: _text(part).lower() in _text(text).lower()),
    "matches": (2, lambda text, pattern: _pattern(pattern).search(_text(text)) is not None),
}


class _NotOffered(ValueError):
    """A part of a condition that Python knows and we do not."""

    def __init__(self, form: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.form, self.details = form, details


class Condition:
    """A condition that rows meet or not."""

    def __init__(self, source: str) -> None:
        self.source = source
        if len(source) > _MAX_LENGTH:
            reason = f"it has more than {_MAX_LENGTH} characters"
            raise _refused(source[:100] + "...", "long", reason, most=_MAX_LENGTH)
        try:
            tree = ast.parse(source.strip(), mode="eval")
            self._evaluate = _compiled(tree.body, source)
            self.names = _names(tree)
        except _NotOffered as error:
            raise _refused(source, error.form, str(error), **error.details) from error
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = getattr(error, "msg", None) or str(error)
            raise _refused(source, "syntax", reason) from error

    def __call__(self, values: Values) -> bool:
        """Whether the row meets it; InputError names a column that no row has."""
        try:
            return bool(self._evaluate(values))
        except KeyError as error:
            raise _unknown_name(self.source, str(error.args[0]), values) from error
        except (TypeError, ArithmeticError, re.error) as error:
            row, form = values.get("id", "?"), "pattern" if isinstance(error, re.error) else "row"
            raise _refused(self.source, form, f"row {row}: {error}", row=row) from error


def _names(tree: ast.Expression) -> frozenset[str]:
    """The values that a condition asks for by their plain names."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    named = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return frozenset(node.id for node in named if id(node) not in called)


def _compiled(node: ast.expr, source: str) -> Evaluate:
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None as value):
            return lambda _: value
        case ast.Name(id=name):
            return lambda values: values[name]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            made = [_compiled(part, source) for part in parts]
            return lambda values: [each(values) for each in made]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _compiled(operand, source)
            return lambda values: not inner(values)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _compiled(operand, source)
            return lambda values: None if (value := inner(values)) is None else -value
        case ast.BoolOp(op=kind, values=parts):
            return _all_or_any(isinstance(kind, ast.And), [_compiled(p, source) for p in parts])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            apply, one, two = _BINARY[type(op)], _compiled(left, source), _compiled(right, source)
            return lambda values: _bounded(apply, one(values), two(values))
        case ast.Compare(left=left, ops=ops, comparators=others):
            if all(type(op) in _COMPARE for op in ops):
                parts = [_compiled(part, source) for part in (left, *others)]
                return _comparison(parts, [_COMPARE[type(op)] for op in ops])
        case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))], keywords=[]):
            return lambda values: _column(values, name)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name, [_compiled(part, source) for part in arguments])
        case _:
            pass
    part = ast.get_source_segment(source.strip(), node)
    raise _NotOffered("part", f"`{part}` is not possible here", part=part)


def _all_or_any(every: bool, parts: list[Evaluate]) -> Evaluate:
    if every:
        return lambda values: all(part(values) for part in parts)
    return lambda values: any(part(values) for part in parts)


def _comparison(parts: list[Evaluate], compare: list[Callable[[Any, Any], Any]]) -> Evaluate:
    def evaluate(values: Values) -> bool:
        left = parts[0](values)
        for apply, part in zip(compare, parts[1:], strict=True):
            right = part(values)
            if not apply(left, right):
                return False
            left = right
        return True

    return evaluate


def _column(values: Values, name: str) -> Any:
    """The column of this name, also where the row has a value of its own by that name."""
    return (values.beside if isinstance(values, RowValues) else values)[name]


def _bounded(apply: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Numbers with numbers, texts with texts: `"x" * 10**9` would fill the memory."""
    if not _are_there(left, right):
        return None
    if apply is not operator.add and not all(isinstance(v, int | float) for v in (left, right)):
        raise TypeError("- * / and % take numbers")
    return apply(left, right)


def _call(name: str, arguments: list[Evaluate]) -> Evaluate:
    if name not in _FUNCTIONS:
        known = ", ".join((*_FUNCTIONS, "col"))
        message = f"there is no function {name}; known: {known}"
        raise _NotOffered("function", message, function=name, known=known)
    takes, function = _FUNCTIONS[name]
    if len(arguments) != takes:
        message = f"{name} takes {takes} value{'s' if takes > 1 else ''}"
        raise _NotOffered("takes", message, function=name, takes=takes)
    return lambda values: function(*[argument(values) for argument in arguments])


def _refused(source: str, form: str, reason: str, **details: Any) -> InputError:
    return InputError(
        f"The condition `{source}` cannot be used: {reason}.",
        hint='Such as: answer_length > 20 and not contains(question, "test")',
        code="bad_condition",
        form=form,
        source=source,
        reason=reason,
        **details,
    )


def _unknown_name(source: str, name: str, values: Values) -> InputError:
    near = get_close_matches(name, list(values), n=1)
    guess = f"Did you mean '{near[0]}'? " if near else ""
    return InputError(
        f"The condition `{source}` names '{name}'; row {values.get('id', '?')} has no such value.",
        hint=f'{guess}Names: {", ".join(values)}. Others are columns: col("my column").',
        code="bad_condition",
        form="name",
        source=source,
        name=name,
        row=values.get("id", "?"),
        names=list(values),
    )
