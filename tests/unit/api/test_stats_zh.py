"""The advice of statistics in Chinese says the same as the English one that is kept."""

from __future__ import annotations

import pytest

from tunesmith.api.stats_zh import in_chinese


@pytest.mark.parametrize(
    ("whole", "lost", "told"), [(0.995, 5, "最小常用长度"), (0.6, 400, "最大长度")]
)
def test_the_reason_of_a_length_names_its_figures(whole: float, lost: int, told: str) -> None:
    facts = {
        "training_rows": 150,
        "documents": 0,
        "max_lengths": [{"max_length": 1024, "share_whole": whole, "label_tokens_lost": lost}],
        "answer_tokens": {"total": 1000},
        "recommended": {"max_length": 1024, "why": "English"},
    }
    found = in_chinese(facts)
    assert f"{whole:.1%} 的数据保持完整，保留 {1 - lost / 1000:.1%}" in found["recommended"]["why"]
    assert told in found["recommended"]["why"]
    assert "150 条" in found["advice"]
    assert facts["recommended"] == {"max_length": 1024, "why": "English"}
    unknown = in_chinese({**facts, "max_lengths": []})
    assert unknown["recommended"]["why"] == "English"
    windows = in_chinese({**facts, "documents": 150})
    assert "切分" in windows["recommended"]["why"]
