"""The classifier of text quality: how well it does on rows it has not seen, and own labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.data.quality.conftest import Make, silent

from tunesmith.data.quality.classifier import Classifier, own_classifier
from tunesmith.data.quality.corruptions import CORRUPTIONS
from tunesmith.data.quality.examples import own_examples, with_spoiled
from tunesmith.data.quality.score import by_classifier, classifier_of_labels
from tunesmith.errors import DataError, InputError

ROWS = [
    (("How do bees find home?", "Bees find home by the sun. They also know the land."), "en"),
    (("What do cows eat?", "Cows eat grass and hay. In winter they get silage as well."), "en"),
    (("茶叶怎么保存？", "茶叶要放在阴凉干燥的地方，避免阳光直射，开封后尽快喝完。"), "zh"),
    (("怎样学好英语？", "每天坚持听和读，多开口说，遇到生词及时记下来，慢慢就会进步。"), "zh"),
]


def test_rows_are_spoiled_in_the_same_way_every_time_and_never_left_as_they_were() -> None:
    once, again = with_spoiled(ROWS, 3), with_spoiled(ROWS, 3)
    assert once == again
    good = {example.pair for example in once if example.good}
    assert len(once) == len(ROWS) * (1 + len(CORRUPTIONS))
    assert not good & {example.pair for example in once if not example.good}


def test_no_answer_that_is_held_out_is_trained_on() -> None:
    training, held = own_examples()
    known = {example.pair for example in training}
    assert not known & {example.pair for example in held if example.good}


def test_the_accuracy_on_rows_held_out_is_what_the_documents_say(classifier: Classifier) -> None:
    """docs/data-quality.md: 89%; strong on broken text, blind to answers of other questions."""
    assert classifier.facts["accuracy"] == pytest.approx(0.89, abs=0.02)
    told = classifier.facts["recognised"]
    assert min(told[kind] for kind in ("good", "shuffled", "cut", "repeated", "garbled")) > 0.93
    assert told["swapped"] < 0.2


def test_a_trained_classifier_is_remembered_and_gives_the_same_answers(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Classifier:
        raise AssertionError("trained again")

    monkeypatch.setattr(
        "tunesmith.data.quality.classifier._trained_on_own_rows", lambda: classifier
    )
    first = own_classifier(tmp_path)
    monkeypatch.setattr("tunesmith.data.quality.classifier._trained_on_own_rows", fail)
    again = own_classifier(tmp_path)
    pairs = [pair for pair, _ in ROWS]
    assert first.quality(pairs).tolist() == again.quality(pairs).tolist()
    assert again.facts == classifier.facts


def test_broken_rows_are_worse_than_whole_ones(classifier: Classifier) -> None:
    examples = with_spoiled(ROWS, 1)
    by_kind: dict[str, list[float]] = {}
    quality = classifier.quality([example.pair for example in examples]).tolist()
    for example, value in zip(examples, quality, strict=True):
        by_kind.setdefault(example.kind, []).append(value)
    for kind in ("garbled", "boilerplate", "repeated", "shuffled"):
        pairs = zip(by_kind[kind], by_kind["good"], strict=True)
        assert sum(bad < good for bad, good in pairs) >= 3, kind


def test_what_a_row_gets_does_not_depend_on_the_rows_beside_it(
    classifier: Classifier, make: Make
) -> None:
    version = make([pair for pair, _ in ROWS])
    together = by_classifier(version, classifier, processes=1, on_progress=silent).values
    alone = [float(classifier.quality([pair])[0]) for pair, _ in ROWS]
    assert together.tolist() == pytest.approx(alone, abs=1e-6)


def test_a_classifier_learns_from_labels_of_the_user(make: Make) -> None:
    polite = "Thank you for asking. We will send it tomorrow, with pleasure."
    rude = "no idea, stop asking me such things, whatever"
    rows = [
        {"question": f"Question {n}", "answer": f"{text} Number {n}.", "kept": label}
        for n in range(30)
        for text, label in ((polite, "yes"), (rude, "no"))
    ]
    rows.append({"question": "Where is it?", "answer": "On its way.", "kept": None})
    made = classifier_of_labels(make(rows), "kept")
    assert made.facts["accuracy"] == 1.0
    assert made.facts["training_rows"] == {"good": 24, "bad": 24}
    good, bad = made.quality([("Where?", polite), ("Where?", rude)]).tolist()
    assert good > 0.5 > bad


def test_labels_that_are_too_few_or_unclear_are_errors_that_say_so(make: Make) -> None:
    rows = [{"question": f"q{n}", "answer": f"answer {n}", "kept": n % 9 == 0} for n in range(60)]
    with pytest.raises(DataError, match="needs 20 of each"):
        classifier_of_labels(make(rows), "kept")
    rows[3]["kept"] = "perhaps"
    with pytest.raises(InputError, match="Row 4: kept is 'perhaps'"):
        classifier_of_labels(make(rows, "unclear"), "kept")
