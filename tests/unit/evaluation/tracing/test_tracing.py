"""Wrong answers lead to the rows that were learned, and edited rows to the next training."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.trace import app
from tunesmith.data.store import Catalog
from tunesmith.data.store.rows import stored_rows
from tunesmith.errors import DataError, InputError, RunDirError
from tunesmith.evaluation.tracing.meaning import MeaningIndex
from tunesmith.evaluation.tracing.ngrams import NgramIndex, plain
from tunesmith.evaluation.tracing.retrain import NextTraining, read_edits, retrain
from tunesmith.evaluation.tracing.trace import Trace, trace
from tunesmith.evaluation.tracing.training_rows import Place, read_training_rows
from tunesmith.recipe import dump_recipe, load_recipe, parse_recipe
from tunesmith.runs import RunDir

ROWS = [
    ("怎么申请退款？", "请打开订单，点击申请退款。"),
    ("我要修改收货地址", "请在订单详情里修改地址。"),
    ("How do I get a refund?", "Open the order and tap Refund."),
    ("Where is my parcel?", "Tap Track in the order."),
    ("Do you ship to Norway?", "We ship to all of Europe."),
    ("你们周末上班吗？", "周末客服在线。"),
]


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def write_rows(file: Path) -> Path:
    """A blank line first, so that lines and positions differ."""
    lines = [json.dumps({"prompt": q, "response": a}, ensure_ascii=False) for q, a in ROWS]
    file.write_text("\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return file


def new_run(place: Path, dataset: str, lines: dict[int, list[float]], **data: Any) -> RunDir:
    """A run that met these lines, with the loss of each in every epoch."""
    recipe = parse_recipe(
        {
            "name": "bot",
            "model": {"base": "starter"},
            "data": {"train": [dataset], "validation": {"kind": "none"}, **data},
        }
    )
    run = RunDir.create(place, dump_recipe(recipe), recipe_name="bot")
    run.resolved_path.write_text(dump_recipe(recipe), encoding="utf-8")
    run.data_dir.mkdir(exist_ok=True)
    met = [
        {"epoch": epoch, "row": row, "source": dataset, "line": line, "labels": 4, "loss": loss}
        for row, (line, losses) in enumerate(lines.items())
        for epoch, loss in enumerate(losses, start=1)
    ]
    pq.write_table(pa.Table.from_pylist(met), run.data_dir / "row_losses.parquet")
    return run


def new_evaluation(folder: Path, answers: list[tuple[str, str, str, float | None]]) -> Path:
    """Question, reference, prediction and score of each row, as `tunesmith evaluate` writes."""
    folder.mkdir()
    lines = [
        {
            "id": str(number),
            "row": "digest",
            "prediction": prediction,
            "reference": reference,
            "messages": [{"role": "user", "content": question}],
        }
        for number, (question, reference, prediction, _) in enumerate(answers, start=1)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "predictions.jsonl").write_text(text, encoding="utf-8")
    content = {
        "primary": "accuracy",
        "scores": {"accuracy": {"better": "higher"}, "loss": {"better": "lower"}},
        "by_row": [
            {"id": str(number), "accuracy": score, "loss": float(number)}
            for number, (*_, score) in enumerate(answers, start=1)
        ],
    }
    (folder / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A file of six rows in lines 2 to 7; the last was held out, so it has no loss."""
    file = write_rows(tmp_path / "rows.jsonl")
    losses = {line: [2.0 + line, 1.0, 0.5] for line in range(2, 7)}
    return new_run(tmp_path / "run", str(file), losses)


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    return new_evaluation(
        tmp_path / "scores",
        [
            ("我想申请退款", "请打开订单，点击申请退款。", "周末客服在线。", 0.0),
            ("Can I get a refund?", "Open the order and tap Refund.", "Tap Track in it.", 0.0),
            ("Where is my parcel?", "Tap Track in the order.", "Tap Track in the order.", 1.0),
            ("zzz qqq", "nothing", "xx", 0.0),
        ],
    )


def traced(evaluation: Path, run: RunDir, **options: Any) -> Trace:
    return trace(evaluation, run, on_progress=lambda *_: None, **options)


def retrained(edits: Path, run: RunDir, out: Path, **options: Any) -> NextTraining:
    wanted = {"name": "mended", "only_changed": False, **options}
    return retrain(
        edits, run, out, catalog=Catalog(), processes=1, on_progress=lambda *_: None, **wanted
    )


# ---------------------------------------------------------------- similar texts


def test_the_same_text_is_most_alike_in_any_language_and_another_one_is_not() -> None:
    index = NgramIndex(question for question, _ in ROWS)
    for number, (question, _) in enumerate(ROWS):
        found = index.similarities(question)
        assert found.argmax() == number
        assert found[number] == pytest.approx(1.0, abs=1e-5)
    assert NgramIndex(["退款"]).similarities("parcel")[0] < 0.05


def test_similarity_is_the_cosine_and_the_same_both_ways() -> None:
    texts = ["申请退款", "退款申请怎么办", "refund please", ""]
    index = NgramIndex(texts)
    table = [index.similarities(text) for text in texts]
    for row in range(3):
        for column in range(3):
            assert table[row][column] == pytest.approx(table[column][row], abs=1e-5)
    assert 0.1 < table[0][1] < 1
    assert table[3][0] < 0.05


def test_width_case_and_spaces_make_no_difference() -> None:
    assert plain("ＡＢＣ　Def\n\n g") == "abc def g"
    index = NgramIndex(["Ｒｅｆｕｎｄ  NOW"])
    assert index.similarities("refund now")[0] == pytest.approx(1.0, abs=1e-5)


def test_an_empty_index_has_no_neighbours() -> None:
    assert len(NgramIndex([]).similarities("text")) == 0


# ---------------------------------------------------------------- the trace


def test_failed_rows_find_what_was_learned_like_them(evaluation: Path, run: RunDir) -> None:
    found = traced(evaluation, run, neighbours=2)
    assert (found.rows, found.failed, found.training_rows) == (4, 3, 5)
    assert found.rule == "accuracy is wrong"
    by_id = {each.failure.id: each for each in found.traced}
    chinese = by_id["1"].neighbours[0]
    assert (chinese.question, chinese.place.line) == ("怎么申请退款？", 2)
    assert (chinese.loss_before, chinese.loss_after) == (4.0, 0.5)
    assert [loss.epoch for loss in chinese.losses] == [1, 2, 3]
    english = by_id["2"].neighbours
    assert english[0].question == "How do I get a refund?"
    assert english[1].question == "Where is my parcel?"  # for its answer is like the wrong one
    assert english[1].answer_similarity > 0.5
    assert by_id["4"].neighbours == ()
    assert "first epoch" in found.notes[0]


def test_rows_that_the_training_never_met_are_no_neighbours(evaluation: Path, run: RunDir) -> None:
    found = traced(evaluation, run, neighbours=50)
    lines = {n.place.line for each in found.traced for n in each.neighbours}
    assert 7 not in lines


def test_a_row_near_several_failures_is_a_suspect(tmp_path: Path, run: RunDir) -> None:
    folder = new_evaluation(
        tmp_path / "more",
        [(f"Where is my parcel {n}?", "Tap Track.", "No.", 0.0) for n in range(3)],
    )
    found = traced(folder, run, neighbours=1)
    assert [(s.place.line, s.failures) for s in found.suspects] == [(5, 3)]


def test_scores_between_right_and_wrong_fail_below_their_mean_worst_first(
    tmp_path: Path, run: RunDir
) -> None:
    answers = [
        ("a", "b", "c", 0.9),
        ("d", "e", "f", 0.1),
        ("g", "h", "i", 0.3),
        ("j", "k", "l", None),
    ]
    folder = new_evaluation(tmp_path / "graded", answers)
    found = traced(folder, run)
    assert [each.failure.id for each in found.traced] == ["2", "3"]
    assert found.rule == "accuracy below its mean of 0.433"
    assert [e.failure.id for e in traced(folder, run, below=0.2).traced] == ["2"]
    assert [e.failure.id for e in traced(folder, run, score="loss").traced] == ["4", "3"]
    assert traced(folder, run, most_failures=1).failed == 2


def test_parts_of_one_row_count_by_their_labels(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl")
    run = new_run(tmp_path / "run", str(file), {2: [1.0]})
    parts = [
        {"epoch": 1, "row": n, "source": str(file), "line": 2, "labels": labels, "loss": loss}
        for n, (labels, loss) in enumerate([(1, 4.0), (3, 0.0)])
    ]
    pq.write_table(pa.Table.from_pylist(parts), run.data_dir / "row_losses.parquet")
    row = read_training_rows(run).rows[0]
    assert [loss.loss for loss in row.losses] == [1.0]


def test_a_file_that_changed_since_the_training_is_told(evaluation: Path, run: RunDir) -> None:
    assert len(traced(evaluation, run).notes) == 1
    file = run.data_dir / "row_losses.parquet"
    os.utime(file, (1, 1))
    assert "has changed since the training" in traced(evaluation, run).notes[-1]


def test_what_is_missing_is_told(tmp_path: Path, evaluation: Path, run: RunDir) -> None:
    with pytest.raises(InputError, match="no finished evaluation"):
        traced(tmp_path, run)
    with pytest.raises(InputError, match="no score 'bleu'"):
        traced(evaluation, run, score="bleu")
    (evaluation / "predictions.jsonl").write_text("{\n")
    with pytest.raises(InputError, match=r"predictions\.jsonl cannot be read"):
        traced(evaluation, run)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(DataError, match="not there any more"):
        read_training_rows(run)
    (run.data_dir / "row_losses.parquet").unlink()
    with pytest.raises(RunDirError, match="no losses by row"):
        read_training_rows(run)


# ---------------------------------------------------------------- the next training


def write_edits(file: Path, found: Trace, change: dict[int, Any]) -> Path:
    lines = found.edits()
    for line in lines:
        if line["line"] in change:
            line["record"] = change[line["line"]](line["record"])
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    file.write_text(text, encoding="utf-8")
    return file


def with_answer(text: str) -> Any:
    def change(record: dict[str, Any]) -> dict[str, Any]:
        *asked, answer = record["messages"]
        return {**record, "messages": [*asked, {**answer, "content": text}]}

    return change


def test_edited_rows_of_a_file_become_a_version_and_a_recipe_from_the_result(
    tmp_path: Path, evaluation: Path, run: RunDir
) -> None:
    found = traced(evaluation, run)
    edits = write_edits(
        tmp_path / "e.jsonl", found, {2: with_answer("新答案。"), 5: lambda _: None}
    )
    made = retrained(edits, run, tmp_path / "next.yaml")
    assert (made.changed, made.removed, made.versions) == (1, 1, ["mended@2"])
    rows = list(stored_rows(Catalog().open("mended@2").batches()))
    assert len(rows) == 5
    assert rows[0].record.messages[-1].content == "新答案。"  # type: ignore[union-attr]
    assert rows[0].line == 2
    assert 5 not in {row.line for row in rows}
    following = load_recipe(tmp_path / "next.yaml")
    assert following.model.base == str(run.path)
    assert following.name == "bot-next"
    assert following.data.train[0].dataset == "mended@2"
    before = load_recipe(run.resolved_path)
    assert following.training == before.training


def test_a_version_gets_its_next_version_by_the_ids_of_its_rows(
    tmp_path: Path, evaluation: Path
) -> None:
    first = new_run(tmp_path / "first", str(write_rows(tmp_path / "rows.jsonl")), {2: [1.0]})
    edits = write_edits(tmp_path / "1.jsonl", traced(evaluation, first), {2: with_answer("One.")})
    retrained(edits, first, tmp_path / "1.yaml", name="shop")
    second = new_run(tmp_path / "second", "shop@2", {n: [2.0, 1.0] for n in range(1, 7)})
    found = traced(evaluation, second)
    places = [neighbour.place for neighbour in found.traced[0].neighbours]
    assert Place("shop@2", "rows.jsonl:2", 1) in places
    edits = write_edits(tmp_path / "2.jsonl", found, {1: with_answer("Two.")})
    made = retrained(edits, second, tmp_path / "2.yaml", only_changed=True)
    assert made.versions == ["shop@3"]
    following = load_recipe(tmp_path / "2.yaml")
    assert following.data.train[0].dataset == "mended-difference@1"
    assert following.data.allow_small
    rows = list(stored_rows(Catalog().open("mended-difference").batches()))
    assert [row.record.messages[-1].content for row in rows] == ["Two."]  # type: ignore[union-attr]


def test_a_split_that_is_drawn_anew_is_told(tmp_path: Path, evaluation: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl")
    run = new_run(tmp_path / "run", str(file), {2: [1.0]}, test={"kind": "split", "fraction": 0.2})
    edits = write_edits(tmp_path / "e.jsonl", traced(evaluation, run), {2: lambda _: None})
    assert "drawn anew" in retrained(edits, run, tmp_path / "n.yaml").notes[0]


def test_wrong_edits_are_named_by_their_line_and_nothing_is_made(
    tmp_path: Path, evaluation: Path, run: RunDir
) -> None:
    file = tmp_path / "edits.jsonl"
    untouched = write_edits(file, traced(evaluation, run), {})
    with pytest.raises(DataError, match="changes nothing"):
        retrained(untouched, run, tmp_path / "next.yaml")
    file.write_text('\n{"dataset": "x", "file": "y", "line": 1, "record": {"messages": 5}}\n')
    with pytest.raises(DataError, match="line 2: not an edited row"):
        read_edits(file)
    file.write_text('{"dataset": "other", "file": "y", "line": 1, "record": null}\n')
    with pytest.raises(DataError, match="did not learn from"):
        retrained(file, run, tmp_path / "next.yaml")
    (tmp_path / "there.yaml").touch()
    with pytest.raises(InputError, match="exists"):
        retrained(file, run, tmp_path / "there.yaml")
    assert not (tmp_path / "next.yaml").exists()


# ---------------------------------------------------------------- the commands


def test_the_commands_tell_rows_and_make_the_next_training(
    tmp_path: Path, evaluation: Path, run: RunDir
) -> None:
    edits, out = tmp_path / "edits.jsonl", tmp_path / "next.yaml"
    words = ["rows", str(evaluation), "--run", str(run.path), "--edits", str(edits), "-q"]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert "3 of 4 rows failed (accuracy is wrong)" in told.output
    assert "rows.jsonl, line 2  alike: question" in told.output
    assert "loss 4.00 -> 0.50" in told.output
    assert "no training row is like it" in told.output
    text = edits.read_text(encoding="utf-8").replace("点击申请退款", "点击售后")
    edits.write_text(text, encoding="utf-8")
    words = ["retrain", str(edits), "--run", str(run.path), "--name", "shop", "--out", str(out)]
    made = CliRunner().invoke(app, [*words, "--json", "-q"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["changed"] == 1
    assert load_recipe(out).model.base == str(run.path)


def test_the_trace_is_one_json_document(evaluation: Path, run: RunDir) -> None:
    words = ["rows", str(evaluation), "--run", str(run.path), "--json", "-q"]
    content = json.loads(CliRunner().invoke(app, words).stdout)
    nearest = content["traced"][0]["neighbours"][0]
    assert nearest["place"]["file"] == "rows.jsonl"
    assert {"question_similarity", "loss_before", "loss_after", "losses"} <= nearest.keys()
    assert "rows_by_place" not in content


def test_an_embedder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder") as caught:
        MeaningIndex(tmp_path / "none", ["a"], lambda *_: None)
    assert caught.value.code == "embedder_missing"
