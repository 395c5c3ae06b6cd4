"""dataset_info.json of LLaMA-Factory: what can be read, how, and what became of each key. X13"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.conversation import Message, PreferencePair, UnpairedPreference
from tunesmith.data.dataset_info import InfoDataset, read_datasets
from tunesmith.data.formats import find_layout
from tunesmith.errors import DataError

INFO: dict[str, Any] = {
    "alpaca": {"file_name": "rows.json", "num_samples": 5},
    "pairs": {
        "file_name": "rows.json",
        "ranking": True,
        "columns": {"prompt": "q", "query": None, "chosen": "better", "rejected": "worse"},
    },
    "kto": {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk", "kto_tag": "good", "images": "pictures"},
        "tags": {
            "role_tag": "who",
            "content_tag": "said",
            "user_tag": "me",
            "assistant_tag": "you",
            "system_tag": "system",
            "odd_tag": "x",
        },
    },
    "openai": {"file_name": "rows.json", "formatting": "openai", "ranking": False},
    "hub": {"hf_hub_url": "someone/rows", "subset": "en", "split": "train", "folder": "f"},
    "script": {"script_url": "run_me", "surprise": 1},
    "missing": {"file_name": "nowhere.json"},
    "wrong": {
        "file_name": ["a"],
        "formatting": "odd",
        "columns": [],
        "tags": {"role_tag": 3},
        "num_samples": "many",
    },
    "nothing": {},
}


def read(folder: Path, info: Any = INFO) -> dict[str, InfoDataset]:
    (folder / "rows.json").write_text("[]", encoding="utf-8")
    path = folder / "dataset_info.json"
    path.write_text(info if isinstance(info, str) else json.dumps(info), encoding="utf-8")
    return {dataset.name: dataset for dataset in read_datasets(path)}


def keys_of(entry: dict[str, Any]) -> set[str]:
    """Every key of an entry, the inner ones of columns and tags included."""
    found: set[str] = set()
    for key, value in entry.items():
        found |= {f"{key}.{inner}" for inner in value} if isinstance(value, dict) else {key}
    return found


def test_each_key_of_each_entry_has_a_verdict(tmp_path: Path) -> None:
    for name, dataset in read(tmp_path).items():
        said = {entry.key.removeprefix(f"dataset_info.{name}.") for entry in dataset.verdicts}
        assert said == keys_of(INFO[name])
        for entry in dataset.verdicts:
            assert entry.reason or entry.verdict != "not supported"


def test_files_are_read_as_the_entry_says(tmp_path: Path) -> None:
    found = read(tmp_path)
    alpaca = found["alpaca"].wanted
    assert alpaca is not None
    assert alpaca.dataset == str(tmp_path / "rows.json")
    assert (alpaca.format, alpaca.max_samples) == ("alpaca", 5)
    openai = found["openai"].wanted
    assert openai is not None
    assert openai.format == "messages"


def test_named_columns_of_pairs_become_pairs(tmp_path: Path) -> None:
    pairs = read(tmp_path)["pairs"]
    assert pairs.wanted is not None
    assert pairs.ranking
    row = {"q": "q", "better": "a", "worse": "b", "output": "c"}
    record = find_layout([row], pairs.wanted, "rows.json").convert(row)
    assert record == PreferencePair(
        (Message("user", "q"),), (Message("assistant", "a"),), (Message("assistant", "b"),)
    )


def test_ranking_takes_the_usual_columns_even_beside_answers(tmp_path: Path) -> None:
    found = read(tmp_path, {"p": {"file_name": "rows.json", "ranking": True}})["p"]
    assert found.wanted is not None
    row = {"instruction": "q", "output": "a", "chosen": "a", "rejected": "b"}
    assert find_layout([row], found.wanted, "rows.json").kind == "preference_pair"


def test_other_tags_and_a_kto_tag_become_judged_answers(tmp_path: Path) -> None:
    kto = read(tmp_path)["kto"]
    assert kto.wanted is not None
    row = {"talk": [{"who": "me", "said": "q"}, {"who": "you", "said": "a"}], "good": 0}
    record = find_layout([row], kto.wanted, "rows.json").convert(row)
    assert record == UnpairedPreference(
        (Message("user", "q"), Message("assistant", "a")), desirable=False
    )
    verdicts = {entry.key.rpartition(".")[2]: entry.verdict for entry in kto.verdicts}
    assert verdicts["odd_tag"] == verdicts["images"] == "not supported"
    assert verdicts["kto_tag"] == "renamed"
    assert verdicts["user_tag"] == "taken"


def test_datasets_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    found = read(tmp_path)
    for name, problem in {
        "hub": "someone/rows is on huggingface",
        "script": "it names no file",
        "missing": "there is no file",
        "wrong": "it names no file",
        "nothing": "it names no file",
    }.items():
        assert found[name].wanted is None
        assert problem in found[name].problem
    hub = found["hub"].hub
    assert hub is not None
    assert (hub.id, hub.subset, hub.split, hub.folder) == ("someone/rows", "en", "train", "f")


def test_a_loading_script_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "run_me.py").write_text("raise SystemExit('was run')", encoding="utf-8")
    script = read(tmp_path)["script"]
    assert "never run" in script.verdicts[0].reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n "a": {"file_name": "x"},\n "b": {,}\n}', "line 3"),
        ('{\n "a": 3}', "line 2: the entry of a"),
        ("[]", "lists no datasets"),
        ("", "line 1"),
    ],
)
def test_a_broken_file_is_an_error_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """X13"""
    with pytest.raises(DataError, match=said):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        read_datasets(tmp_path / "dataset_info.json")


@pytest.mark.parametrize("name", ["../rows.json", "sub/../../rows.json", "{outside}", "link.json"])
def test_a_file_outside_of_the_folder_is_not_read(tmp_path: Path, name: str) -> None:
    folder, outside = tmp_path / "list", tmp_path / "rows.json"
    (folder / "sub").mkdir(parents=True)
    outside.write_text("[]", encoding="utf-8")
    (folder / "link.json").symlink_to(outside)
    info = {"a": {"file_name": name.format(outside=outside)}}
    found = read(folder, info)["a"]
    assert found.wanted is None
    assert "outside of the folder" in found.problem
