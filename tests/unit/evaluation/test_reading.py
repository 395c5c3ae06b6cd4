"""What curves say. F9, F12, X9; D24: the band of 0.7 to 1.4."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from string import Formatter

import pytest

from tunesmith.evaluation.reading import TEXTS, Curve, Finding, read_curves


def falling(
    steps: int = 200, start: float = 3.0, end: float = 1.0, noise: float = 0.02
) -> list[float]:
    chance = random.Random(1)
    return [
        (end + (start - end) * math.exp(-8 * n / steps)) * (1 + chance.gauss(0, noise))
        for n in range(steps)
    ]


def codes(curve: Curve) -> list[str]:
    return [finding.code for finding in read_curves(curve)]


def test_early_on_the_only_advice_is_to_wait() -> None:
    assert codes(Curve(falling(5), done_steps=5, total_steps=100)) == ["early"]
    assert codes(Curve(falling(30), done_steps=30, total_steps=10_000)) == ["early"]
    assert codes(Curve(falling(5), done_steps=5, total_steps=5, is_over=True)) == ["too_short"]


def test_a_good_curve_ends_in_the_band_and_may_be_stopped() -> None:
    good = Curve(falling(), [(50, 1.6), (200, 1.2)], 1e-4, 200, 200, is_over=True)
    [finding] = read_curves(good)
    assert (finding.code, finding.weight) == ("in_band", "good")
    assert finding.numbers["loss"] == pytest.approx(1.0, abs=0.05)


def test_a_curve_that_does_not_fall_points_to_rate_model_or_data() -> None:
    flat = [2.5 + 0.01 * (n % 3) for n in range(100)]
    assert "not_falling" in codes(Curve(flat, [], 1e-4, 100, 100))
    [slow, *_] = read_curves(Curve(flat, [], 1e-7, 100, 100))
    assert (slow.code, slow.changes) == ("not_falling_slow", {"training.learning_rate": 5e-7})


def test_strong_fluctuation_is_told_with_its_size() -> None:
    found = read_curves(Curve(falling(noise=0.6), [(9, 1.0)], 1e-4, 200, 200))
    [noisy] = [finding for finding in found if finding.code == "fluctuating"]
    assert 40 <= noisy.numbers["percent"] <= 80
    assert "fluctuating" not in codes(Curve(falling(noise=0.1), [(9, 1.0)], 1e-4, 200, 200))


def test_a_loss_that_rises_again_asks_for_a_lower_rate() -> None:
    losses = falling(100) + [1.1 + 0.03 * n for n in range(100)]
    [first, *_] = read_curves(Curve(losses, [], 3e-4, 200, 400))
    assert (first.code, first.changes) == ("rising", {"training.learning_rate": 9e-5})


def test_a_validation_loss_that_rises_is_overfitting() -> None:
    validation = [(50, 1.5), (100, 1.2), (150, 1.4), (200, 1.9)]
    found = read_curves(Curve(falling(end=0.2), validation, 1e-4, 200, 200, is_over=True))
    [first, second] = found
    assert first.numbers == {"step": 100, "best": 1.2, "last": 1.9}
    assert [first.code, second.code] == ["overfitting", "below_band"]


def test_a_training_that_ends_too_early_is_told_to_go_on() -> None:
    line = [3.0 - 0.005 * n for n in range(200)]
    assert "above_band_falling" in codes(Curve(line, [(200, 2.0)], 1e-4, 200, 200, is_over=True))
    line = [2.0 - 0.005 * n for n in range(200)]
    assert codes(Curve(line, [(200, 1.1)], 1e-4, 200, 200, is_over=True)) == ["still_falling"]


def test_whether_it_still_falls_is_read_from_validation_where_that_was_measured_often() -> None:
    losses = [7.0 - 0.1 * n for n in range(25)] + [4.5, 4.6, 4.4, 4.5, 4.5]
    validation = [(step, 4.2 + (30 - step) ** 2 / 300) for step in range(0, 31, 3)]
    [finding] = read_curves(Curve(losses, validation, 1e-3, 30, 30, is_over=True))
    assert finding.code == "above_band_falling"
    validation = [(step, max(4.2, 7.0 - step / 5)) for step in range(0, 31, 3)]
    [finding] = read_curves(Curve(losses, validation, 1e-3, 30, 30, is_over=True))
    assert finding.code == "above_band"


def test_a_training_that_made_nothing_better_is_not_said_to_learn_by_heart() -> None:
    validation = [(0, 0.69), (10, 3.7), (20, 4.0), (30, 1.97)]
    found = read_curves(Curve(falling(30, 3.0, 1.0), validation, 1e-3, 30, 30, is_over=True))
    assert found[0].code == "never_better"
    assert found[0].changes == {"training.learning_rate": 3e-4}


def test_every_text_fills_its_places_in_both_languages() -> None:
    for code, languages in TEXTS.items():
        assert languages.keys() == {"en", "zh"}
        names = [
            {name for _, name, _, _ in Formatter().parse(" ".join(texts)) if name}
            for texts in languages.values()
        ]
        assert names[0] >= names[1] or names[1] >= names[0], code
    finding = Finding("in_band", "good", {"loss": 1.0, "low": 0.7, "high": 1.4})
    assert "0.7 to 1.4" in finding.told("en")[0]
    assert "0.7-1.4" in finding.told("zh")[0]


@pytest.mark.parametrize("seed", range(20))
def test_any_finite_curve_can_be_read(seed: int) -> None:
    chance = random.Random(seed)
    losses = [chance.choice([0.0, 1e-9, 1.0, 1e9]) * chance.random() for _ in range(40 + seed)]
    validation = [(n, chance.random()) for n in range(seed % 4)]
    for finding in read_curves(Curve(losses, validation, chance.random(), 40, 60)):
        assert finding.told("en")[0]
        assert finding.told("zh")[0]


def test_a_loss_of_preferences_is_measured_by_no_band_of_answers() -> None:
    bands = {"in_band", "above_band", "above_band_falling", "below_band"}
    of_answers = Curve(falling(), [(50, 1.6), (200, 1.2)], 1e-4, 200, 200, is_over=True)
    assert set(codes(of_answers)) & bands
    assert not set(codes(replace(of_answers, has_band=False))) & bands
