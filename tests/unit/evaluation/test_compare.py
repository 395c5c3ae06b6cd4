"""Two models on the same rows: the rules, the law of the verdict, and the whole comparison."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import verdict as plants
from tests.unit.evaluation.table_server import last_words, serving

from tunesmith.cli.compare import gate_of, told
from tunesmith.errors import InputError, RecipeError
from tunesmith.evaluation.compare import (
    compare,
    comparison_document,
    contests_of,
    finish,
    growth_of,
    set_exam,
)
from tunesmith.evaluation.endpoint import Endpoint, Sampling
from tunesmith.evaluation.evaluate import Settings
from tunesmith.evaluation.report.comparison import comparison_page
from tunesmith.evaluation.report.differences import marked
from tunesmith.evaluation.report.texts import REASONS, TEXTS, reason_text
from tunesmith.evaluation.rows import read_test_set
from tunesmith.evaluation.scores.classes import class_scores
from tunesmith.evaluation.scores.score import mean_score
from tunesmith.evaluation.served import Place
from tunesmith.evaluation.statistics import Estimate
from tunesmith.evaluation.verdict import Forgetting, Growth, Measured, decide
from tunesmith.recipe.gate import Gate

NO_GROWTH = Growth()


def measured(low: float, value: float, high: float, **changes: Any) -> Measured:
    facts: dict[str, Any] = {
        "name": "accuracy",
        "unit": "share",
        "better": "higher",
        "base": 0.5,
        "tuned": 0.5 + value,
        "difference": Estimate(value, low, high),
        "rows": 400,
        "wins": 40,
        "losses": 10,
        "sign_p": 0.001,
        "is_verdict": True,
    }
    return Measured(**(facts | changes))


def probe(low: float, value: float, high: float, base: float = 0.7) -> Forgetting:
    return Forgetting(60, base, base + value, Estimate(value, low, high))


# ---------------------------------------------------------------- the rules


@pytest.mark.parametrize(
    ("primary", "gate", "result", "code"),
    [
        (measured(0.01, 0.05, 0.09), {}, "promote", "better"),
        (measured(-0.01, 0.05, 0.09), {}, "hold", "not_shown"),
        (measured(0.0, 0.05, 0.09), {}, "hold", "not_shown"),
        (measured(-0.09, -0.05, -0.01), {}, "reject", "worse"),
        (measured(0.01, 0.05, 0.09), {"min_gain": 0.02}, "hold", "gain_too_small"),
        (measured(0.03, 0.05, 0.09), {"min_gain": 0.02}, "promote", "better"),
        (measured(0.01, 0.05, 0.09, rows=49), {}, "hold", "too_few_rows"),
        (measured(0.01, 0.05, 0.09, rows=49), {"min_rows": 40}, "promote", "better"),
        (measured(0.01, 0.01, 0.02, wins=5, losses=0, sign_p=2 / 32), {}, "hold", "too_few_differ"),
        (measured(0.01, 0.05, 0.09, sign_p=0.5, is_verdict=False), {}, "promote", "better"),
        (measured(float("nan"), 0.0, float("nan")), {}, "hold", "not_shown"),
        (measured(0.0, 0.0, 0.0, wins=0, losses=0), {}, "hold", "no_difference"),
        # Of perplexity, less is better.
        (measured(-3, -2, -1, better="lower"), {}, "promote", "better"),
        (measured(1, 2, 3, better="lower"), {}, "reject", "worse"),
    ],
)
def test_the_interval_of_the_primary_score_decides(
    primary: Measured, gate: dict[str, Any], result: str, code: str
) -> None:
    verdict = decide(Gate(**gate), primary, probe(-0.1, 0.0, 0.1), NO_GROWTH)
    assert (verdict.result, verdict.reasons[0].code) == (result, code)


@pytest.mark.parametrize(
    ("forgetting", "growth", "gate", "result", "code"),
    [
        (probe(-0.3, -0.2, -0.1), NO_GROWTH, {}, "reject", "forgot"),
        (probe(-0.3, -0.1, 0.1), NO_GROWTH, {}, "hold", "may_have_forgotten"),
        (probe(-0.1, -0.03, 0.05), NO_GROWTH, {}, "promote", "better"),
        (probe(-0.3, -0.2, -0.1), NO_GROWTH, {"max_forgetting": None}, "promote", "better"),
        (probe(-0.05, -0.02, 0.0, base=0.02), NO_GROWTH, {}, "promote", "better"),
        (None, NO_GROWTH, {}, "promote", "better"),
        (None, Growth(length=0.6), {}, "hold", "longer"),
        (None, Growth(length=0.6), {"max_length_growth": 1.0}, "promote", "better"),
        (None, Growth(latency=9.0), {}, "promote", "better"),
        (None, Growth(latency=0.3), {"max_latency_growth": 0.2}, "hold", "slower"),
    ],
)
def test_a_better_model_is_still_held_or_rejected_by_the_other_rules(
    forgetting: Forgetting | None, growth: Growth, gate: dict[str, Any], result: str, code: str
) -> None:
    verdict = decide(Gate(**gate), measured(0.01, 0.05, 0.09), forgetting, growth)
    assert (verdict.result, verdict.reasons[0].code) == (result, code)


def test_every_finding_is_a_sentence_in_both_languages() -> None:
    cases = [
        decide(Gate(min_rows=500, max_latency_growth=0), m, f, Growth(2.0, 2.0))
        for m in (
            measured(0.01, 0.05, 0.09),
            measured(-0.1, 0.0, 0.1),
            measured(-3, -2, -1),
            measured(0.01, 0.02, 0.03, sign_p=0.3),
        )
        for f in (
            None,
            probe(-0.3, -0.2, -0.1),
            probe(-0.3, -0.1, 0.1),
            probe(-0.1, 0.0, 0.1),
            probe(0, 0, 0, base=0.0),
        )
    ]
    cases.append(decide(Gate(min_gain=0.5), measured(0.01, 0.05, 0.09), None, NO_GROWTH))
    cases.append(decide(Gate(), measured(0, 0, 0, wins=0, losses=0), None, NO_GROWTH))
    told = {reason.code: reason for case in cases for reason in case.reasons}
    assert told.keys() == REASONS.keys()
    for reason in told.values():
        for language in ("en", "zh"):
            text = reason_text(reason, language)
            assert text
            assert "{" not in text
            assert not re.search(r"\d\.\d{4}", text)
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()


def test_length_is_measured_against_the_longer_of_base_and_references() -> None:
    about = {"reference": 100.0}
    base = mean_score("length", [10.0] * 4, better="neither", unit="characters", about=about)
    tuned = mean_score("length", [150.0] * 4, better="neither", unit="characters", about=about)
    [contest] = contests_of([base], [tuned], confidence=0.95, resamples=10)
    assert growth_of([contest]).length == pytest.approx(0.5)


def test_rules_come_from_files_and_words(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: starter\ndata: {train: [a]}\ngate: {min_gain: 0.02, min_rows: 7}\n")
    bare = tmp_path / "gate.yaml"
    bare.write_text("max_forgetting: null\n")
    gate = gate_of([str(recipe), str(bare), "min_rows=9"], "none")
    assert (gate.min_gain, gate.min_rows, gate.max_forgetting, gate.general) == (
        0.02,
        9,
        None,
        "none",
    )
    with pytest.raises(RecipeError, match=r"min_gian|min_gain"):
        gate_of(["min_gian=1"])
    with pytest.raises(RecipeError):
        gate_of(["confidence=2"])


# ---------------------------------------------------------------- the law


def test_seeds_alone_are_seldom_promoted() -> None:
    """The law of benchmarks/verdict.py, with fewer resamples and more trials."""
    for plant, is_verdict in ((plants.null, True), (plants.texts, False)):
        found = plants.verdicts(plant, 200, 200, seed=5, is_verdict=is_verdict, resamples=600)
        assert found["promote"] <= 10, plant


def test_a_gain_of_five_points_is_found() -> None:
    found = plants.verdicts(plants.gain, 100, 400, seed=5, is_verdict=True, resamples=600)
    assert found["promote"] >= 80
    assert found["reject"] == 0


def test_macro_f1_has_an_interval_of_its_own() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.choice(["a", "b", "c"], 300, p=[0.8, 0.15, 0.05]).tolist()
    right = [w if r < 0.9 else "a" for w, r in zip(wanted, rng.random(300), strict=True)]
    base, tuned = class_scores(["a"] * 300, wanted), class_scores(right, wanted)
    accuracy, macro = contests_of(base, tuned, confidence=0.95, resamples=500)
    assert macro.compared.difference.low > accuracy.compared.difference.high
    assert macro.compared.base.value == pytest.approx(base[1].value)


# ---------------------------------------------------------------- the whole


def table(rows: int) -> list[dict[str, str]]:
    return [{"question": f"What is number {n}?", "answer": f"It is {n} 号"} for n in range(rows)]


def answering(body: dict[str, Any]) -> str:
    """The base knows every third answer, the tuned model all but every tenth; both the probe."""
    words = last_words(body)
    if not words.startswith("What is number"):
        return "Paris" if "France" in words else "no idea"
    n = int(words.split()[-1].strip("?"))
    knows = n % 3 == 0 if body["model"] == "base" else n % 10 != 0
    return f"It is {n} 号" if knows else "<b>I</b> cannot say"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.jsonl"
    path.write_text("\n".join(map(json.dumps, table(80))), encoding="utf-8")
    return path


def test_two_models_are_compared_from_rows_to_report(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    with serving(answering) as served:
        places = [Place(name, Endpoint(served.url, name, patience=2)) for name in ("base", "tuned")]
        test = read_test_set(str(data))
        exam = set_exam(test, out, Settings(sampling=Sampling(max_tokens=32)), Gate())
        found = compare(*places, exam, on_progress=lambda *_: None)
        asked = len(served.requests)
        assert compare(*places, exam, on_progress=lambda *_: None).verdict == found.verdict
        assert len(served.requests) == asked == 2 * (80 + 60)
    finish(found, out, comparison_page(found, "en"))
    document = json.loads((out / "comparison.json").read_text())
    assert document["verdict"] == "promote"
    match = document["scores"]["normalised_match"]
    assert match["base"]["value"] == pytest.approx(27 / 80)
    assert match["tuned"]["value"] == pytest.approx(72 / 80)
    assert match["difference"]["low"] > 0.4
    assert len(match["wins"]) + len(match["losses"]) + match["ties"] == 80
    assert match["losses"] == ["1", "31", "61"]
    assert document["general"]["base"]["value"] == pytest.approx(1 / 60)
    assert (out / "manifest.json").is_file()
    for language in ("en", "zh"):
        page = comparison_page(found, language)
        assert TEXTS[language]["promote"] in page
        assert "&lt;b&gt;" in page
        assert "<b>I</b>" not in page
        assert not re.findall(r"""(?:src|href)=|@import|url\(|<script|<link""", page)


def test_the_command_says_verdict_and_report_and_takes_a_gate(tmp_path: Path, data: Path) -> None:
    with serving(answering) as served:
        words = [
            "base",
            "tuned",
            "--data",
            str(data),
            "--endpoint",
            served.url,
            "--general",
            "none",
        ]
        command = [sys.executable, "-m", "tunesmith", "compare", *words]
        strict = ["--gate", "min_gain=0.9", "--out", str(tmp_path / "strict"), "--json"]
        done = subprocess.run([*command, *strict], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["verdict"] == "hold"
        plain = subprocess.run(
            [*command, "--out", str(tmp_path / "plain"), "--lang", "zh"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ},
        )
    assert "Verdict: promote" in plain.stdout
    page = (tmp_path / "plain" / "report.html").read_text(encoding="utf-8")
    assert 'lang="zh-CN"' in page


def test_a_judge_compares_both_answers(tmp_path: Path, data: Path) -> None:
    def judge(body: dict[str, Any]) -> str:
        asked = json.loads(last_words(body))
        good = [name for name in ("A", "B") if "It is" in asked[f"answer_{name}"]]
        return json.dumps({"better": good[0] if len(good) == 1 else "tie"})

    with serving(answering) as served, serving(judge) as second:
        places = [Place(name, Endpoint(served.url, name, patience=2)) for name in ("base", "tuned")]
        settings = Settings(judge=Endpoint(second.url, "judge", patience=2))
        gate = Gate(primary="judge", general="none")
        exam = set_exam(read_test_set(str(data)), tmp_path / "out", settings, gate)
        found = compare(*places, exam, on_progress=lambda *_: None)
    assert found.verdict.result == "promote"
    assert found.primary.name == "judge"
    assert found.primary.compared.base.value + found.primary.compared.tuned.value == pytest.approx(
        1
    )


def test_without_a_word_of_the_judge_nothing_is_promoted_and_the_count_is_told(
    tmp_path: Path, data: Path
) -> None:
    with serving(answering) as served, serving(lambda _: "Both are nice.") as second:
        places = [Place(name, Endpoint(served.url, name, patience=2)) for name in ("base", "tuned")]
        settings = Settings(judge=Endpoint(second.url, "judge", patience=2))
        gate = Gate(primary="judge", general="none")
        test = read_test_set(str(data))
        exam = set_exam(test, tmp_path / "out", settings, gate)
        found = compare(*places, exam, on_progress=lambda *_: None)
    assert found.verdict.result == "hold"
    document = comparison_document(found)
    asked = document["scores"]["judge"]["unscored"]
    assert 0 < asked <= len(test.rows)
    words = f"no score for {asked} of {len(test.rows)} rows: the replies of the judge"
    assert f"judge: {words}" in told(found, tmp_path / "report.html")
    assert words in comparison_page(found, "en")


def test_a_score_that_is_neither_good_nor_bad_cannot_decide(tmp_path: Path, data: Path) -> None:
    with serving(answering) as served:
        places = [Place(name, Endpoint(served.url, name, patience=2)) for name in ("base", "tuned")]
        gate = Gate(primary="length", general="none")
        exam = set_exam(read_test_set(str(data)), tmp_path / "out", Settings(), gate)
        with pytest.raises(InputError, match="cannot be the primary score"):
            compare(*places, exam, on_progress=lambda *_: None)
        with pytest.raises(InputError, match="There is no score"):
            set_exam(exam.test, tmp_path, Settings(), Gate(primary="acuracy"))


def test_words_in_common_are_marked_in_order() -> None:
    pieces = marked("请拨打 555 now", "拨打客服 555")
    assert [piece.text for piece in pieces if piece.same] == ["拨打", " 555"]
    assert "".join(piece.text for piece in pieces) == "请拨打 555 now"
    assert marked("", "x") == []
    assert not marked("a " * 2000, "a")[0].same
