"""Groups of questions, near repetitions and the overall figure."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from tests.unit.data.quality.conftest import Make, silent

from tunesmith.data import editing
from tunesmith.data.expression import Condition
from tunesmith.data.quality.clusters import Words, effective_number, words_of
from tunesmith.data.quality.diversity import explore, write_columns
from tunesmith.data.store import Catalog
from tunesmith.data.store.rows import stored_rows

TOPICS = {
    "cook": ["soup", "bread", "rice", "cake", "salad", "pasta"],
    "repair": ["bicycle", "engine", "window", "lamp", "radio", "clock"],
    "翻译": ["诗歌", "合同", "新闻", "小说", "邮件", "菜单"],
    "计算": ["面积", "体积", "利息", "速度", "平均", "总和"],
}


def _questions() -> list[tuple[str, str]]:
    """24 rows of each topic; each names three of its things."""
    asked: list[tuple[str, str]] = []
    for topic, things in TOPICS.items():
        some = list(combinations(things, 3)) + [tuple(things[at : at + 3]) for at in range(4)]
        form = "How do I {} {}, {} and {}?" if topic.isascii() else "怎样{}{}，还有{}、{}？"
        asked += [(form.format(topic, *three), "So.") for three in some]
    return asked


def test_questions_of_one_kind_share_a_group_in_english_and_chinese(make: Make) -> None:
    found = explore(make(_questions()), num_clusters=4, on_progress=silent)
    groups = found.groups.reshape(4, 24)
    assert all(len(set(part.tolist())) == 1 for part in groups)
    assert len(set(groups[:, 0].tolist())) == 4
    assert found.facts["languages"] == {"zh": 0.5, "latin": 0.5}
    named = {word for group in found.facts["clusters"] for word in group["words"]}
    assert {"cook", "repair", "翻译", "计算"} <= named


def test_the_same_seed_gives_the_same_groups(make: Make) -> None:
    version = make(_questions())
    once = explore(version, seed=4, on_progress=silent)
    again = explore(version, seed=4, on_progress=silent)
    assert once.groups.tolist() == again.groups.tolist()
    assert once.facts == again.facts


def test_rows_in_several_pieces_are_grouped_as_in_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make(_questions())
    whole = explore(version, num_clusters=4, on_progress=silent)
    monkeypatch.setattr("tunesmith.data.quality.diversity._BATCH", 7)
    pieces = explore(version, num_clusters=4, on_progress=silent)
    assert whole.groups.tolist() == pieces.groups.tolist()


def _effective(questions: list[str]) -> float:
    block = words_of(questions)
    return effective_number(Words.of([block]).weighted(block, mild=True))


def test_the_overall_figure_counts_rows_that_speak_of_different_things() -> None:
    assert _effective(["green apples", "old houses", "fast trains"]) == pytest.approx(3, abs=1e-3)
    assert _effective(["green apples", "green apples", "fast trains"]) < 2.01
    phrase = [f"Where is the parcel that {name} ordered?" for name in ("Ann", "Bob", "Cleo", "Dan")]
    assert _effective(phrase) < 3
    assert _effective(["?", "!", "..."]) == pytest.approx(1, abs=1e-3)


def test_near_repetitions_are_counted_and_can_be_removed(catalog: Catalog, make: Make) -> None:
    long = "Please tell me how long the delivery of a large parcel to the islands usually takes"
    rows = [(f"{long}?", "Ten days."), (f"{long}!", "Ten days."), ("Where is it?", "Here.")]
    version = make(rows)
    found = explore(version, on_progress=silent)
    assert found.facts["near_same"]["rows"] == 1
    written = write_columns(catalog, version, found, on_progress=silent)
    assert written is not None
    second = list(stored_rows(written.batches()))[1]
    assert second.extra["near_same_as"] == 1
    assert isinstance(second.extra["cluster"], int)
    condition = Condition("near_same_as == None")
    kept = editing.keep(catalog, written, condition, on_progress=silent)
    assert kept is not None
    assert kept.manifest.rows == len(rows) - 1
    assert write_columns(catalog, written, found, on_progress=silent) is None


def test_one_row_and_rows_without_words_are_a_dataset_too(make: Make) -> None:
    one = explore(make([("Hello?", "Yes.")]), on_progress=silent)
    assert one.facts["num_clusters"] == 1
    signs = explore(make([("?" * n, "ok") for n in range(1, 6)], "signs"), on_progress=silent)
    assert np.isfinite(signs.facts["diversity"]["value"])


def test_the_advice_comes_from_the_figures(make: Make) -> None:
    rows = [(f"Where is my parcel number {n} that I ordered last week?", "Soon.") for n in range(9)]
    facts = explore(make(rows), on_progress=silent).facts
    assert "fewer than the 100" in facts["advice"][0]
    assert any("resemble each other" in line for line in facts["advice"])
