"""From recipe to rows: every row is kept or counted, and a second run starts at once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunesmith.data.prepare import Prepared, prepare
from tunesmith.data.renderer import Renderer
from tunesmith.data.table import TableWriter, TokenTable
from tunesmith.data.tokenise import Fit, Source, Tokeniser
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import DataError
from tunesmith.recipe import Data, Dataset, DataSource, Dpo, Kto, Pretrain, Sft, Stage

TokenizerOf = Callable[[str], TextTokenizer]
Row = dict[str, Any]


def qa(number: int, *, words: int = 1) -> Row:
    return {"question": f"question {number}", "answer": " ".join([f"answer{number}"] * words)}


def write(folder: Path, rows: Sequence[Row], name: str = "d.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return name


class Desk:
    """Prepares datasets in one folder with one tokenizer."""

    def __init__(self, folder: Path, tokenizer: TextTokenizer) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.progress: list[tuple[str, int, int]] = []

    def run(
        self,
        rows: Sequence[Row] | None = None,
        *,
        stage: Stage | None = None,
        seed: int = 42,
        max_context: int | None = None,
        source: Row | None = None,
        **data: Any,
    ) -> Prepared:
        if rows is not None:
            write(self.folder, rows)
        data.setdefault("train", [DataSource(dataset="d.jsonl", **(source or {}))])
        data.setdefault("validation", {"kind": "none"})
        return prepare(
            Data(**data),
            stage or Sft(),
            self.tokenizer,
            seed=seed,
            cache_dir=self.folder / "cache",
            base_dir=self.folder,
            max_context=max_context,
            on_progress=lambda *call: self.progress.append(call),
        )

    def texts(self, prepared: Prepared) -> list[str]:
        table = prepared.train
        return [self.tokenizer.decode(table.row(int(i))[0].tolist()) for i in prepared.train_rows]


@pytest.fixture
def desk(tmp_path: Path, tokenizer_of: TokenizerOf) -> Desk:
    return Desk(tmp_path, tokenizer_of("chatml"))


def test_rows_become_tokens_and_targets_in_file_order(desk: Desk) -> None:
    prepared = desk.run([qa(n) for n in range(100)])
    table = prepared.train
    assert table.lines.tolist() == list(range(1, 101))
    assert prepared.train_rows.tolist() == list(range(100))
    ids, targets = table.row(7)
    assert desk.tokenizer.decode(ids[targets == 1].tolist()) == "answer7<|im_end|>"
    assert table.lengths[7] == len(ids)
    assert table.label_counts[7] == targets.sum()
    assert prepared.report["train"]["tokens"] == table.lengths.sum()
    assert prepared.report["train"]["label_tokens"] == table.label_counts.sum()
    assert prepared.report["sources"][0]["why"].startswith("prompt_response: ")
    assert prepared.warnings == []
    assert desk.progress[-1] == ("tokenise", 100, 0)


def test_fewer_than_100_rows_are_refused_with_their_number(desk: Desk) -> None:
    """C6"""
    with pytest.raises(DataError, match="has 99 rows; at least 100 are needed") as caught:
        desk.run([qa(n) for n in range(99)])
    assert "allow_small" in caught.value.hint
    assert len(desk.run(allow_small=True).train_rows) == 99
    assert len(desk.run([qa(n) for n in range(100)]).train_rows) == 100


def test_the_minimum_is_counted_before_splitting_and_dropping(desk: Desk) -> None:
    """C6"""
    rows = [qa(n) for n in range(60)] + [{"question": "q", "answer": ""}] * 40
    prepared = desk.run(rows, validation={"kind": "split", "fraction": 0.5})
    assert len(prepared.train_rows) == 30


def test_dropped_rows_are_counted_with_their_lines(desk: Desk) -> None:
    rows = [qa(n) for n in range(100)]
    rows[3]["answer"] = rows[9]["answer"] = ""
    prepared = desk.run(rows)
    assert prepared.report["dropped"] == {"empty_answer": 2}
    assert prepared.report["sources"][0]["dropped"]["empty_answer"]["lines"] == [4, 10]
    assert [warning["code"] for warning in prepared.warnings] == ["rows_dropped"]


def test_only_the_first_hundred_lines_are_listed(desk: Desk) -> None:
    prepared = desk.run([qa(n) for n in range(10)] + [{"question": "q", "answer": ""}] * 150)
    dropped = prepared.report["sources"][0]["dropped"]["empty_answer"]
    assert dropped["count"] == 150
    assert dropped["lines"] == list(range(11, 111))


def test_data_without_a_trainable_token_is_refused_with_the_reasons(desk: Desk) -> None:
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "weight": 0},
    ]
    with pytest.raises(DataError, match=r"None of the 120 .* no_trainable_tokens 120 \(lines 1, 2"):
        desk.run([{"messages": turns}] * 120)


def test_rows_that_the_template_refuses_are_dropped_with_its_words(
    tmp_path: Path, tokenizer_of: TokenizerOf
) -> None:
    desk = Desk(tmp_path, tokenizer_of("gemma"))
    twice = {"messages": [{"role": role, "content": "x"} for role in ("user", "user", "assistant")]}
    fine = {"messages": [{"role": role, "content": "x"} for role in ("user", "assistant")]}
    refused = desk.run([twice] + [fine] * 99).report["sources"][0]["dropped"]["template_refused"]
    assert refused["lines"] == [1]
    assert "alternate" in refused["example"]


def long_rows() -> list[Row]:
    """Row 3 is long; row 5 is long before its answer begins."""
    rows = [qa(n) for n in range(100)]
    rows[2] = qa(2, words=50)
    rows[4] = {"question": "long " * 50, "answer": "a"}
    return rows


def test_overlong_rows_are_truncated_and_counted(desk: Desk) -> None:
    """C17"""
    prepared = desk.run(long_rows(), max_length=128)
    report = prepared.report
    assert report["truncated"] == 1
    assert report["sources"][0]["truncated"]["lines"] == [3]
    assert report["dropped"] == {"no_trainable_tokens_after_truncation": 1}
    assert report["rows_kept"] == 99
    assert prepared.train.lengths.max() == 128
    assert desk.texts(prepared)[2].startswith("<|im_start|>user\nquestion 2")
    assert report["lengths"]["max"] > 128
    assert {warning["code"] for warning in prepared.warnings} == {"rows_truncated", "rows_dropped"}


def test_overlong_rows_are_dropped_and_counted(desk: Desk) -> None:
    report = desk.run(long_rows(), max_length=128, overlong="drop").report
    assert report["sources"][0]["dropped"]["overlong"]["lines"] == [3, 5]
    assert report["truncated"] == 0


def test_overlong_rows_can_be_an_error(desk: Desk) -> None:
    with pytest.raises(DataError, match="2 rows are longer than 128 tokens") as caught:
        desk.run(long_rows(), max_length=128, overlong="error")
    assert caught.value.details["lines"] == [3, 5]


def test_the_models_context_limits_rows_with_a_warning(desk: Desk) -> None:
    prepared = desk.run(long_rows(), max_length=1024, max_context=128)
    assert prepared.train.lengths.max() == 128
    assert prepared.report["max_length"] == 128
    assert prepared.warnings[0]["code"] == "context_shorter"


def test_advice_on_long_rows_never_goes_beyond_the_models_context(desk: Desk) -> None:
    rows = [qa(n, words=30) for n in range(100)]

    def advice(**settings: Any) -> str:
        warnings = desk.run(rows, **settings).warnings
        return next(w["hint"] for w in warnings if w["code"] == "rows_truncated")

    suggested = desk.run(rows).report["lengths"]["suggested_max_length"]
    assert f"data.max_length: {suggested} keeps 99" in advice(max_length=128, max_context=4096)
    within = advice(max_length=128, max_context=160)
    assert within.startswith("Raise data.max_length (this model takes 160 tokens at most)")
    beyond = advice(max_length=1024, max_context=128)
    assert beyond.startswith("128 tokens are all that this model takes: split or shorten")
    assert "longer context" in beyond
    with pytest.raises(DataError) as caught:
        desk.run(rows, max_length=1024, max_context=128, overlong="error")
    assert caught.value.hint.startswith("128 tokens are all that this model takes")
    assert "truncate or drop" in caught.value.hint


def test_plain_text_in_a_stage_of_answers_is_pointed_out(desk: Desk) -> None:
    rows = [{"text": f"document {n} and its words"} for n in range(100)]
    prepared = desk.run(rows)
    (told,) = (w for w in prepared.warnings if w["code"] == "plain_text_rows")
    assert "d.jsonl are plain text" in told["message"]
    assert "stage: pt" in told["hint"]
    documents = desk.run(rows, stage=Pretrain())
    assert "plain_text_rows" not in [warning["code"] for warning in documents.warnings]


def test_validation_rows_that_cannot_be_used_are_counted_by_reason(desk: Desk) -> None:
    rows = [qa(n) for n in range(100)]
    empty = [{"question": "q", "answer": ""}] * 3
    write(desk.folder, [rows[0], *empty], "v.jsonl")
    prepared = desk.run(rows, validation={"kind": "dataset", "dataset": "v.jsonl"})
    (told,) = (w for w in prepared.warnings if w["code"] == "no_validation_rows")
    assert told["message"] == (
        "No validation rows are left: of 4 rows, 1 equal a training row, 3 empty_answer."
    )


def test_the_report_suggests_a_length_from_the_tokens(desk: Desk) -> None:
    """C17: the mean number of tokens per row, and a value that keeps nearly all rows whole."""
    prepared = desk.run([qa(n, words=10) for n in range(200)])
    lengths = prepared.report["lengths"]
    assert lengths["mean"] == pytest.approx(prepared.train.lengths.mean(), abs=0.1)
    assert lengths["p99"] <= lengths["suggested_max_length"] < lengths["p99"] + 64


def test_a_split_is_drawn_at_random_by_the_seed(desk: Desk) -> None:
    """C11"""
    split = {"kind": "split", "fraction": 0.1}
    first = desk.run([qa(n) for n in range(200)], validation=split)
    again, other = desk.run(validation=split), desk.run(validation=split, seed=7)
    assert first.validation is not None
    assert again.validation is not None
    assert other.validation is not None
    assert len(first.validation) == 20
    assert first.validation.lines.tolist() == again.validation.lines.tolist()
    assert first.validation.lines.tolist() != other.validation.lines.tolist()
    assert first.fingerprint == again.fingerprint != other.fingerprint
    lines = set(first.train.lines[first.train_rows].tolist())
    assert lines.isdisjoint(first.validation.lines.tolist())
    assert len(lines) == 180
    assert max(first.validation.lines) > 100


def test_a_large_split_keeps_100_random_rows_and_returns_the_rest(desk: Desk) -> None:
    """C11"""
    prepared = desk.run([qa(n) for n in range(400)], validation={"kind": "split", "fraction": 0.5})
    assert prepared.validation is not None
    assert len(prepared.validation) == 100
    assert len(prepared.train_rows) == 300
    assert prepared.report["validation"]["returned_to_training"] == 100
    assert max(prepared.validation.lines) > 200


def test_a_validation_dataset_gives_its_first_rows(desk: Desk) -> None:
    """C12"""
    write(desk.folder, [qa(1000 + n) for n in range(150)], "v.jsonl")
    prepared = desk.run(
        [qa(n) for n in range(100)], validation={"kind": "dataset", "dataset": "v.jsonl"}
    )
    assert prepared.validation is not None
    assert prepared.validation.lines.tolist() == list(range(1, 101))
    assert len(prepared.train_rows) == 100


def test_exact_duplicates_of_training_rows_leave_validation_and_are_counted(desk: Desk) -> None:
    write(desk.folder, [qa(n) for n in (0, 1, 500)], "v.jsonl")
    prepared = desk.run(
        [qa(n) for n in range(100)], validation={"kind": "dataset", "dataset": "v.jsonl"}
    )
    assert prepared.validation is not None
    assert prepared.validation.lines.tolist() == [3]
    assert prepared.report["validation"]["duplicates_removed"] == 2


def test_a_split_of_equal_rows_leaves_no_validation_and_says_so(desk: Desk) -> None:
    prepared = desk.run([qa(1)] * 100, validation={"kind": "split", "fraction": 0.1})
    assert prepared.validation is None
    assert prepared.report["validation"]["duplicates_removed"] == 10
    assert [warning["code"] for warning in prepared.warnings] == ["no_validation_rows"]


def test_a_validation_dataset_without_a_usable_row_is_a_warning(desk: Desk) -> None:
    write(desk.folder, [{"question": "q", "answer": ""}], "v.jsonl")
    prepared = desk.run(
        [qa(n) for n in range(100)], validation={"kind": "dataset", "dataset": "v.jsonl"}
    )
    assert prepared.validation is None
    assert prepared.report["validation"]["sources"][0]["dropped"]["empty_answer"]["lines"] == [1]
    assert [warning["code"] for warning in prepared.warnings] == ["no_validation_rows"]


@pytest.mark.parametrize(("rate", "expected"), [(0.25, 50), (1.0, 200), (2.5, 500), (0.01, 2)])
def test_a_sampling_rate_draws_rows_at_random(desk: Desk, rate: float, expected: int) -> None:
    """C9"""
    prepared = desk.run([qa(n) for n in range(200)], source={"sampling_rate": rate})
    rows, counts = np.unique(prepared.train_rows, return_counts=True)
    assert len(prepared.train_rows) == expected
    assert counts.max() - (counts.min() if len(rows) == 200 else 0) <= 1
    again = desk.run(source={"sampling_rate": rate})
    assert again.train_rows.tolist() == prepared.train_rows.tolist()


def test_sampling_is_each_datasets_own(desk: Desk) -> None:
    """C9"""
    write(desk.folder, [qa(n) for n in range(100)], "a.jsonl")
    write(desk.folder, [qa(n) for n in range(100, 150)], "b.jsonl")
    prepared = desk.run(
        train=[
            DataSource(dataset="a.jsonl", sampling_rate=0.5),
            DataSource(dataset="b.jsonl", sampling_rate=2),
        ]
    )
    table = prepared.train
    names = [table.source_names[int(s)] for s in table.sources[prepared.train_rows]]
    assert (names.count("a.jsonl"), names.count("b.jsonl")) == (50, 100)


def test_max_samples_takes_the_first_rows_and_counts_the_rest(desk: Desk) -> None:
    prepared = desk.run([qa(n) for n in range(150)], source={"max_samples": 120})
    assert prepared.train.lines.tolist() == list(range(1, 121))
    assert prepared.report["rows_unused"] == 30


def test_a_folder_is_one_dataset(desk: Desk) -> None:
    (desk.folder / "set").mkdir()
    write(desk.folder / "set", [qa(n) for n in range(80)], "1.jsonl")
    write(desk.folder / "set", [qa(n) for n in range(80, 160)], "2.jsonl")
    prepared = desk.run(train=[DataSource(dataset="set", max_samples=100)])
    assert prepared.train.source_names == ["1.jsonl", "2.jsonl"]
    assert np.bincount(prepared.train.sources).tolist() == [80, 20]
    assert prepared.report["rows_unused"] == 60


def test_documents_are_split_into_windows_and_never_truncated(desk: Desk) -> None:
    texts = [f"document {n} " * (n % 7 + 1) for n in range(100)]
    prepared = desk.run([{"text": text} for text in texts], stage=Pretrain(), max_length=32)
    table = prepared.train
    assert table.lengths.max() <= 32
    assert table.label_counts.tolist() == (table.lengths - 1).tolist()
    for record, text in enumerate(texts):
        rows = table.rows_of(np.array([record]))
        joined = np.concatenate([table.row(int(row))[0] for row in rows])
        assert desk.tokenizer.decode(joined.tolist()) == f"{text}<|im_end|>"
    assert prepared.report["truncated"] == 0
    assert prepared.report["windows"] > 0
    assert prepared.report["training_rows"] == len(table)


def test_windows_of_a_document_stay_on_one_side_of_a_split(desk: Desk) -> None:
    prepared = desk.run(
        [{"text": f"document {n} " * 9} for n in range(100)],
        stage=Pretrain(),
        max_length=32,
        validation={"kind": "split", "fraction": 0.2},
    )
    assert prepared.validation is not None
    assert prepared.validation.num_records == 20
    assert set(prepared.validation.lines).isdisjoint(prepared.train.lines[prepared.train_rows])


def test_turns_that_are_rendered_apart_are_counted(
    tmp_path: Path, tokenizer_of: TokenizerOf
) -> None:
    desk = Desk(tmp_path, tokenizer_of("qwen3"))
    roles = ("user", "assistant", "user", "assistant")
    row = {"messages": [{"role": role, "content": "x"} for role in roles]}
    prepared = desk.run([row] * 100)
    assert prepared.report["turns_apart"] == 100
    assert prepared.report["training_rows"] == len(prepared.train_rows) == 200
    assert [warning["code"] for warning in prepared.warnings] == ["turns_apart"]
    last_only = desk.run(stage=Sft(loss_on="last_turn"))
    assert last_only.report["turns_apart"] == 0


def test_a_second_run_reads_nothing_again(desk: Desk) -> None:
    first = desk.run([qa(n) for n in range(1000)])
    desk.progress.clear()
    second = desk.run()
    assert desk.progress == []
    assert isinstance(second.train.ids, np.memmap)
    assert second.report == first.report
    assert second.fingerprint == first.fingerprint


def test_equal_rows_have_one_fingerprint_however_they_came_to_be_tokens(desk: Desk) -> None:
    """A run that is paused goes on after an upgrade, whose tables are made anew."""
    first = desk.run([qa(n) for n in range(100)])
    shutil.rmtree(desk.folder / "cache")
    spaced = "".join(json.dumps(qa(n), indent=None) + " \n\n" for n in range(100))
    (desk.folder / "d.jsonl").write_text(spaced, encoding="utf-8")
    assert desk.run().fingerprint == first.fingerprint


def test_a_changed_file_is_read_again(desk: Desk) -> None:
    before = desk.run([qa(n) for n in range(100)])
    after = desk.run([qa(n + 1) for n in range(100)])
    assert before.fingerprint != after.fingerprint
    assert "question 100" in desk.texts(after)[-1]


def test_every_option_that_decides_tokens_has_its_own_table(desk: Desk) -> None:
    desk.run([qa(n) for n in range(100)])
    for options in (
        {"max_length": 64},
        {"prefix": "p"},
        {"chat_template": "alpaca"},
        {"stage": Sft(loss_on="last_turn")},
    ):
        desk.progress.clear()
        desk.run(**options)  # type: ignore[arg-type]
        assert desk.progress, options
    desk.progress.clear()
    desk.run(seed=1, source={"sampling_rate": 2}, validation={"kind": "split"})
    assert desk.progress == []


def test_a_damaged_table_is_written_again(desk: Desk) -> None:
    whole = desk.texts(desk.run([qa(n) for n in range(100)]))
    for file in desk.folder.glob("cache/*/ids.bin"):
        os.truncate(file, 10)
    assert desk.texts(desk.run()) == whole


def test_a_failed_run_leaves_no_half_table(desk: Desk) -> None:
    write(desk.folder, [qa(n) for n in range(300)])
    with (desk.folder / "d.jsonl").open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    with pytest.raises(DataError, match="line 301"):
        desk.run()
    assert [path.name for path in (desk.folder / "cache").iterdir() if path.name != "hashes"] == []


def _in_process(folder: Path, model: Path) -> str:
    return Desk(folder, TextTokenizer.load(model)).run().fingerprint


@pytest.mark.slow
def test_two_processes_may_prepare_the_same_data_at_once(
    tmp_path: Path, tokenizer_folder: Callable[..., Path]
) -> None:
    write(tmp_path, [qa(n) for n in range(500)])
    model = tokenizer_folder("chatml")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(_in_process, tmp_path, model) for _ in range(2)]
        first, second = (task.result() for task in tasks)
    assert first == second == _in_process(tmp_path, model)
    assert not list((tmp_path / "cache").glob("draft-*"))


def test_several_processes_make_the_same_table(
    tmp_path: Path, tokenizer_of: Callable[[str], TextTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"question": f"q{n}", "answer": "a" * (n % 7)} for n in range(900)]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    source = Source(tmp_path / "d.jsonl", "d.jsonl", 0, Dataset(dataset="d.jsonl"), None)

    def table(name: str) -> TokenTable:
        folder = tmp_path / name
        folder.mkdir()
        with TableWriter(folder) as writer:
            renderer = Renderer(tokenizer_of("chatml"))
            Tokeniser(renderer, Fit(64, "truncate"), writer, lambda *_: None).run([source])
        return TokenTable.open(folder)

    one = table("one")
    monkeypatch.setattr("tunesmith.data.tokenise._LARGE", 0)
    monkeypatch.setenv("TUNESMITH_PROCESSES", "2")
    two = table("two")
    assert one.about == two.about
    assert one.about["tallies"][0]["dropped"]["empty_answer"]["count"] > 100
    for name in ("ids", "targets", "lengths", "lines", "records", "digests"):
        assert getattr(one, name).tolist() == getattr(two, name).tolist()


# ---------------------------------------------------------------- judged answers


def pair(number: int) -> Row:
    return {"prompt": f"q{number}", "chosen": f"good{number}", "rejected": f"no{number}"}


def shown(desk: Desk, document: tuple[Any, Any]) -> str:
    ids, targets = document
    return desk.tokenizer.decode(ids[targets == 1].tolist())


def test_a_pair_is_one_row_of_two_documents_with_one_question(desk: Desk) -> None:
    rows = [{**pair(n), "margin": n / 2} for n in range(100)]
    table = desk.run(rows, stage=Dpo()).train
    assert len(table) == 100
    better, worse = table.documents(7)
    assert [shown(desk, side) for side in (better, worse)] == ["good7<|im_end|>", "no7<|im_end|>"]
    question = int(better[1].argmax())
    assert better[0][:question].tolist() == worse[0][:question].tolist()
    assert table.margins[7] == 3.5
    assert table.longest_document < table.lengths.max()


def test_pairs_that_teach_nothing_are_dropped_and_counted(desk: Desk) -> None:
    rows = [pair(n) for n in range(100)]
    rows[3]["rejected"] = rows[3]["chosen"]
    rows[4]["rejected"] = ""
    rows[5] = {"prompt": "q", "chosen": "only one side"}
    report = desk.run(rows, stage=Dpo()).report
    assert report["dropped"] == {"answers_equal": 1, "empty_rejected": 2}


def test_sides_are_cut_apart_and_equal_ones_then_dropped(desk: Desk) -> None:
    rows = [pair(n) for n in range(100)]
    rows[0] |= {"chosen": "x" * 60 + "a", "rejected": "x" * 60 + "b"}
    rows[1] |= {"rejected": "y" * 60}
    prepared = desk.run(rows, stage=Dpo(), max_length=60)
    assert prepared.report["dropped"] == {"answers_equal_after_truncation": 1}
    cut = [len(ids) for ids, _ in prepared.train.documents(0)]
    assert cut[1] == 60 > cut[0]


def test_single_answers_cannot_be_compared(desk: Desk) -> None:
    with pytest.raises(DataError, match="no_pair 100") as caught:
        desk.run([qa(n) for n in range(100)], stage=Dpo())
    assert "stage.kind: kto" in caught.value.hint


def test_kto_reads_judged_answers_and_both_halves_of_pairs(desk: Desk) -> None:
    judged = [{**qa(n), "kto_tag": n % 3 == 0} for n in range(100)]
    table = desk.run(judged, stage=Kto()).train
    assert table.desirable.tolist() == [int(n % 3 == 0) for n in range(100)]
    table = desk.run([pair(n) for n in range(100)], stage=Kto()).train
    assert table.desirable.tolist() == [1, 0] * 100
    assert table.records.tolist() == [n // 2 for n in range(200)]


def test_kto_needs_good_and_bad_answers(desk: Desk) -> None:
    with pytest.raises(DataError, match="marked as good") as caught:
        desk.run([{**qa(n), "kto_tag": True} for n in range(100)], stage=Kto())
    assert caught.value.code == "one_class_only"


def test_equal_tokens_of_other_judgements_are_another_content(desk: Desk) -> None:
    one = desk.run([{**qa(n), "kto_tag": n % 2 == 0} for n in range(100)], stage=Kto())
    other = desk.run([{**qa(n), "kto_tag": n % 2 == 1} for n in range(100)], stage=Kto())
    assert one.fingerprint != other.fingerprint
