"""Pairs of rows that say nearly the same."""

from __future__ import annotations

import json
from pathlib import Path

from tunesmith.data.check.inspect import Wanted
from tunesmith.data.importing import import_files
from tunesmith.data.near import near_pairs
from tunesmith.data.store import Catalog, Version
from tunesmith.data.subject import files_subject
from tunesmith.recipe import Dataset

STORY = "the quick brown fox jumps over the lazy dog and runs back into the deep dark forest"


def version_of(folder: Path, answers: list[str]) -> Version:
    path = folder / "rows.jsonl"
    rows = [{"prompt": "Go on.", "completion": answer} for answer in answers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    files = files_subject([path], Dataset(dataset="rows"), None)
    catalog = Catalog(folder)
    done = import_files(
        catalog, "rows", files, wanted=Wanted(near=False), processes=1, on_progress=lambda *_: None
    )
    return done.version


def test_pairs_are_named_by_ids_with_both_texts(tmp_path: Path) -> None:
    others = [f"{n}: {n**9 + 7} {n**5}" for n in range(30)]
    version = version_of(tmp_path, [f"{STORY} 1", *others, f"{STORY} 2", f"{STORY} 1"])
    found = near_pairs(version, on_progress=lambda *_: None)
    assert (found.rows, found.near, found.exact) == (33, 1, 1)
    [pair] = found.pairs
    assert (pair.row, pair.same_as) == (32, 1)
    assert pair.text == f"Go on.\n{STORY} 2"
    assert pair.same_text == f"Go on.\n{STORY} 1"
    assert 0.8 <= pair.similarity < 1


def test_rows_that_have_nothing_in_common_are_no_pairs(tmp_path: Path) -> None:
    version = version_of(tmp_path, [f"{n}{n}{n} is {n * 7919}" for n in range(20)])
    assert near_pairs(version, on_progress=lambda *_: None).pairs == []


def test_chinese_rows_are_compared_as_well(tmp_path: Path) -> None:
    text = (
        "\u6211\u4eec\u7684\u5ba2\u670d\u65f6\u95f4\u662f\u6bcf\u5929\u4e0a\u5348\u4e5d\u70b9" * 3
    )
    version = version_of(
        tmp_path, [f"{text}\u5230\u516d\u70b9", "x" * 90, f"{text}\u5230\u4e03\u70b9"]
    )
    [pair] = near_pairs(version, on_progress=lambda *_: None).pairs
    assert (pair.row, pair.same_as) == (3, 1)
