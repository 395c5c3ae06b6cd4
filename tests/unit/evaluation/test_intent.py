"""Does a model answer the right thing?"""

from __future__ import annotations

import pytest

from tunesmith.evaluation.intent import score_answers, similarity

LOGIN = "I'm sorry you can't get into your account. Please call 555-0101."
REFUND = "Your refund is on its way. It takes three days."
CHINESE = "登录不上账户确实让人着急，请拨打 555-0101。"


def test_the_own_reference_is_right_and_another_is_not() -> None:
    score = score_answers([LOGIN, LOGIN, CHINESE], [LOGIN, REFUND, CHINESE])
    assert [verdict.right for verdict in score.verdicts] == [True, False, True]
    assert (score.right, score.total) == (2, 3)
    assert score.accuracy == pytest.approx(2 / 3)


def test_white_space_and_a_small_slip_do_not_count() -> None:
    answer = "  I'm sorry you can't get into your  account.\nPlease call 555-0101 "
    assert score_answers([answer], [LOGIN]).right == 1


def test_half_an_answer_is_not_right_though_nothing_is_nearer() -> None:
    score = score_answers([LOGIN[:30], REFUND], [LOGIN, REFUND])
    assert score.verdicts[0].nearest == 0
    assert not score.verdicts[0].right


def test_an_empty_answer_is_not_right() -> None:
    score = score_answers(["", " \n"], [LOGIN, CHINESE])
    assert score.right == 0


def test_the_nearest_of_two_like_references_wins() -> None:
    a, b = "Press the red button to stop it.", "Press the red button to stop us."
    assert score_answers([b], [a]).right == 1  # nothing nearer is known
    assert [v.right for v in score_answers([b, b], [a, b]).verdicts] == [False, True]


def test_similarity_is_one_for_equal_texts_and_symmetric() -> None:
    assert similarity(LOGIN, LOGIN) == 1.0
    assert similarity("", LOGIN) == similarity(LOGIN, "")
    assert 0 < similarity(LOGIN, REFUND) < 0.5


def test_answers_and_references_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 answers and 1 references"):
        score_answers(["a", "b"], ["a"])


def test_no_rows_have_no_accuracy() -> None:
    assert score_answers([], []).accuracy == 0.0
