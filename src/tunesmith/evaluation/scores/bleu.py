"""BLEU by sacreBLEU: its tokenisers and counts, and corpus BLEU of any resample of the rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tunesmith.evaluation.scores.libraries import need
from tunesmith.evaluation.scores.score import Score
from tunesmith.evaluation.scores.texts import is_chinese
from tunesmith.evaluation.statistics import Floats

_ORDERS = 4


def bleu_score(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Corpus BLEU, 0 to 100; a row's own value is sentence BLEU.

    The tokeniser is `zh` where a tenth of the references is Chinese: it splits Chinese into
    characters and leaves the rest to the rules of `13a`.
    """
    need("sacrebleu")
    from sacrebleu.metrics.bleu import BLEU

    chinese = sum(map(is_chinese, references))
    tokeniser = "zh" if 10 * chinese >= max(1, len(references)) else "13a"
    sentence = BLEU(tokenize=tokeniser, effective_order=True)
    rows: list[float | None] = []
    sums: list[list[float]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for prediction, reference in zip(predictions, references, strict=True):
            found: Any = sentence.sentence_score(prediction, [reference])
            rows.append(float(found.score))
            sums.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    sums_NK = np.array(sums, np.float64).reshape(len(rows), 2 * _ORDERS + 2)
    return Score("bleu", rows, sums_NK, corpus_bleu, unit="points", about={"tokeniser": tokeniser})


def corpus_bleu(sums: Floats) -> Floats:
    """BLEU of summed counts, with sacreBLEU's exponential smoothing of orders without a match.

    Orders are gone through in turn: each without a match halves what the next such one counts for.
    """
    counts, totals = sums[..., :_ORDERS], sums[..., _ORDERS : 2 * _ORDERS]
    given, wanted = sums[..., -2], sums[..., -1]
    smooth = np.ones(sums.shape[:-1])
    logs = np.zeros(sums.shape[:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        for order in range(_ORDERS):
            empty = counts[..., order] == 0
            smooth = np.where(empty, smooth * 2, smooth)
            hits = np.where(empty, 1 / smooth, counts[..., order])
            logs += np.log(hits / totals[..., order]) / _ORDERS
        brevity = np.where(given < wanted, np.exp(1 - wanted / given), 1.0)
        score = 100 * brevity * np.exp(logs)
    nothing = (counts.sum(axis=-1) == 0) | (totals == 0).any(axis=-1) | (given == 0)
    return np.where(nothing, 0.0, score)
