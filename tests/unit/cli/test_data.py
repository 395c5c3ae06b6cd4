"""`tunesmith data`: one screen for people, one document for scripts, exit codes for both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.main import run
from tunesmith.cli.submit import read_submission
from tunesmith.data.readers import dataset_files, read_rows
from tunesmith.data.resolve import resolve_dataset
from tunesmith.errors import DataError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    rows = [
        {"question": f"Where is parcel {n}?", "answer": f"Parcel {n} is here."} for n in range(120)
    ]
    rows[7]["answer"] = "Write to anna.smith@parcels.co.uk, please. "
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "shop.jsonl").write_text(text + '{"question": "broken\n', "utf-8")


def _data(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as left:
        run(["data", *words])
    captured = capsys.readouterr()
    assert left.value.code == code, captured.err
    return captured.out + captured.err


def _json(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    with pytest.raises(SystemExit) as left:
        run(["data", *words, "--json"])
    captured = capsys.readouterr()
    assert left.value.code == code, captured.err
    return json.loads(captured.out)


def test_a_check_names_lines_and_ends_with_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    text = _data(capsys, "check", "shop.jsonl", code=1)
    assert "121 rows read, 120 usable" in text
    assert "shop.jsonl line 121" in text
    assert "shop.jsonl line 8, answer: Write to anna.smith@parcels.co.uk" in text
    told = _json(capsys, "check", "shop.jsonl", code=1)
    assert told["counts"]["error"] == 1
    assert told["findings"][0]["code"] == "invalid_json"


def test_import_list_show_fix_diff_and_export(capsys: pytest.CaptureFixture[str]) -> None:
    text = _data(capsys, "import", "shop.jsonl", "--name", "shop", "--description", "Parcels")
    assert "shop@1 published: 120 rows; 1 rejected rows lie in" in text
    assert "Parcels" in _data(capsys, "list")
    assert _json(capsys, "list")[0]["newest"]["rows"] == 120
    assert "surrounding_space 1" in _data(capsys, "fix", "shop")
    assert _json(capsys, "diff", "shop@1", "shop@2")["counts"]["changed"] == 1
    shown = _json(capsys, "show", "shop", "--where", 'contains(answer, "anna")')
    assert [row["id"] for row in shown] == [8]
    assert "out.xlsx: 120 rows." in _data(
        capsys, "export", "shop@1", "--format", "xlsx", "--out", "out.xlsx"
    )
    assert "nothing to mend" in _data(capsys, "fix", "shop")
    assert "shop@3 published" in _data(capsys, "rollback", "shop@1")
    assert "deleted" in _data(capsys, "delete", "shop@3", "--yes")
    assert "as they were published" in _data(capsys, "verify", "shop")


def test_statistics_and_preview_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    text = _data(capsys, "stats", "shop.jsonl", "--png", "lengths.png")
    assert "Recommended: max_length 512" in text
    assert Path("lengths.png").stat().st_size > 10_000
    assert _json(capsys, "stats", "shop.jsonl")["training_rows"] == 120
    shown = _data(capsys, "preview", "shop.jsonl", "--row", "3", "--max-length", "10")
    assert "Where is parcel 2?" in shown
    assert "【Parcel 2 is here." in shown
    assert "cut here" in shown
    assert _json(capsys, "preview", "shop.jsonl", "--row", "3")["rows"][0]["tokens"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check", "nothing.jsonl"], "no file or dataset 'nothing.jsonl'"),
        (["check", "shop.jsonl", "--profile", "opneai"], "There is no profile 'opneai'"),
        (["import", "shop.jsonl", "--name", "../x"], "cannot be the name of a dataset"),
        (["import", "shop.jsonl", "--name", "x", "--prompt-field", "frage"], "no column 'frage'"),
        (["import", "shop.jsonl", "--name", "x", "--format", "alpacca"], "--format"),
        (["preview", "shop.jsonl", "--row", "999"], "has no row 999"),
        (["export", "shop.jsonl", "--format", "pdf"], "no format 'pdf'"),
        (["fix", "shop.jsonl"], "--name NAME"),
        (["show", "shop"], "There is no file or dataset 'shop'"),
        (["stats", "shop.jsonl", "--model", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_use_is_one_clear_message_and_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    text = _data(capsys, *words, code=2)
    assert says in text
    assert "Traceback" not in text
    assert len(text.splitlines()) < 12


def test_a_recipe_may_name_a_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _data(capsys, "import", "shop.jsonl", "--name", "shop")
    files = dataset_files(resolve_dataset("shop@1", tmp_path))
    rows = [row for file in files for row in read_rows(file)]
    assert len(rows) == 120
    assert rows[0][0] == 1


def test_a_submitted_recipe_holds_on_to_the_version_of_the_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _data(capsys, "import", "shop.jsonl", "--name", "shop")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: starter\ndata: {train: [shop]}\n")
    submission = read_submission(recipe, [])
    _data(capsys, "fix", "shop")
    assert submission.recipe.data.train[0].dataset == "shop@1"
    assert read_submission(recipe, []).recipe.data.train[0].dataset == "shop@2"
    recipe.write_text("model: starter\ndata: {train: [shop@9]}\n")
    with pytest.raises(DataError, match="no version 9"):
        read_submission(recipe, [])


def test_names_and_texts_of_others_are_shown_and_never_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"question": "q \x1b]0;pwned\x07", "answer": "a \x1b[2J\u202e TODO", "c\x1b[31m": 1}
    rows = "".join(json.dumps(row | {"n": n}) + "\n" for n in range(3))
    name = "x\x1b[31m\u202ered.jsonl"
    Path(name).write_text(rows + "{broken\n", "utf-8")
    texts = [
        _data(capsys, "check", name, code=1),
        _data(capsys, "preview", name, "--row", "1"),
        _data(capsys, "preview", name, "--row", "99", code=2),
        _data(capsys, "stats", name, code=0),
    ]
    for text in texts:
        assert "x\\x1b[31m\\u202ered.jsonl" in text
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
