"""The formula of a multi grader: `max(exact, 0.5 * close) ^ 2`. Numbers only, nothing else exists.

sum      product (('+' | '-') product)*
product  sign (('*' | '/') sign)*
sign     ('-' | '+') sign | power
power    atom ('^' sign)?
atom     number | name | name '(' sum (',' sum)* ')' | '(' sum ')'
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([^\W\d]\w*)|([-+*/^(),]))")
_MOST_DEPTH: Final = 50
Values = Mapping[str, float]
Evaluate = Callable[[Values], float]
FUNCTIONS: Final[Mapping[str, Callable[..., float]]] = {
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
    "abs": math.fabs,
    "floor": lambda x: float(math.floor(x)),
    "ceil": lambda x: float(math.ceil(x)),
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_SEVERAL: Final = frozenset({"min", "max"})


class FormulaError(ValueError):
    """The formula is none."""


@dataclass(frozen=True)
class Formula:
    """A formula that can be evaluated; `names` are the graders that it asks for."""

    source: str
    names: frozenset[str]
    _evaluate: Evaluate = field(repr=False)

    def __call__(self, values: Values) -> float:
        """Its value. KeyError for a name without one, ArithmeticError where it has no value."""
        try:
            result = self._evaluate(values)
        except ValueError as error:  # sqrt(-1), log(0)
            raise ArithmeticError(str(error)) from error
        if not math.isfinite(result):
            raise ArithmeticError("the result is not finite")
        return result


def parse(source: str) -> Formula:
    """Read a formula; FormulaError says where it is wrong."""
    reader = _Reader(source)
    evaluate = reader.sum(0)
    reader.end()
    return Formula(source, frozenset(reader.names), evaluate)


class _Reader:
    """Goes through the tokens once; each method reads one rule of the grammar."""

    def __init__(self, source: str) -> None:
        self._tokens, self._at = _tokens(source), 0
        self.names: set[str] = set()

    def sum(self, depth: int) -> Evaluate:
        if depth > _MOST_DEPTH:
            raise FormulaError("it is nested too deeply")
        value = self._product(depth)
        while (sign := self._take("+", "-")) is not None:
            value = _joined(sign, value, self._product(depth))
        return value

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise FormulaError(f"{self._tokens[self._at]!r} is not expected")

    def _product(self, depth: int) -> Evaluate:
        value = self._sign(depth)
        while (sign := self._take("*", "/")) is not None:
            value = _joined(sign, value, self._sign(depth))
        return value

    def _sign(self, depth: int) -> Evaluate:
        if depth > _MOST_DEPTH:
            raise FormulaError("it is nested too deeply")
        sign = self._take("-", "+")
        if sign is None:
            return self._power(depth)
        value = self._sign(depth + 1)
        return value if sign == "+" else lambda values: -value(values)

    def _power(self, depth: int) -> Evaluate:
        value = self._atom(depth)
        if self._take("^") is None:
            return value
        return _joined("^", value, self._sign(depth + 1))

    def _atom(self, depth: int) -> Evaluate:
        token = self._next()
        if token == "(":
            value = self.sum(depth + 1)
            self._expect(")")
            return value
        if token[0].isdecimal() or token[0] == ".":
            number = float(token)
            return lambda _: number
        if not token.isidentifier():
            raise FormulaError(f"{token!r} is not expected")
        if self._take("(") is not None:
            return self._call(token, depth)
        self.names.add(token)
        return lambda values: values[token]

    def _call(self, name: str, depth: int) -> Evaluate:
        function = FUNCTIONS.get(name)
        if function is None:
            raise FormulaError(f"there is no function {name}; there are {', '.join(FUNCTIONS)}")
        inputs = [self.sum(depth + 1)]
        while self._take(",") is not None:
            inputs.append(self.sum(depth + 1))
        self._expect(")")
        if (name in _SEVERAL) != (len(inputs) > 1):
            raise FormulaError(f"{name} does not take {len(inputs)} values")
        return lambda values: function(*(each(values) for each in inputs))

    def _take(self, *wanted: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at] in wanted:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise FormulaError("it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, token: str) -> None:
        if self._take(token) is None:
            raise FormulaError(f"{token!r} is missing")


def _tokens(source: str) -> list[str]:
    found: list[str] = []
    place = 0
    text = source.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise FormulaError(f"{text[place : place + 10]!r} is not expected")
        found.append(match[0].strip())
        place = match.end()
    return found


def _joined(sign: str, left: Evaluate, right: Evaluate) -> Evaluate:
    operation = _OPERATIONS[sign]
    return lambda values: operation(left(values), right(values))


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


_OPERATIONS: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "^": _power,
}
