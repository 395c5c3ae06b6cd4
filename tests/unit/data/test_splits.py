"""Test sets, strata, groups and mixtures, from files to rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.check.inspect import Wanted
from tunesmith.data.columns import value_digest
from tunesmith.data.importing import import_files
from tunesmith.data.prepare import Prepared, prepare
from tunesmith.data.resolve import resolve_dataset
from tunesmith.data.splits import preview_splits
from tunesmith.data.store import Catalog
from tunesmith.data.subject import files_subject
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import DataError
from tunesmith.recipe import Data, Dataset, Sft, Split, TestSplit

Row = dict[str, Any]
Prepare = Callable[..., Prepared]


def qa(number: int, **columns: Any) -> Row:
    return {"question": f"question {number}", "answer": f"answer {number}", **columns}


def write(folder: Path, rows: Sequence[Row], name: str = "d.jsonl") -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path, tokenizer_of: Callable[[str], TextTokenizer]) -> Prepare:
    """Prepares `d.jsonl`, or what `train` says."""

    def call(rows: Sequence[Row] | None = None, *, seed: int = 42, **data: Any) -> Prepared:
        if rows is not None:
            write(tmp_path, rows)
        data.setdefault("train", [{"dataset": "d.jsonl"}])
        data.setdefault("validation", {"kind": "none"})
        return prepare(
            Data(**data),
            Sft(),
            tokenizer_of("chatml"),
            seed=seed,
            cache_dir=tmp_path / "cache",
            base_dir=tmp_path,
            max_context=None,
            on_progress=lambda *_: None,
        )

    return call


def lines_of(prepared: Prepared) -> dict[str, list[int]]:
    """Lines that train, validate and test."""
    table, test = prepared.train, prepared.test_rows
    return {
        "train": table.lines[prepared.train_rows].tolist(),
        "validation": prepared.validation.lines.tolist() if prepared.validation else [],
        "test": [row["line"] for row in test["rows"]] if test else [],
    }


def codes(prepared: Prepared) -> list[str]:
    return [warning["code"] for warning in prepared.warnings]


def test_a_test_set_is_split_off_and_takes_no_part_in_training(run: Prepare) -> None:
    """C13"""
    rows = [qa(n) for n in range(200)]
    prepared = run(rows, test={"kind": "split"}, validation={"kind": "split"})
    lines = lines_of(prepared)
    assert [len(lines[part]) for part in lines] == [160, 20, 20]
    assert sorted(lines["train"] + lines["validation"] + lines["test"]) == list(range(1, 201))
    assert prepared.report["test"]["rows"] == 20
    assert prepared.report["test"]["tokens"] > 0
    assert lines_of(run(test={"kind": "split"}, validation={"kind": "split"})) == lines
    other = lines_of(run(seed=1, test={"kind": "split"}, validation={"kind": "split"}))
    assert other["test"] != lines["test"]


def test_a_test_set_leaves_the_rest_of_its_fraction_in_training(run: Prepare) -> None:
    """C13: max_eval_samples"""
    prepared = run([qa(n) for n in range(200)], test={"kind": "split", "max_rows": 5})
    assert [len(lines) for lines in lines_of(prepared).values()] == [195, 0, 5]
    assert prepared.report["test"]["returned_to_training"] == 15


def test_test_rows_name_their_file_line_and_content(run: Prepare, tmp_path: Path) -> None:
    """C13: an evaluation reads them from there, and sees when the file has changed."""
    prepared = run([qa(n) for n in range(100)], test={"kind": "split"})
    assert prepared.test_rows is not None
    (file,) = prepared.test_rows["files"]
    assert file["file"] == str(tmp_path / "d.jsonl")
    assert len(file["sha256"]) == 64
    assert file["dataset"]["format"] == "auto"
    row = prepared.test_rows["rows"][0]
    assert row["file"] == file["file"]
    assert json.dumps(prepared.test_rows)


def test_a_named_test_set_gives_its_first_rows_without_duplicates(
    run: Prepare, tmp_path: Path
) -> None:
    """C13"""
    write(tmp_path, [qa(0), qa(500), *(qa(600 + n) for n in range(30))], "t.jsonl")
    write(tmp_path, [qa(500)], "v.jsonl")
    prepared = run(
        [qa(n) for n in range(100)],
        validation={"kind": "dataset", "dataset": "v.jsonl"},
        test={"kind": "dataset", "dataset": "t.jsonl", "max_rows": 20},
    )
    assert lines_of(prepared)["test"] == list(range(3, 21))
    assert prepared.report["test"]["duplicates_removed"] == 2
    assert prepared.report["test"]["sources"][0]["rows_read"] == 20
    assert len(prepared.train_rows) == 100


def test_test_rows_that_equal_training_rows_are_removed(run: Prepare) -> None:
    prepared = run([qa(n % 50) for n in range(100)], test={"kind": "split"})
    report = prepared.report["test"]
    assert report["rows"] + report["duplicates_removed"] == 10
    assert report["duplicates_removed"] > 0
    assert len(prepared.train_rows) == 90


def test_a_split_is_stratified_by_a_column(run: Prepare) -> None:
    rows = [qa(n, label="rare" if n % 10 == 0 else "usual") for n in range(200)]
    prepared = run(rows, validation={"kind": "split", "fraction": 0.1, "stratify_by": "label"})
    labels = Counter(rows[line - 1]["label"] for line in lines_of(prepared)["validation"])
    assert labels == {"rare": 2, "usual": 18}
    assert prepared.report["validation"]["stratify_by"] == {
        "column": "label",
        "values": 2,
        "values_held_out": 2,
        "rows_without_value": 0,
    }
    assert prepared.warnings == []


def test_no_group_is_in_two_parts(run: Prepare) -> None:
    """C13: customers of the test are neither in validation nor in training."""
    rows = [qa(n, customer=n // 4) for n in range(400)]
    split = {"kind": "split", "group_by": "customer"}
    lines = lines_of(run(rows, validation=split, test=split))
    customers = [{rows[line - 1]["customer"] for line in part} for part in lines.values()]
    assert [len(part) for part in lines.values()] == [320, 40, 40]
    assert sum(map(len, customers)) == len(set.union(*customers)) == 100


def test_columns_have_their_own_table_and_the_same_tokens(run: Prepare) -> None:
    rows = [qa(n, customer=n // 4) for n in range(100)]
    plain = run(rows)
    grouped = run(validation={"kind": "split", "group_by": "customer"})
    assert plain.train.marks == {}
    assert list(grouped.train.marks) == ["customer"]
    assert grouped.train.ids.tolist() == plain.train.ids.tolist()
    assert grouped.validation is not None
    assert len(grouped.validation.marks["customer"]) == len(grouped.validation)


def test_groups_that_are_too_large_are_reported(run: Prepare) -> None:
    rows = [qa(n, customer=n // 50) for n in range(200)]
    prepared = run(rows, validation={"kind": "split", "group_by": "customer", "max_rows": 20})
    report = prepared.report["validation"]
    assert (report["wanted"], report["rows"], report["set_aside"]) == (20, 20, 30)
    assert codes(prepared) == ["groups_too_large"]
    assert "30 rows of a group that was divided" in prepared.warnings[0]["message"]
    assert len(prepared.train_rows) == 150


def test_one_group_alone_cannot_be_split(run: Prepare) -> None:
    prepared = run(
        [qa(n, g="x") for n in range(100)], validation={"kind": "split", "group_by": "g"}
    )
    assert prepared.validation is None
    assert codes(prepared) == ["no_validation_rows", "groups_too_large"]
    assert "divided" not in prepared.warnings[1]["message"]
    assert len(prepared.train_rows) == 100


def test_a_missing_column_is_an_error_that_names_those_there_are(run: Prepare) -> None:
    rows = [qa(n, label="a") for n in range(100)]
    with pytest.raises(DataError, match=r"no column 'labl' \(data.test.group_by\)") as caught:
        run(rows, test={"kind": "split", "group_by": "labl"})
    assert "question, answer, label" in caught.value.hint


def test_rows_without_a_value_are_counted(run: Prepare) -> None:
    rows = [qa(n, label="a" if n % 2 else None) for n in range(100)]
    prepared = run(rows, validation={"kind": "split", "stratify_by": "label"})
    assert prepared.report["validation"]["stratify_by"]["rows_without_value"] == 50
    assert codes(prepared) == ["column_without_value"]


def test_a_number_is_one_value_however_it_is_written() -> None:
    assert value_digest(3) == value_digest(3.0) == value_digest("3") == value_digest(" 3 ")
    assert value_digest(3) != value_digest("4")
    assert {value_digest(empty) for empty in (None, "", "  ")} == {0}
    assert value_digest({"a": 1, "b": 2}) == value_digest({"b": 2, "a": 1})
    assert value_digest("\ud800")


def test_shares_set_the_rows_of_each_dataset(run: Prepare, tmp_path: Path) -> None:
    """C8: counts are in the report before anything is trained."""
    write(tmp_path, [qa(n) for n in range(100)], "a.jsonl")
    write(tmp_path, [qa(n) for n in range(100, 400)], "b.jsonl")
    prepared = run(
        train=[{"dataset": "a.jsonl", "share": 50}, {"dataset": "b.jsonl", "share": 50}],
        validation={"kind": "split", "fraction": 0.1},
    )
    first, second = prepared.report["mixing"]["datasets"]
    assert first["rows_available"] + second["rows_available"] == 360
    assert (first["rows_drawn"], second["rows_drawn"]) == (180, 180)
    assert (first["name"], first["share"]) == ("a.jsonl", 50.0)
    assert prepared.report["mixing"]["rows"] == len(prepared.train_rows) == 360
    names = Counter(prepared.train.sources[prepared.train_rows].tolist())
    assert names == {0: 180, 1: 180}
    counts = Counter(prepared.train_rows.tolist())
    assert max(counts.values()) - 1 <= 1


def test_a_share_does_not_tokenise_again(run: Prepare, tmp_path: Path) -> None:
    first = run([qa(n) for n in range(100)])
    tables = set(tmp_path.glob("cache/*/table.json"))
    again = run(train=[{"dataset": "d.jsonl", "share": 100}])
    assert set(tmp_path.glob("cache/*/table.json")) == tables
    assert again.train_rows.tolist() == first.train_rows.tolist()


def test_general_rows_are_mixed_in_and_never_held_out(run: Prepare, tmp_path: Path) -> None:
    """C10: general : user = 1 : 5, drawn without replacement."""
    write(tmp_path, [qa(n) for n in range(200)])
    write(tmp_path, [qa(1000 + n) for n in range(2000)], "general.jsonl")
    train = [{"dataset": "d.jsonl"}, {"dataset": "general.jsonl", "role": "general"}]
    held = {"kind": "split", "fraction": 0.25}
    prepared = run(train=train, validation=held, test=held)
    user, general = prepared.report["mixing"]["datasets"]
    assert (user["rows_drawn"], general["rows_drawn"]) == (100, 20)
    assert general["rows_available"] == 2000
    assert len(set(prepared.train_rows.tolist())) == 120
    assert prepared.validation is not None
    assert set(prepared.validation.sources.tolist()) == {0}


def test_the_minimum_counts_user_rows(run: Prepare) -> None:
    """C6"""
    train = [{"dataset": "d.jsonl"}, {"dataset": "builtin:shop", "role": "general"}]
    with pytest.raises(DataError, match="has 60 rows besides the general corpus"):
        run([qa(n) for n in range(60)], train=train)


def test_a_general_corpus_that_is_too_small_is_a_warning(run: Prepare, tmp_path: Path) -> None:
    """C10"""
    write(tmp_path, [qa(1000)], "general.jsonl")
    train = [{"dataset": "d.jsonl"}, {"dataset": "general.jsonl", "role": "general"}]
    prepared = run([qa(n) for n in range(100)], train=train)
    assert prepared.report["mixing"]["datasets"][1]["rows_drawn"] == 10
    assert codes(prepared) == ["general_corpus_small"]


def test_names_of_datasets_lead_to_files(tmp_path: Path) -> None:
    assert resolve_dataset("a.jsonl", tmp_path) == tmp_path / "a.jsonl"
    assert resolve_dataset("/a.jsonl", tmp_path) == Path("/a.jsonl")
    assert resolve_dataset("builtin:shop", tmp_path).is_file()
    with pytest.raises(DataError, match="No dataset builtin:sho ships") as caught:
        resolve_dataset("builtin:sho", tmp_path)
    assert caught.value.hint.startswith("Did you mean builtin:shop?")


@pytest.mark.parametrize(
    "columns",
    [{}, {"stratify_by": "kind"}, {"group_by": "customer"}],
    ids=["random", "stratified", "grouped"],
)
def test_a_preview_of_a_split_holds_out_the_rows_that_a_training_does(
    run: Prepare, tmp_path: Path, columns: dict[str, str]
) -> None:
    """C11, C13: before anything is tokenised."""
    rows = [qa(n, kind="ab"[n % 2], customer=f"c{n // 4}") for n in range(120)]
    validation: dict[str, Any] = {"kind": "split", "fraction": 0.1, "max_rows": 9, **columns}
    test: dict[str, Any] = {"kind": "split", "fraction": 0.2, "max_rows": 20, **columns}
    trained = lines_of(run(rows, validation=validation, test=test))
    files = files_subject([tmp_path / "d.jsonl"], Dataset(dataset="d"), None)
    version = import_files(
        Catalog(tmp_path),
        "d",
        files,
        wanted=Wanted(near=False),
        processes=1,
        on_progress=lambda *_: None,
    ).version
    shown = preview_splits(
        version, Split.model_validate(validation), TestSplit.model_validate(test), 42
    )
    assert shown["validation"]["ids"] == sorted(trained["validation"])
    assert shown["test"]["ids"] == sorted(trained["test"])
    assert shown["training"]["rows"] == len(trained["train"])
