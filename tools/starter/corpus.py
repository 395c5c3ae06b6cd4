"""Write the texts that the starter model is pre-trained on; the same seed gives the same bytes.

Chats about a shop teach which words mean the same matter, small talk and word questions teach the
form of a chat, stories and instructions plain text. What the customer-service example holds out,
and its answers, are kept out: see `HeldOut`.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from grammar import Node, Topic, load_grammar, parse
from intents import HERE, LANGUAGES, load_intents, normalised

# How many documents of each kind and language are written.
SHARES = {
    "shop_chat": 20000,
    "wish": 5000,
    "paraphrase": 2000,
    "same_wish": 1500,
    "small_talk": 800,
    "words": 1000,
    "sums": 300,
    "synonyms": 500,
    "story": 800,
    "instruction": 1500,
}


class HeldOut:
    """Tells whether a question is one that the example holds out, or nearly the same."""

    def __init__(self, limit: float = 0.7) -> None:
        self.limit = limit
        self.grams: dict[str, set[str]] = {}
        self.index: defaultdict[str, set[str]] = defaultdict(set)
        for language in LANGUAGES:
            for intent in load_intents(language):
                for question in intent.heldout:
                    self._add(normalised(question))

    def _add(self, question: str) -> None:
        self.grams[question] = _trigrams(question)
        for gram in self.grams[question]:
            self.index[gram].add(question)

    def is_near(self, text: str) -> bool:
        """True when a held-out question is in the text or shares most of its letter triples."""
        found = normalised(text)
        grams = _trigrams(found)
        shared: defaultdict[str, int] = defaultdict(int)
        for gram in grams:
            for question in self.index.get(gram, ()):
                shared[question] += 1
        return any(
            question in found or count / len(grams | self.grams[question]) > self.limit
            for question, count in shared.items()
        )


def _trigrams(text: str) -> set[str]:
    size = 3 if text.isascii() else 2
    return {text[at : at + size] for at in range(max(1, len(text) - size + 1))}


class Writer:
    """Writes documents of all kinds in one language."""

    def __init__(self, language: str, rng: random.Random, held_out: HeldOut) -> None:
        self.language = language
        self.rng = rng
        self.held_out = held_out
        frames = yaml.safe_load((HERE / "frames.yaml").read_text(encoding="utf-8"))
        self.frames: dict[str, Any] = frames[language]
        self.grammar = load_grammar(HERE / f"grammar_{language}.txt")
        self.stories = load_grammar(HERE / f"stories_{language}.txt")
        self.small_talk = read_small_talk(language)
        self.kinds = read_words()
        topics = list(self.grammar.topics.values())
        # Small topics (few patterns) are met less often than those with many.
        self.topics = [
            topic for topic in topics for _ in range(1 if len(topic.patterns) < 8 else 4)
        ]

    def question(self, topic: Topic) -> str:
        """One framed utterance that is not near anything held out."""
        while True:
            text = self._framed(topic)
            if not self.held_out.is_near(text):
                return text

    def _framed(self, topic: Topic) -> str:
        rng, language = self.rng, self.language
        text = mended(self.grammar.utterance(topic, rng))
        if rng.random() < 0.15:
            other = mended(self.grammar.utterance(topic, rng))
            text = f"{text}{'. ' if language == 'en' else '，'}{other}"
        if rng.random() < 0.35:
            text = rng.choice(self.frames["openings"]) + text
        if rng.random() < 0.25:
            text += rng.choice(self.frames["closings"])
        text = misspelt(text, rng) if language == "en" and rng.random() < 0.04 else text
        text = capitalised(text) if rng.random() < 0.7 else text
        return text + rng.choice(self.frames["marks"])

    def label(self, topic: Topic) -> str:
        return self.rng.choice(topic.labels)

    def two_topics(self) -> tuple[Topic, Topic]:
        one = self.rng.choice(self.topics)
        two = one if self.rng.random() < 0.5 else self.rng.choice(self.topics)
        return one, two

    def shop_chat(self) -> str:
        rng, topic = self.rng, self.rng.choice(self.topics)
        kind = "topic_first" if rng.random() < 0.75 else "acknowledge"
        told = capitalised(rng.choice(self.frames[kind]).format(self.label(topic)))
        if len(topic.labels) > 1 and rng.random() < 0.6:
            told += rng.choice(self.frames["in_other_words"]).format(self.label(topic))
        if rng.random() < 0.3:
            told += rng.choice(self.frames["unknowing"])
        return chat(self.question(topic), told)

    def wish(self) -> str:
        topic = self.rng.choice(self.topics)
        asked = self.rng.choice(self.frames["ask_wish"]).format(self.question(topic))
        return chat(asked, "; ".join(self.rng.sample(topic.labels, len(topic.labels))))

    def paraphrase(self) -> str:
        topic = self.rng.choice(self.topics)
        asked = self.rng.choice(self.frames["ask_again"]).format(self.question(topic))
        return chat(asked, self.question(topic))

    def same_wish(self) -> str:
        one, two = self.two_topics()
        asked = self.frames["ask_same"].format(self.question(one), self.question(two))
        if one is two:
            return chat(asked, self.frames["same"].format(self.label(one)))
        return chat(asked, self.frames["different"].format(self.label(one), self.label(two)))

    def small_talk_chat(self) -> str:
        asked, answered = self.rng.choice(self.small_talk)
        return chat(self._expand(asked), self._expand(answered))

    def synonyms(self) -> str:
        """Some entries of a list of the grammar, as a sentence about words."""
        rng = self.rng
        name = rng.choice(
            [name for name, entries in self.grammar.lists.items() if len(entries) > 3]
        )
        entries = self.grammar.lists[name]
        # A dict, not a set: the order of a set differs from process to process.
        found = dict.fromkeys(self._expand(entry) for entry in rng.sample(entries, 4))
        if self.language == "en":
            return f"People say {', '.join(found)}."
        return f"人们会说{'、'.join(found)}。"

    def words(self) -> str:
        rng, kinds = self.rng, self.kinds
        (kind_en, kind_zh), pairs = rng.choice(kinds)
        word, meaning = rng.choice(pairs)
        other = rng.choice(kinds)[0]
        three = rng.sample(pairs, 3)
        if self.language == "en":
            options = [
                (f"How do you say {word} in Chinese?", meaning),
                (f"Name three words for: {kind_en}", ", ".join(pair[0] for pair in three)),
                (f"What kind of word is {word}?", f"{word}: {kind_en}."),
                (f"Is {word} a kind of {other[0]}?", agree(other[0] == kind_en, word, kind_en)),
            ]
        else:
            options = [
                (f"{meaning}用英语怎么说？", word),
                (f"说出三种{kind_zh}", "、".join(pair[1] for pair in three)),
                (f"{meaning}是哪一类？", f"{meaning}属于{kind_zh}。"),
                (
                    f"{meaning}是{other[1]}吗？",
                    f"{'是的' if other[1] == kind_zh else '不是'}，{meaning}属于{kind_zh}。",
                ),
            ]
        return chat(*rng.choice(options))

    def sums(self) -> str:
        rng = self.rng
        one, two = rng.randint(1, 20), rng.randint(1, 20)
        if self.language == "en":
            return chat(f"What is {one} plus {two}?", f"{one} plus {two} is {one + two}.")
        return chat(f"{one} 加 {two} 等于多少？", f"{one} 加 {two} 等于 {one + two}。")

    def story(self) -> str:
        return self.stories.utterance(self.stories.topics["story"], self.rng)

    def instruction(self) -> str:
        return self.stories.utterance(self.stories.topics["instruction"], self.rng)

    def _expand(self, node: Node) -> str:
        return self.grammar.expand(node, self.rng)


def chat(question: str, answer: str) -> str:
    """Two turns as the chat template renders them."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"


def agree(is_right: bool, word: str, kind: str) -> str:
    return f"Yes, {word} is a kind of {kind}." if is_right else f"No, {word} is a kind of {kind}."


def mended(text: str) -> str:
    """What the patterns leave open: `an` before vowels, one question word in Chinese."""
    text = re.sub(r"\ba (?=[aeiou](?!ne|s[ei]|ni))", "an ", text)
    if re.search("能不能|可不可以|是否可以|有没有", text):
        text = text.removesuffix("吗")
    return text


def capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def misspelt(text: str, rng: random.Random) -> str:
    """Swap two neighbouring letters."""
    at = rng.randrange(max(1, len(text) - 2))
    return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]


def read_words() -> list[tuple[tuple[str, str], list[tuple[str, str]]]]:
    entries = yaml.safe_load((HERE / "words.yaml").read_text(encoding="utf-8"))
    found: list[tuple[tuple[str, str], list[tuple[str, str]]]] = []
    for kind, pairs in entries.items():
        english, _, chinese = kind.partition("/")
        found.append(((english, chinese), [(str(one), str(two)) for one, two in pairs.items()]))
    return found


def read_small_talk(language: str) -> list[tuple[Node, Node]]:
    """Questions and answers of one language; Chinese ones have Han characters in the question."""
    lines = (HERE / "chats.txt").read_text(encoding="utf-8").splitlines()
    asked = [line[2:] for line in lines if line.startswith("Q ")]
    answered = [line[2:] for line in lines if line.startswith("A ")]
    return [
        (parse(question), parse(answer))
        for question, answer in zip(asked, answered, strict=True)
        if question.isascii() == (language == "en")
    ]


def documents(seed: int) -> Iterator[str]:
    """All documents in random order."""
    rng = random.Random(seed)
    held_out = HeldOut()
    jobs: list[Callable[[], str]] = []
    for language in LANGUAGES:
        writer = Writer(language, rng, held_out)
        for kind, count in SHARES.items():
            method = "small_talk_chat" if kind == "small_talk" else kind
            jobs += [partial(getattr(writer, method))] * count
    rng.shuffle(jobs)
    return (job() for job in jobs)


def write_corpus(path: Path, seed: int = 7) -> None:
    """Write the documents as JSONL with one `text` a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for text in documents(seed):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
