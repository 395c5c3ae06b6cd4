"""What a tokenizer shows, by line: rows that are cut, refused, or teach nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tunesmith.data.check.check import Report
from tunesmith.data.check.tokens import check_tokens
from tunesmith.data.lengths import Lengths, measure
from tunesmith.data.renderer import Renderer
from tunesmith.data.stats import Plan, histogram, recommend, statistics, summary
from tunesmith.data.subject import Files, files_subject
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.recipe import Dataset


def _silent(kind: str, done: int, total: int) -> None:
    assert kind
    assert done >= 0 <= total


@pytest.fixture
def renderer(tokenizer_of: Callable[[str], TextTokenizer]) -> Renderer:
    return Renderer(tokenizer_of("chatml"))


def _files(tmp_path: Path, rows: list[Any]) -> Files:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return files_subject([path], Dataset(dataset="d.jsonl"), None)


def _qa(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer}


def test_rows_that_are_cut_are_told_with_what_is_lost(tmp_path: Path, renderer: Renderer) -> None:
    rows = [_qa("q", "a"), _qa("q", "long " * 40), _qa("long " * 60, "a")]
    files, report = _files(tmp_path, rows), Report("d")
    check_tokens(files, renderer, 100, report, cache_dir=tmp_path, on_progress=_silent)
    cut = report.findings.get("overlong")
    assert cut is not None
    assert [place.line for place in cut.places] == [2]
    lengths = measure(files, renderer, cache_dir=tmp_path, on_progress=_silent)
    lost = int(lengths.lengths[1]) - 100
    assert f"{lost} lost at the end" in cut.places[0].excerpt
    assert cut.detail["tokens_lost"] == lost + int(lengths.lengths[2]) - 100
    nothing = report.findings.get("no_trainable_tokens_after_truncation")
    assert nothing is not None
    assert [place.line for place in nothing.places] == [3]


def test_documents_are_split_and_never_cut(tmp_path: Path, renderer: Renderer) -> None:
    report = Report("d")
    files = _files(tmp_path, [{"text": "word " * 100}])
    check_tokens(files, renderer, 50, report, cache_dir=tmp_path, on_progress=_silent)
    assert "overlong" not in report.findings


def test_rows_without_a_learned_token_are_told(tmp_path: Path, renderer: Renderer) -> None:
    silent = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}]
    files, report = _files(tmp_path, [{"messages": silent}] * 3), Report("d")
    check_tokens(files, renderer, 100, report, cache_dir=tmp_path, on_progress=_silent)
    finding = report.findings.get("no_trainable_tokens")
    assert finding is not None
    assert (finding.count, [place.line for place in finding.places]) == (3, [1, 2, 3])


def test_lengths_are_those_of_the_renderer(tmp_path: Path, renderer: Renderer) -> None:
    rows = [
        {"messages": [{"role": r, "content": c} for r, c in turns]}
        for turns in (
            [("user", "one"), ("assistant", "two")],
            [("user", "a"), ("assistant", "bb"), ("user", "c"), ("assistant", "dddd")],
        )
    ]
    files = _files(tmp_path, rows)
    lengths = measure(files, renderer, cache_dir=tmp_path, on_progress=_silent, max_length=20)
    from tunesmith.data.convert import Columns, messages_row

    encoded = renderer.encode([messages_row(row, Columns(messages="messages")) for row in rows])
    assert lengths.lengths.tolist() == [len(row.ids) for row in encoded]
    assert lengths.label_counts.tolist() == [int(row.targets.sum()) for row in encoded]
    assert lengths.kept_at(20).tolist() == [int(row.targets[:20].sum()) for row in encoded]
    assert lengths.answers.tolist() == [1, 2]


def test_a_second_measurement_reads_the_first(tmp_path: Path, renderer: Renderer) -> None:
    files = _files(tmp_path, [_qa("q", "a")] * 5)
    first = measure(files, renderer, cache_dir=tmp_path, on_progress=_silent)

    def never(kind: str, done: int, total: int) -> None:
        raise AssertionError((kind, done, total))

    again = measure(files, renderer, cache_dir=tmp_path, on_progress=never)
    assert again.lengths.tolist() == first.lengths.tolist()


def _lengths(
    lengths: list[int], labels: list[int], *, documents: bool = False, context: int | None = None
) -> Lengths:
    """Rows whose labels stand at their ends."""
    cuts = tuple(sorted({256, 512, 1024, 2048, context or 256}))
    whole, learned = np.array(lengths, np.int32), np.array(labels, np.int32)
    prompt = whole - learned
    kept = np.stack([np.clip(cut - prompt, 0, learned) for cut in cuts], axis=1).astype(np.int32)
    tally = {
        "source": "d.jsonl",
        "rows_read": len(lengths),
        "rows_kept": len(lengths),
        "training_rows": len(lengths),
        "dropped": {},
    }
    zeros = np.zeros(len(lengths), np.int64)
    return Lengths(
        np.arange(1, len(lengths) + 1),
        zeros.astype(np.uint16),
        whole,
        learned,
        np.ones_like(whole),
        kept,
        cuts,
        [tally],
        documents=np.full(len(lengths), documents),
        context=context,
    )


def test_the_recommended_length_keeps_99_of_100_rows_whole() -> None:
    assert recommend(_lengths([300] * 99 + [900], [100] * 100))["max_length"] == 512
    assert recommend(_lengths([300] * 98 + [900] * 2, [100] * 100))["max_length"] == 1024
    told = recommend(_lengths([300] * 99 + [2000], [1] * 99 + [1900]))
    assert told["max_length"] == 2048


def test_a_recommendation_says_its_rule_and_which_row_forces_it() -> None:
    told = recommend(_lengths([300] * 199 + [2000], [10] * 199 + [1900]))
    assert told["max_length"] == 2048
    assert "99 of 100 rows whole and 99% of the answers" in told["why"]
    assert "1,024 would keep 99.5% of the rows whole and " in told["why"]
    assert "d.jsonl: 200 alone loses" in told["why"]
    assert told["rejected"]["max_length"] == 1024
    assert [row["line"] for row in told["forced_by"]] == [200]


def test_no_length_is_recommended_that_the_model_does_not_take() -> None:
    told = recommend(_lengths([300] * 98 + [2000] * 2, [100] * 100, context=1024))
    assert told["max_length"] == 1024
    assert "all that the model takes" in told["why"]
    assert recommend(_lengths([700] * 100, [100] * 100, context=600))["max_length"] == 600
    facts = statistics(_lengths([2000] * 3, [100] * 3, context=1024), Plan())
    assert max(entry["max_length"] for entry in facts["max_lengths"]) == 1024


def test_documents_are_counted_in_windows_and_lose_nothing() -> None:
    lengths = _lengths([1100, 300, 1025], [1099, 299, 1024], documents=True)
    facts = statistics(lengths, Plan(), 512)
    at_512 = facts["max_lengths"][0]
    assert (at_512["tokens_lost"], at_512["windows"]) == (0, 3 + 1 + 2)
    # The first token of each window but the first is not learned, and a lone one not read.
    assert facts["epoch"] == {"rows": 6, "tokens": 2424, "label_tokens": 1097 + 299 + 1022}
    assert facts["packing"]["tokens"] == 2424
    assert facts["token_num"]["steps"] == 1
    assert "windows" in facts["recommended"]["why"]


def test_an_epoch_leaves_out_what_training_leaves_out() -> None:
    facts = statistics(_lengths([300, 900], [100, 100]), Plan(batch_size=1), 512)
    assert facts["epoch"] == {"rows": 1, "tokens": 300, "label_tokens": 100}
    assert facts["token_num"]["steps"] == 1
    assert facts["packing"]["tokens"] == 300


def test_parts_of_a_conversation_count_as_one_row(
    tmp_path: Path, tokenizer_of: Callable[[str], TextTokenizer]
) -> None:
    renderer = Renderer(tokenizer_of("qwen3"))
    turns = [("user", "q " * 10), ("assistant", "<think>\nwhy\n</think>\n\nno")] * 3
    chat = {"messages": [{"role": role, "content": text} for role, text in turns]}
    files, report = _files(tmp_path, [chat, _qa("q", "a")]), Report("d")
    lengths = measure(files, renderer, cache_dir=tmp_path, on_progress=_silent)
    parts = lengths.lengths[lengths.lines == 1]
    assert len(parts) > 1
    check_tokens(
        files, renderer, int(parts.max()) - 1, report, cache_dir=tmp_path, on_progress=_silent
    )
    cut = report.findings.get("overlong")
    assert cut is not None
    assert (cut.count, [place.line for place in cut.places]) == (1, [1])
    assert "no_trainable_tokens_after_truncation" not in report.findings
    few = Report("d")
    check_tokens(files, renderer, 20, few, cache_dir=tmp_path, on_progress=_silent)
    nothing = few.findings.get("no_trainable_tokens_after_truncation")
    assert nothing is not None
    assert nothing.count == 1


def test_statistics_count_what_each_length_loses() -> None:
    facts = statistics(_lengths([300, 700], [100, 400]), Plan(epochs=2, batch_size=2), 512)
    at_512 = facts["max_lengths"][0]
    assert at_512 == {
        "max_length": 512,
        "rows_whole": 1,
        "share_whole": 0.5,
        "tokens_lost": 188,
        "label_tokens_lost": 188,
        "rows_without_labels": 0,
        "windows": 0,
    }
    assert facts["epoch"] == {"rows": 2, "tokens": 812, "label_tokens": 312}
    assert facts["token_num"]["token_num"] == 2 * 2 * 512
    assert facts["packing"] == {
        "padded_tokens": 1024,
        "tokens": 812,
        "saved": round(1 - 812 / 1024, 4),
    }


def test_a_summary_has_percentiles_as_numpy_has_them() -> None:
    told = summary(np.arange(1, 101, dtype=np.int32))
    assert (told["mean"], told["median"], told["p5"], told["p95"]) == (50.5, 50.5, 6.0, 95.0)
    assert told["p99"] == round(float(np.percentile(np.arange(1, 101), 99)), 1)
    assert (told["max"], told["total"]) == (100, 5050)
    assert summary(np.zeros(0, np.int32))["total"] == 0


def test_a_histogram_counts_every_row_once() -> None:
    values = np.array([*range(200), 100_000], np.int32)
    told = histogram(values)
    assert sum(told["counts"]) + told["beyond"] == len(values)
    assert told["beyond"] >= 1


def test_a_pair_is_one_training_row_of_two_answers(tmp_path: Path, renderer: Renderer) -> None:
    pair = {"question": "Which?", "chosen": "this one", "rejected": "that one over there"}
    files = _files(tmp_path, [pair, pair | {"question": "And now?"}])
    lengths = measure(files, renderer, cache_dir=tmp_path, on_progress=_silent)
    facts = statistics(lengths, Plan())
    assert (len(lengths), facts["rows_kept"], facts["training_rows"]) == (4, 2, 2)
