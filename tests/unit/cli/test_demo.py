"""The demo's own parts; the whole of it runs in the end-to-end tests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tunesmith.cli.demo import (
    Question,
    comparison,
    examples,
    read_questions,
    validation_losses,
)
from tunesmith.cli.submit import read_submission
from tunesmith.cli.terminal import fold
from tunesmith.evaluation.intent import score_answers
from tunesmith.runs import EventWriter, RunDir


def test_the_examples_are_there_and_load() -> None:
    questions = read_questions(examples() / "heldout.jsonl")
    assert len(questions) >= 60
    assert set(Counter(question.language for question in questions)) == {"en", "zh"}
    submission = read_submission(examples() / "recipe.yaml", ["name=demo"])
    assert submission.recipe.model.base == "starter"


def test_the_references_are_right_and_empty_answers_are_not() -> None:
    references = [question.reference for question in read_questions(examples() / "heldout.jsonl")]
    assert score_answers(references, references).accuracy == 1.0
    assert score_answers([""] * len(references), references).accuracy == 0.0


def test_answers_before_and_after_stand_below_each_other() -> None:
    questions = [
        Question("Where is it?", "On its way.", "en"),
        Question("在哪里？", "在路上。", "zh"),
    ]
    before, after = ["", "\x1b[31mnoise\nnoise"], ["On its way.", "不知道"]
    references = [question.reference for question in questions]
    scores = (score_answers(before, references), score_answers(after, references))
    text = comparison(questions, before, after, scores)
    assert "  before, wrong   (nothing)" in text
    assert "  before, wrong   [31mnoise noise" in text
    assert "  after, right    On its way." in text
    assert "  after, wrong    不知道" in text
    assert "\x1b" not in text


def test_long_answers_are_folded_at_spaces_and_between_chinese_characters() -> None:
    assert fold("one two three four", 8, lines=9) == ["one two", "three", "four"]
    assert fold("一二三四五六", 8, lines=9) == ["一二三四", "五六"]
    assert fold("call 555 or 拨打电话 now", 10, lines=9) == ["call 555", "or 拨打电", "话 now"]
    assert fold("one two three four", 8, lines=2) == ["one two", "three..."]
    assert fold("x" * 25, 10, lines=2) == ["x" * 10, "x" * 7 + "..."]
    assert fold("", 10, lines=2) == [""]


@pytest.mark.parametrize("first_step", [0, 10])
def test_the_loss_before_is_known_only_when_it_was_measured_before(
    tmp_path: Path, first_step: int
) -> None:
    run = RunDir.create(tmp_path / "run", "name: x\n", recipe_name="x")
    assert validation_losses(run) == (None, None)
    with EventWriter(run, 1) as events:
        for step, loss in ((first_step, 3.0), (20, 1.0), (30, float("nan")), (40, 1.5)):
            events.emit("evaluation", step=step, loss=loss)
    assert validation_losses(run) == (3.0 if first_step == 0 else None, 1.0)
