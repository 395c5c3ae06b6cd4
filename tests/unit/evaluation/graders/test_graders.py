"""Rewards, formulas, templates, and every flag that says why there is none."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tunesmith.evaluation.graders import Allowed, Grader, Outcome, grade, problems
from tunesmith.evaluation.graders.formula import FormulaError, parse
from tunesmith.evaluation.graders.similarity import METRICS, MOST_CHARACTERS

READ: TypeAdapter[Any] = TypeAdapter(Grader)
ITEM = {"answer": "the cat sat on the mat", "choices": [{"text": "yes"}], "n": 7}


def run(answer: str, *, python: bool = False, **grader: Any) -> Outcome:
    return grade(READ.validate_python({"name": "g", **grader}), answer, ITEM, Allowed(python))


def check(operation: str, answer: str, reference: str) -> float:
    texts = {"input": "{{sample.output_text}}", "reference": reference}
    return run(answer, type="string_check", operation=operation, **texts).reward


def test_string_checks_compare_as_their_operation_says() -> None:
    assert check("eq", "Yes", "Yes") == 1
    assert check("eq", "Yes", "yes") == 0
    assert check("ne", "Yes", "yes") == 1
    assert check("like", "Oh yes, it is", "yes") == 1
    assert check("like", "Oh Yes, it is", "yes") == 0
    assert check("ilike", "Oh Yes, it is", "yes") == 1


def test_templates_reach_into_rows_and_json_answers() -> None:
    assert check("eq", "yes", "{{ item.choices[0].text }}") == 1
    assert check("eq", "7", "{{item.n}}") == 1
    texts = {"input": "{{sample.output_json.a.b}}", "reference": "5"}
    assert run('{"a": {"b": 5}}', type="string_check", operation="eq", **texts).reward == 1


def similar(metric: str, answer: str, reference: str) -> float:
    texts = {"input": "{{sample.output_text}}", "reference": reference}
    return run(answer, type="text_similarity", evaluation_metric=metric, **texts).reward


@pytest.mark.parametrize("metric", METRICS)
def test_equal_texts_are_worth_one_and_foreign_ones_nothing(metric: str) -> None:
    text = "the quick brown fox jumps over the lazy dog"
    assert similar(metric, text, text) == pytest.approx(1)
    assert similar(metric, "xxxxzzz", "0000111") == pytest.approx(0)


@pytest.mark.parametrize(
    ("metric", "answer", "reference", "value"),
    [
        ("cosine", "a a b", "a b b", 4 / 5),
        ("fuzzy_match", "kitten", "sitting", 2 * 4 / 13),  # itn + i: "ittn"
        # 1-grams 5/6, 2-grams (3+1)/(5+1), 3-grams (1+1)/(4+1), 4-grams 1/4; as long as wanted
        ("bleu", "the cat sat on a mat", "the cat sat by a mat", None),
        ("gleu", "a b c", "a b d", 3 / 6),
        # 6 of 6 words in one chunk that is moved: two chunks
        ("meteor", "on the mat sat the cat", "sat the cat on the mat", 1 - 0.5 * (2 / 6) ** 3),
        ("rouge_1", "a b c d", "a x c", 2 * 2 / 7),
        ("rouge_2", "a b c", "a b d", 2 * 1 / 4),
        ("rouge_l", "a b c d", "a c b d", 2 * 3 / 8),
    ],
)
def test_metrics_are_those_worked_out_by_hand(
    metric: str, answer: str, reference: str, value: float | None
) -> None:
    if value is None:
        value = math.exp(
            (math.log(5 / 6) + math.log(4 / 6) + math.log(2 / 5) + math.log(1 / 4)) / 4
        )
    assert similar(metric, answer, reference) == pytest.approx(value)


def test_bleu_punishes_short_answers() -> None:
    long = "the cat sat on the mat today"
    assert similar("bleu", "the cat sat on", long) == pytest.approx(math.exp(1 - 7 / 4))


def test_chinese_is_compared_character_by_character() -> None:
    assert similar("rouge_1", "我爱北京", "我爱上海") == pytest.approx(0.5)


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(sorted(METRICS)))
def test_every_metric_stays_between_zero_and_one(one: str, other: str, metric: str) -> None:
    assert -1e-9 <= METRICS[metric](one, other) <= 1 + 1e-9


@given(st.text("ab ", max_size=30), st.text("ab ", max_size=30))
def test_fuzzy_match_agrees_with_the_plain_table(one: str, other: str) -> None:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            best = max(table[i][j + 1], table[i + 1][j])
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else best
    total = len(one) + len(other)
    expected = 2 * table[-1][-1] / total if total else 1.0
    assert METRICS["fuzzy_match"](one, other) == pytest.approx(expected)


# ---------------------------------------------------------------- formulas


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("a", 0.5),
        ("0.8 * a + 0.2 * b", 0.8),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("8 / 4 / 2 - 1 - 1", -1),
        ("max(a, b, 1) + min(a, b)", 2.5),
        ("floor(2.7) + ceil(0.1) + abs(-1)", 4),
        ("sqrt(b * 2) + exp(0) + log(1)", 3),
        (" ( ( a ) ) ", 0.5),
    ],
)
def test_formulas_have_their_value(source: str, value: float) -> None:
    assert parse(source)({"a": 0.5, "b": 2.0}) == pytest.approx(value)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "a +",
        "a b",
        "(a",
        "a)",
        "f(a)",
        "min(a)",
        "sqrt(a, b)",
        "a.b",
        "a[0]",
        "a; b",
        "__import__('os')",
        "lambda: 0",
        "1 if a else 2",
        "(" * 100 + "1" + ")" * 100,
        "-" * 100 + "1",
    ],
)
def test_what_is_no_formula_is_refused(source: str) -> None:
    with pytest.raises(FormulaError):
        parse(source)


@given(st.text(max_size=30))
def test_any_text_is_a_formula_or_is_refused(source: str) -> None:
    try:
        formula = parse(source)
    except FormulaError:
        return
    assert isinstance(formula.names, frozenset)


# ---------------------------------------------------------------- flags


def flags(outcome: Outcome) -> set[str]:
    from dataclasses import asdict

    return {name for name, value in asdict(outcome.errors).items() if value is True}


def multi(formula: str, **graders: Any) -> Outcome:
    return run("yes", type="multi", graders=graders, calculate_output=formula)


EXACT = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "yes",
    "operation": "eq",
}


def test_a_multi_grader_combines_rewards_and_shows_each() -> None:
    other = {**EXACT, "name": "other", "operation": "ne"}
    outcome = multi("0.75 * exact + other", exact=EXACT, other=other)
    assert outcome.reward == 0.75
    assert outcome.sub_rewards == {"exact": 1.0, "other": 0.0}
    assert not flags(outcome)


@pytest.mark.parametrize(
    ("formula", "flag"),
    [
        ("exact +", "formula_parse_error"),
        ("exact + missing", "invalid_variable_error"),
        ("1 / (exact - 1)", "other_error"),
        ("log(0)", "other_error"),
        ("exp(1000)", "other_error"),
    ],
)
def test_a_formula_without_a_value_sets_its_flag(formula: str, flag: str) -> None:
    outcome = multi(formula, exact=EXACT)
    assert outcome.reward == 0
    assert flags(outcome) == {flag}


def test_templates_that_cannot_be_filled_set_their_flag() -> None:
    def told(text: str) -> set[str]:
        grader = {**EXACT, "input": text}
        return flags(run("no json", **{k: v for k, v in grader.items() if k != "name"}))

    assert told("{{item.missing}}") == {"invalid_variable_error"}
    assert told("{{sample.output_json.a}}") == {"sample_parse_error"}
    assert told("{{elsewhere}}") == {"invalid_variable_error"}


def test_texts_beyond_the_limit_are_cut_and_told() -> None:
    texts = {"input": "{{sample.output_text}}", "reference": "a"}
    outcome = run(
        "a" * (MOST_CHARACTERS + 1), type="text_similarity", evaluation_metric="rouge_1", **texts
    )
    assert flags(outcome) == {"truncated_observation_error"}


def test_programs_do_not_run_unless_they_are_allowed() -> None:
    outcome = run("x", type="python", source="def grade(sample, item):\n    return 1")
    assert outcome.reward == 0
    assert flags(outcome) == {"python_grader_server_error"}
    assert outcome.errors.python_grader_server_error_type == "python_graders_not_allowed"


@pytest.mark.parametrize(
    ("body", "reward", "flag"),
    [
        ("return len(sample['output_text']) / item['n']", 2 / 7, None),
        ("return 1 / 0", 0, "python_grader_runtime_error"),
        ("return 'much'", 0, "python_grader_runtime_error"),
        ("return float('nan')", 0, "unresponsive_reward_error"),
        ("print('noise'); return sample['output_json']", 42, None),
        ("import os; os._exit(3)", 0, "python_grader_runtime_error"),
        ("return len(bytearray(2 << 30))", 0, "python_grader_runtime_error"),
    ],
)
def test_an_allowed_program_gives_its_reward_or_its_error(
    body: str, reward: float, flag: str | None
) -> None:
    source = f"def grade(sample, item):\n    {body}"
    outcome = run("42", python=True, type="python", source=source)
    assert outcome.reward == pytest.approx(reward)
    assert flags(outcome) == ({flag} if flag else set())


def test_a_program_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.evaluation.graders import python_source

    monkeypatch.setattr(python_source.run_source, "__defaults__", (0.5,))
    source = "def grade(sample, item):\n    while True: pass"
    outcome = run("42", python=True, type="python", source=source)
    assert flags(outcome) == {"unresponsive_reward_error"}


def test_graders_that_ask_a_model_say_that_there_is_none() -> None:
    outcome = run("x", type="score_model", model="m", input=[{"role": "user", "content": "?"}])
    assert flags(outcome) == {"model_grader_server_error"}
    assert outcome.errors.model_grader_server_error_details


# ---------------------------------------------------------------- before it runs


@pytest.mark.parametrize(
    ("grader", "place"),
    [
        ({**EXACT, "input": "{{samples.output_text}}"}, "input"),
        ({**EXACT, "reference": "{{sample.text}}"}, "reference"),
        ({"type": "python", "source": "def grade(:"}, "source"),
        ({"type": "multi", "graders": {"a": EXACT}, "calculate_output": "a +"}, "calculate_output"),
        ({"type": "multi", "graders": {"a": EXACT}, "calculate_output": "b"}, "calculate_output"),
        ({"type": "multi", "graders": {}, "calculate_output": "1"}, "graders"),
        (
            {
                "type": "multi",
                "graders": {"a": {**EXACT, "input": "{{x}}"}},
                "calculate_output": "a",
            },
            "graders.a.input",
        ),
    ],
)
def test_what_is_wrong_with_a_grader_is_told_before_it_runs(
    grader: dict[str, Any], place: str
) -> None:
    found = list(problems(READ.validate_python({**grader, "name": "g"})))
    assert [name for name, _ in found] == [place]


def test_a_good_grader_has_no_problems() -> None:
    assert not list(problems(READ.validate_python(EXACT)))
