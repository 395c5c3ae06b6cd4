"""A small grammar of utterances: `[a|b]` is one of them, `<name>` is one entry of a list."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

Node = str | tuple["Node", ...] | list["Node"]  # text, sequence, choice
TOKENS = re.compile(r"[\[\]|<>]|[^\[\]|<>]+")


@dataclass(frozen=True)
class Topic:
    """One matter: what it is called and the patterns of how people speak of it."""

    name: str
    labels: tuple[str, ...]
    patterns: tuple[Node, ...]


@dataclass(frozen=True)
class Grammar:
    """All topics of one language, with the lists that their patterns use."""

    lists: dict[str, list[Node]]
    topics: dict[str, Topic]

    def utterance(self, topic: Topic, rng: random.Random) -> str:
        """One random sentence about the topic."""
        return self.expand(rng.choice(topic.patterns), rng)

    def expand(self, node: Node, rng: random.Random) -> str:
        """The text of a node, choosing at random."""
        text = "".join(self._pieces(node, rng))
        return re.sub(r"\s+([,?.!])", r"\1", re.sub(r"\s+", " ", text)).strip()

    def _pieces(self, node: Node, rng: random.Random) -> list[str]:
        if isinstance(node, tuple):
            return [piece for child in node for piece in self._pieces(child, rng)]
        if isinstance(node, list):
            return self._pieces(rng.choice(node), rng)
        if node.startswith("<"):
            return self._pieces(rng.choice(self.lists[node[1:]]), rng)
        return [node]


def load_grammar(path: Path) -> Grammar:
    """Read lists (`= name`) and topics (`@ name | label ...`) with their lines below them."""
    lists: dict[str, list[Node]] = {}
    topics: dict[str, Topic] = {}
    for block in re.split(r"\n(?=[=@] )", path.read_text(encoding="utf-8")):
        head, *rows = [row for row in block.splitlines() if row and not row.startswith("#")] or [""]
        if head.startswith("= "):
            lists[head[2:].strip()] = [parse(part) for row in rows for part in row.split(" | ")]
        elif head.startswith("@ "):
            name, *labels = [part.strip() for part in head[2:].split("|")]
            topics[name] = Topic(name, tuple(labels), tuple(parse(row) for row in rows))
    return Grammar(lists, topics)


def parse(pattern: str) -> Node:
    """Turn one pattern into nested sequences and choices."""
    tokens = TOKENS.findall(pattern)
    node, rest = _sequence(tokens, 0)
    if rest != len(tokens):
        raise ValueError(f"unbalanced bracket in pattern: {pattern}")
    return node


def _sequence(tokens: list[str], at: int) -> tuple[Node, int]:
    children: list[Node] = []
    while at < len(tokens) and tokens[at] not in ("]", "|"):
        if tokens[at] == "[":
            child, at = _choice(tokens, at + 1)
            children.append(child)
        elif tokens[at] == "<":
            children.append("<" + tokens[at + 1])
            at += 3
        else:
            children.append(tokens[at])
            at += 1
    return tuple(children), at


def _choice(tokens: list[str], at: int) -> tuple[Node, int]:
    options: list[Node] = []
    while True:
        option, at = _sequence(tokens, at)
        options.append(option)
        if at >= len(tokens):
            raise ValueError(f"unbalanced bracket in pattern: {''.join(tokens)}")
        at += 1
        if tokens[at - 1] == "]":
            return options, at
