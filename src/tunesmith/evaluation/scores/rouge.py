"""ROUGE by rouge-score: words in Latin scripts, characters and jieba's words in Chinese."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tunesmith.evaluation.scores.libraries import is_there, need
from tunesmith.evaluation.scores.score import Score, mean_score
from tunesmith.evaluation.scores.texts import is_chinese, normalise, tokens

_KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


class _Tokeniser:
    """What rouge-score asks of a tokeniser."""

    def __init__(self, split: Callable[[str], list[str]]) -> None:
        self._split = split

    def tokenize(self, text: str) -> list[str]:
        return self._split(text)


def rouge_scores(predictions: Sequence[str], references: Sequence[str]) -> list[Score]:
    """F1 of words, of pairs of words, and of the longest common subsequence.

    Rows with a Chinese reference count characters; `..._words` are the same rows by words.
    """
    need("rouge_score")
    pairs = list(zip(predictions, references, strict=True))
    chinese = [is_chinese(reference) for reference in references]
    latin, characters = _scorer(None), _scorer(tokens)
    rows = [
        (characters if is_zh else latin)(reference, prediction)
        for (prediction, reference), is_zh in zip(pairs, chinese, strict=True)
    ]
    found = [mean_score(name, [row[name] for row in rows]) for name in _KINDS]
    if any(chinese) and is_there("jieba"):
        words = _scorer(chinese_words)
        by_word = [
            words(reference, prediction) if is_zh else None
            for (prediction, reference), is_zh in zip(pairs, chinese, strict=True)
        ]
        found += [
            mean_score(f"{name}_words", [None if row is None else row[name] for row in by_word])
            for name in _KINDS
        ]
    return found


def _scorer(split: Callable[[str], list[str]] | None) -> Callable[[str, str], dict[str, float]]:
    from rouge_score.rouge_scorer import RougeScorer

    tokeniser: Any = _Tokeniser(split) if split else None
    scorer = RougeScorer([*_KINDS.values()], use_stemmer=False, tokenizer=tokeniser)

    def score(reference: str, prediction: str) -> dict[str, float]:
        found = scorer.score(reference, prediction)
        return {name: float(found[kind].fmeasure) for name, kind in _KINDS.items()}

    return score


def chinese_words(text: str) -> list[str]:
    """The words that jieba finds in the normalised text."""
    return [word for word in _jieba().cut(normalise(text)) if not word.isspace()]


def _jieba() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old syntax within the library
        import jieba

        jieba.setLogLevel(60)
        jieba.initialize()
    return jieba
