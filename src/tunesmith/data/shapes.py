"""The fast way from a conversation to text: learn from the template once, then join strings.

All conversations with the same roles and trained turns (a shape) differ only in their contents. The
exact way renders a shape once with unique marks as contents; what stands between the marks is the
same for every row of that shape. Rows then cost one string join instead of several template runs.

That holds only while the template copies contents unchanged, which is checked from three sides:
- probes: contents with every kind of inner text, long and short, must come out as predicted;
- the template's syntax tree: every constant that it could compare or split contents with
  (`'</think>' in content`) is a trigger, and contents with a trigger take the exact way;
- the first rows of each shape are rendered both ways; on a difference the shape stays exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from jinja2 import nodes

from tunesmith.data.chat_template import TemplateRefused
from tunesmith.data.conversation import Message
from tunesmith.data.turns import ExactRows, RenderedRow, RenderedTurns

MAX_MESSAGES = 40  # longer conversations are rare enough for the exact way
ROWS_CHECKED = 4
_MARKS = re.compile(r"Qz(\d{4})zQ")
# Inner text of all kinds: blank lines, markup, quotes, template syntax, percent, other scripts.
_TORTURE = "a\n\nb  c\t<b>&amp;</b> \"q\" 'r' {{ x }} {% y %} 100% %s \\n # 1. - 中文，🙂 e\u0301 z"
_STRIPS = {"strip", "lstrip", "rstrip", "trim"}
_HARMLESS_FILTERS = {"attr", "default", "groupby", "join", "map", "reject", "rejectattr"} | {
    "select",
    "selectattr",
    "sort",
    "tojson",
}

Key = tuple[tuple[str, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Triggers:
    """Texts that could make a template treat a content specially."""

    inside: tuple[str, ...]  # anywhere in the content
    equal: frozenset[str]  # the whole content
    edges: frozenset[str]  # first or last character

    @classmethod
    def of(cls, syntax: nodes.Template) -> Triggers:
        """Collect them from a template's syntax tree."""
        found = _Found()
        _collect(syntax, None, found)
        return cls(tuple(sorted(found.inside)), frozenset(found.equal), frozenset(found.edges))

    def touch(self, content: str) -> bool:
        """True when the template might not copy this content unchanged."""
        if content in self.equal or content[0] in self.edges or content[-1] in self.edges:
            return True
        return any(text in content for text in self.inside)


@dataclass
class _Found:
    inside: set[str] = field(default_factory=set[str])
    equal: set[str] = field(default_factory=set[str])
    edges: set[str] = field(default_factory=set[str])


def _collect(node: nodes.Node, parent: nodes.Node | None, found: _Found) -> None:
    if isinstance(node, nodes.Const) and isinstance(node.value, str) and node.value:
        _sort_in(node.value, node, parent, found)
    for child in node.iter_child_nodes():
        _collect(child, node, found)


def _sort_in(text: str, node: nodes.Const, parent: nodes.Node | None, found: _Found) -> None:
    if isinstance(parent, nodes.Output | nodes.Add | nodes.Concat):
        return  # only written, never compared
    if isinstance(parent, nodes.Filter) and parent.name in _HARMLESS_FILTERS:
        return
    if _method(parent) in _STRIPS:
        found.edges.update(char for char in text if not char.isspace())  # probes tell about blanks
    elif text.isspace():
        return  # the probes contain every kind of blank
    elif _searches(node, parent) or not re.fullmatch(r"\w+", text, re.ASCII):
        found.inside.add(text)
    else:
        found.equal.add(text)  # a role, a key: only a content that is this word and nothing else


def _method(parent: nodes.Node | None) -> str | None:
    if isinstance(parent, nodes.Filter):
        return parent.name
    if isinstance(parent, nodes.Call) and isinstance(parent.node, nodes.Getattr):
        return parent.node.attr
    return None


def _searches(node: nodes.Const, parent: nodes.Node | None) -> bool:
    """True for `'x' in content` and for arguments such as in `content.split('x')`."""
    if isinstance(parent, nodes.Compare):
        return parent.expr is node and any(op.op in ("in", "notin") for op in parent.ops)
    return _method(parent) is not None and _method(parent) != "get"


@dataclass(frozen=True)
class _Plan:
    """One row of a shape: texts with places for contents, by turns context and supervised."""

    segments: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def learn(cls, row: RenderedRow) -> _Plan | None:
        """The plan behind a row whose contents were marks."""
        borders = [0, *(border for span in row.spans for border in span), len(row.text)]
        texts = [row.text[a:b] for a, b in pairwise(borders)]
        segments = tuple(_segment(text) for text in texts)
        found = sum(len(places) for _, places in segments)
        return cls(segments) if found == len(_MARKS.findall(row.text)) else None

    def fill(self, contents: Sequence[str]) -> RenderedRow:
        texts = [form % tuple([contents[i] for i in places]) for form, places in self.segments]
        spans: list[tuple[int, int]] = []
        at = 0
        for number, text in enumerate(texts):
            if number & 1:
                spans.append((at, at + len(text)))
            at += len(text)
        return RenderedRow("".join(texts), tuple(spans))


def _segment(text: str) -> tuple[str, tuple[int, ...]]:
    places = tuple(int(number) for number in _MARKS.findall(text))
    return _MARKS.sub("%s", text.replace("%", "%%")), places


@dataclass
class _Shape:
    """What is known about one shape."""

    plans: tuple[_Plan, ...]
    untrained: int
    blank_edges: frozenset[str]  # roles whose contents keep blanks at their edges
    checked: int = 0

    def fill(self, contents: Sequence[str]) -> RenderedTurns:
        return RenderedTurns(tuple([plan.fill(contents) for plan in self.plans]), self.untrained)


class FastRows:
    """Renders by learned shapes; `rows` answers None whenever the exact way must be taken."""

    def __init__(self, exact: ExactRows) -> None:
        self.exact = exact
        self.triggers = Triggers.of(exact.template.syntax)
        self._shapes: dict[Key, _Shape | None] = {}
        self._seen: set[Key] = set()

    def rows(self, messages: Sequence[Message], trained: Sequence[int]) -> RenderedTurns | None:
        """The rows of a plain conversation, or None."""
        key = (tuple([message.role for message in messages]), tuple(trained))
        shape = self._shape(key)
        if shape is None:
            return None
        contents = [message.content for message in messages]
        if not self._is_ordinary(contents, key[0], shape):
            return None
        turns = shape.fill(contents)
        if shape.checked >= ROWS_CHECKED:
            return turns
        return self._checked(key, shape, messages, turns)

    def _shape(self, key: Key) -> _Shape | None:
        if key in self._shapes:
            return self._shapes[key]
        if key not in self._seen:  # learning pays from the second row on
            self._seen.add(key)
            return None
        shape = self._learn(key) if len(key[0]) <= MAX_MESSAGES else None
        self._shapes[key] = shape
        return shape

    def _is_ordinary(self, contents: Sequence[str], roles: Sequence[str], shape: _Shape) -> bool:
        touch = self.triggers.touch
        for role, content in zip(roles, contents, strict=True):
            if not content or touch(content):
                return False
            blank = content[0].isspace() or content[-1].isspace()
            if blank and role not in shape.blank_edges:
                return False
        # Templates may compare messages with each other (Mistral: is this the last user message?).
        return len(contents) < 3 or len(set(contents)) == len(contents)

    def _checked(
        self, key: Key, shape: _Shape, messages: Sequence[Message], turns: RenderedTurns
    ) -> RenderedTurns:
        shape.checked += 1
        exact = self.exact.rows(messages, key[1])
        if exact != turns:
            self._shapes[key] = None
        return exact

    def _learn(self, key: Key) -> _Shape | None:
        roles, _ = key
        marks = [f"Qz{index:04}zQ" for index in range(len(roles))]
        try:
            learned = self._render(key, marks)
            plans = [_Plan.learn(row) for row in learned.rows]
            known = tuple(plan for plan in plans if plan is not None)
            shape = _Shape(known, learned.untrained, frozenset())
            probes = (
                [f"{mark} {_TORTURE} {mark}" for mark in marks],
                [f"{mark} {'word ' * 3000}{mark}" for mark in marks],
                [f"a{index}" for index in range(len(roles))],
            )
            if len(known) < len(plans) or not all(self._holds(key, shape, p) for p in probes):
                return None
        except TemplateRefused:
            return None
        return replace(shape, blank_edges=frozenset(self._keeps_blanks(key, shape, marks)))

    def _keeps_blanks(self, key: Key, shape: _Shape, marks: Sequence[str]) -> Iterable[str]:
        roles, _ = key
        for wanted in set(roles):
            padded = (
                [
                    f"{blank}{mark}{blank}" if role == wanted else mark
                    for role, mark in zip(roles, marks, strict=True)
                ]
                for blank in ("\n", " ", "\t", "\n\n \n")
            )
            if all(self._holds(key, shape, contents) for contents in padded):
                yield wanted

    def _holds(self, key: Key, shape: _Shape, contents: Sequence[str]) -> bool:
        try:
            return self._render(key, contents) == shape.fill(contents)
        except TemplateRefused:
            return False

    def _render(self, key: Key, contents: Sequence[str]) -> RenderedTurns:
        roles, trained = key
        messages = [
            Message(role, content)  # pyright: ignore[reportArgumentType] - roles come from messages
            for role, content in zip(roles, contents, strict=True)
        ]
        return self.exact.rows(messages, trained)
