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


def _lengths(lengths: list[int], labels: list[int]) -> Lengths:
    """Rows whose labels stand at their ends."""
    cuts = (256, 512, 1024, 2048)
    whole, learned = np.array(lengths, np.int32), np.array(labels, np.int32)
    prompt = whole - learned
    kept = np.stack([np.clip(cut - prompt, 0, learned) for cut in cuts], axis=1).astype(np.int32)
    tally = {"rows_read": len(lengths), "rows_kept": len(lengths), "dropped": {}}
    zeros = np.zeros(len(lengths), np.int64)
    return Lengths(
        zeros, zeros.astype(np.uint16), whole, learned, np.ones_like(whole), kept, cuts, [tally]
    )


def test_the_recommended_length_keeps_99_of_100_rows_whole() -> None:
    assert recommend(_lengths([300] * 99 + [900], [100] * 100))[0] == 512
    assert recommend(_lengths([300] * 98 + [900] * 2, [100] * 100))[0] == 1024
    assert recommend(_lengths([300] * 99 + [2000], [1] * 99 + [1900]))[0] == 2048


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
    }
    assert facts["epoch"] == {"rows": 2, "tokens": 812, "label_tokens": 312}
    assert facts["token_num"]["token_num"] == 2 * 2 * 512
    assert facts["packing"] == {
        "padded_tokens": 1024,
        "tokens": 812,
        "saved": round(1 - 812 / 1024, 4),
    }


def test_a_summary_holds_values_that_occur() -> None:
    told = summary(np.arange(1, 101, dtype=np.int32))
    assert (told["mean"], told["median"], told["p5"], told["p95"]) == (50.5, 51, 6, 96)
    assert (told["max"], told["total"]) == (100, 5050)
    assert summary(np.zeros(0, np.int32))["total"] == 0


def test_a_histogram_counts_every_row_once() -> None:
    values = np.array([*range(200), 100_000], np.int32)
    told = histogram(values)
    assert sum(told["counts"]) + told["beyond"] == len(values)
    assert told["beyond"] >= 1
