"""A model behind an address is evaluated: rows, answers, scores, going on after any end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.evaluation.table_server import Served, from_table, last_words, serving

from tunesmith.data.store import Catalog
from tunesmith.data.store.rows import stored_rows
from tunesmith.errors import DataError, InputError
from tunesmith.evaluation.endpoint import Endpoint, EndpointOffline, EndpointRefused, Sampling
from tunesmith.evaluation.evaluate import Settings, evaluate, finish, scores_document
from tunesmith.evaluation.keep import keep_predictions
from tunesmith.evaluation.predictions import answer_rows, begin, read_predictions
from tunesmith.evaluation.report.single import evaluation_page
from tunesmith.evaluation.rows import TestSet, read_test_set
from tunesmith.evaluation.scoring import Options, select
from tunesmith.evaluation.served import Place
from tunesmith.recipe.dataset import NamedTest

CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Peru": "Lima",
    "中国": "北京",
    "Chad": "N'Djamena",
}
QUESTIONS = {f"The capital of {land}?": town for land, town in CAPITALS.items()}


def silent(*_: object) -> None: ...


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "capitals.jsonl"
    lines = [json.dumps({"question": q, "answer": a}) for q, a in QUESTIONS.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def endpoint(served: Served, **changes: Any) -> Endpoint:
    return Endpoint(served.url, "any", **{"patience": 1.0, **changes})


def run(
    served: Served, test: TestSet, folder: Path, *scores: str, settings: Settings | None = None
) -> dict[str, Any]:
    settings = settings or Settings()
    selection = select(test.rows, scores, settings.options)
    place = Place("any", endpoint(served))
    found = evaluate(place, test, selection, folder, settings, on_progress=silent)
    return finish(found, folder, evaluation_page(found, "en"))


def command(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "evaluate", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


# ---------------------------------------------------------------- rows


def test_the_reference_is_the_last_answer_and_the_prompt_all_before(tmp_path: Path) -> None:
    path = tmp_path / "dialogue.jsonl"
    turns = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Eins.", "weight": 0},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "Zwei."},
    ]
    path.write_text(json.dumps({"messages": turns, "level": 3}), encoding="utf-8")
    [row] = read_test_set(str(path)).rows
    assert row.reference == "Zwei."
    assert [turn["content"] for turn in row.messages] == ["Be short.", "One?", "Eins.", "Two?"]
    assert all(set(turn) == {"role", "content"} for turn in row.messages)
    assert row.extra == {"level": 3}


def test_tool_calls_are_asked_and_expected_as_openai_writes_them(tmp_path: Path) -> None:
    call = {"name": "weather", "arguments": '{"town": "Ulm"}'}
    turns = [
        {"role": "user", "content": "Weather in Ulm?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": call}],
        },
    ]
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    path = tmp_path / "tools.jsonl"
    path.write_text(json.dumps({"messages": turns, "tools": tools}), encoding="utf-8")
    [row] = read_test_set(str(path)).rows
    assert json.loads(row.reference) == [{"name": "weather", "arguments": {"town": "Ulm"}}]
    assert row.tools == tools


def test_rows_that_cannot_be_asked_are_counted_with_their_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps({"question": "x?", "answer": "y"})
    path.write_text(f'{good}\n{{"question": "x?", "answer": ""}}\nnonsense\n{good}\n{good}\n')
    found = read_test_set(str(path), max_rows=2)
    assert [row.id for row in found.rows] == ["1", "4"]
    assert found.skipped == {"empty_answer": 1, "unreadable": 1, "beyond_max_rows": 1}
    path.write_text('{"question": "x?", "answer": ""}\n')
    with pytest.raises(DataError, match="no row to ask: empty_answer 1"):
        read_test_set(str(path))


def test_a_split_is_a_file_of_a_folder_or_a_column(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("train", "test"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"question": name, "answer": "y"}))
    found = read_test_set(str(folder))
    assert ([row.question for row in found.rows], found.split) == (["test"], "test")
    assert len(read_test_set(str(folder), split="all").rows) == 2
    column = tmp_path / "column.jsonl"
    lines = [{"question": s, "answer": "y", "split": s} for s in ("train", "dev", "test")]
    column.write_text("\n".join(map(json.dumps, lines)))
    assert [row.question for row in read_test_set(str(column), split="validation").rows] == ["dev"]


def test_test_rows_of_a_run_are_refused_once_their_file_has_changed(
    tmp_path: Path, rows: Path
) -> None:
    data = tmp_path / "run" / "data"
    data.mkdir(parents=True)
    listed = {
        "files": [
            {
                "file": str(rows),
                "sha256": hashlib.sha256(rows.read_bytes()).hexdigest(),
                "dataset": {"dataset": str(rows)},
            }
        ],
        "rows": [{"file": str(rows), "line": 2}, {"file": str(rows), "line": 4}],
    }
    (data / "test_rows.json").write_text(json.dumps(listed))
    found = read_test_set(str(tmp_path / "run"))
    assert [row.reference for row in found.rows] == ["Tokyo", "北京"]
    rows.write_text(rows.read_text() + "\n")
    with pytest.raises(DataError, match="has changed since the training"):
        read_test_set(str(tmp_path / "run"))


def test_a_run_whose_test_rows_were_all_learned_from_says_why_there_are_none(
    tmp_path: Path,
) -> None:
    (tmp_path / "run" / "data").mkdir(parents=True)
    (tmp_path / "run" / "data" / "test_rows.json").write_text('{"files": [], "rows": []}')
    with pytest.raises(DataError, match="has no test rows") as caught:
        read_test_set(str(tmp_path / "run"))
    assert "equal a row of the training" in str(caught.value.hint)


def test_test_rows_of_a_run_may_come_from_a_dataset_of_their_own(
    tmp_path: Path, rows: Path
) -> None:
    sections = NamedTest(kind="dataset", dataset=str(rows)).model_dump(mode="json")
    told = {"file": str(rows), "sha256": hashlib.sha256(rows.read_bytes()).hexdigest()}
    listed = {"files": [told | {"dataset": sections}], "rows": [{"file": str(rows), "line": 2}]}
    (tmp_path / "run" / "data").mkdir(parents=True)
    (tmp_path / "run" / "data" / "test_rows.json").write_text(json.dumps(listed))
    found = read_test_set(str(tmp_path / "run"))
    assert [row.reference for row in found.rows] == ["Tokyo"]


# ---------------------------------------------------------------- answers


def test_answers_are_scored_kept_and_told(tmp_path: Path, rows: Path) -> None:
    table = {**QUESTIONS, "The capital of Peru?": "Cusco", "The capital of France?": "paris!"}
    with serving(from_table(table)) as served:
        document = run(served, read_test_set(str(rows)), tmp_path / "out")
    assert document["primary"] == "normalised_match"
    assert document["scores"]["normalised_match"]["value"] == pytest.approx(0.8)
    assert document["scores"]["exact_match"]["value"] == pytest.approx(0.6)
    assert all(body["temperature"] == 0 for body in served.requests)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "asked.json",
        "predictions.jsonl",
        "scores.json",
        "report.html",
        "manifest.json",
    } <= names
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {file["name"] for file in manifest["files"]} == names - {"manifest.json"}


def test_a_second_run_asks_nothing_again_and_another_model_is_refused(
    tmp_path: Path, rows: Path
) -> None:
    test = read_test_set(str(rows))
    with serving(from_table(QUESTIONS)) as served:
        first = run(served, test, tmp_path / "out")
        second = run(served, test, tmp_path / "out", "token_f1")
    assert len(served.requests) == len(QUESTIONS)
    assert first["scores"]["token_f1"] == second["scores"]["token_f1"]
    with pytest.raises(InputError, match="holds another evaluation"):
        begin(tmp_path / "out", {"model": "another"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not empty"):
        begin(tmp_path / "mine", {"model": "any"})


def test_several_requests_are_under_way_and_never_more_than_asked_for(
    tmp_path: Path, rows: Path
) -> None:
    test = read_test_set(str(rows))
    with serving(from_table(QUESTIONS), seconds=0.1) as served:
        run(served, test, tmp_path / "out", settings=Settings(parallel=3))
    assert served.most_at_once == 3


def test_a_killed_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out"
    lines = [{"question": f"q{n}", "answer": f"a{n}"} for n in range(40)]
    path.write_text("\n".join(map(json.dumps, lines)))
    with serving(lambda body: last_words(body).replace("q", "a"), seconds=0.05) as served:
        words = ("any", "--data", str(path), "--out", str(out), "--endpoint", served.url)
        process = command(*words, "--parallel", "2")
        predictions = out / "predictions.jsonl"
        while not predictions.exists() or predictions.read_bytes().count(b"\n") < 5:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = predictions.read_bytes().count(b"\n")
        with predictions.open("ab") as file:
            file.write(b'{"id": "torn')
        before = len(served.requests)
        done = command(*words, "--parallel", "2", "--json")
        told, said = done.communicate(timeout=60)
    assert done.returncode == 0, said
    assert json.loads(told)["scores"]["exact_match"]["value"] == 1
    assert 5 <= kept < 40
    assert len(served.requests) - before == 40 - kept
    assert len(predictions.read_bytes().splitlines()) == 40


def test_an_endpoint_that_goes_offline_pauses_with_75_and_is_gone_on_with(
    tmp_path: Path, rows: Path
) -> None:
    out = tmp_path / "out"
    answered: list[str] = []

    def failing(body: dict[str, Any]) -> str | tuple[int, Any]:
        if len(answered) >= 2:
            return 503, {"error": {"message": "overloaded"}}
        answered.append(last_words(body))
        return QUESTIONS[last_words(body)]

    with serving(failing) as served:
        port = int(served.url.rsplit(":", 1)[1].split("/")[0])
        words = ("any", "--data", str(rows), "--out", str(out), "--endpoint", served.url)
        paused = command(*words, "--patience", "0.5", "--parallel", "1")
        _, said = paused.communicate(timeout=60)
    assert paused.returncode == 75
    assert "does not answer" in said
    assert "overloaded" in said
    assert "Traceback" not in said
    assert not (out / "manifest.json").exists()
    with serving(from_table(QUESTIONS), port=port) as again:
        done = command(*words, "--json")
        told, said = done.communicate(timeout=60)
    assert done.returncode == 0, said
    assert len(again.requests) == 3
    assert json.loads(told)["scores"]["exact_match"]["value"] == 1


def test_nobody_at_the_address_pauses_too(tmp_path: Path, rows: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = Endpoint(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", "m", patience=0.3)
        test = read_test_set(str(rows))
        begin(tmp_path / "out", {})
        with pytest.raises(EndpointOffline) as found:
            answer_rows(
                test.rows, tmp_path / "out", nobody, Sampling(), parallel=4, on_progress=silent
            )
    assert found.value.exit_code == 75
    assert read_predictions(tmp_path / "out", test.rows) == {}


def test_too_many_requests_are_tried_again(tmp_path: Path, rows: Path) -> None:
    refused: set[str] = set()

    def busy(body: dict[str, Any]) -> str | tuple[int, Any]:
        words = last_words(body)
        if words not in refused:
            refused.add(words)
            return 429, {"error": {"message": "slow down"}}
        return QUESTIONS[words]

    with serving(busy, retry_after="0.1") as served:
        document = run(served, read_test_set(str(rows)), tmp_path / "out")
    assert document["scores"]["exact_match"]["value"] == 1


def test_a_refused_row_counts_as_wrong_and_is_told(tmp_path: Path, rows: Path) -> None:
    def picky(body: dict[str, Any]) -> str | tuple[int, Any]:
        if "Chad" in last_words(body):
            return 400, {"error": {"message": "too long: 9000 of 4096 tokens"}}
        return QUESTIONS[last_words(body)]

    with serving(picky) as served:
        document = run(served, read_test_set(str(rows)), tmp_path / "out")
    assert document["refused"] == 1
    assert document["scores"]["exact_match"]["value"] == pytest.approx(0.8)
    assert document["scores"]["latency"]["rows"] == 4
    assert "9000 of 4096" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "wrong key"), (404, "no such model"), (400, "refuses all")],
)
def test_an_address_that_refuses_everything_ends_at_once(
    tmp_path: Path, rows: Path, status: int, message: str
) -> None:
    with (
        serving(lambda _: (status, {"error": {"message": message}})) as served,
        pytest.raises(EndpointRefused, match=message),
    ):
        run(served, read_test_set(str(rows)), tmp_path / "out")


def test_the_key_comes_from_a_variable_and_is_written_nowhere(tmp_path: Path, rows: Path) -> None:
    with serving(from_table(QUESTIONS)) as served:
        words = ("any", "--data", str(rows), "--out", str(tmp_path / "out"))
        process = command(
            *words, "--endpoint", served.url, "--key-env", "MY_KEY", MY_KEY="secret-key"
        )
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        missing = command(*words, "--endpoint", served.url, "--key-env", "NO_SUCH_KEY")
        assert "NO_SUCH_KEY" in missing.communicate(timeout=60)[1]
        assert missing.returncode == 2
    assert set(served.keys) == {"Bearer secret-key"}
    for path in (tmp_path / "out").iterdir():
        assert b"secret-key" not in path.read_bytes()


def test_two_evaluations_never_write_to_one_folder_at_once(tmp_path: Path, rows: Path) -> None:
    test, out = read_test_set(str(rows)), tmp_path / "out"
    with serving(from_table(QUESTIONS), seconds=0.3) as served:
        words = ("any", "--data", str(rows), "--out", str(out), "--endpoint", served.url)
        process = command(*words)
        while not (out / "predictions.jsonl").exists():
            time.sleep(0.01)
        while not served.requests:
            time.sleep(0.01)
        with pytest.raises(InputError, match="Another process"):
            answer_rows(
                test.rows, out, endpoint(served), Sampling(), parallel=1, on_progress=silent
            )
        process.communicate(timeout=60)


# ---------------------------------------------------------------- judge, keeping, reports


def test_a_judge_is_asked_in_both_orders_and_resumes(tmp_path: Path, rows: Path) -> None:
    def likes_the_first(_: dict[str, Any]) -> str:
        return '{"better": "A"}'

    test = read_test_set(str(rows))
    with serving(from_table({}, "I do not know")) as served, serving(likes_the_first) as judge:
        settings = Settings(judge=Endpoint(judge.url, "judge"))
        document = run(served, test, tmp_path / "out", settings=settings)
        again = run(served, test, tmp_path / "out", settings=settings)
    assert document["scores"]["judge"]["value"] == 0.5
    assert len(judge.requests) == 2 * len(QUESTIONS)
    assert again["scores"]["judge"] == document["scores"]["judge"]


def test_replies_of_a_judge_that_cannot_be_read_are_counted_told_and_asked_again(
    tmp_path: Path, rows: Path
) -> None:
    def mumbles(body: dict[str, Any]) -> str:
        return "Both are nice." if "Chad" in last_words(body) else '{"better": "A"}'

    test, out = read_test_set(str(rows)), tmp_path / "out"
    with serving(from_table({}, "I do not know")) as served, serving(mumbles) as judge:
        command = [sys.executable, "-m", "tunesmith", "evaluate", "any", "--data", str(rows)]
        command += ["--endpoint", served.url, "--judge", judge.url, "--judge-model", "judge"]
        command += ["--out", str(out), "--lang", "zh"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        first = len(judge.requests)
        settings = Settings(judge=Endpoint(judge.url, "judge"))
        again = run(served, test, tmp_path / "again", settings=settings)
        run(served, test, tmp_path / "again", settings=settings)
    total = len(QUESTIONS)
    assert f"judge: no score for 1 of {total} rows: the replies of the judge" in done.stdout
    assert f"--endpoint {served.url}" in done.stdout.replace("'", "")  # of the next command
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"{total} 条中有 1 条没有得分：无法解读裁判模型的回复" in page
    told = again["scores"]["judge"]
    assert (told["value"], told["rows"], told["not_read"]) == (0.5, total - 1, 1)
    assert len(judge.requests) - first == 2 * total + 2  # one row was asked again


def test_a_judge_that_is_offline_pauses_and_no_answer_is_lost(tmp_path: Path, rows: Path) -> None:
    test, out = read_test_set(str(rows)), tmp_path / "out"
    with serving(from_table({}, "no idea")) as served:
        nobody = Endpoint("http://127.0.0.1:9/v1", "judge", patience=0.2)
        with pytest.raises(EndpointOffline, match="The judge at"):
            run(served, test, out, settings=Settings(judge=nobody))
        with serving(lambda _: "tie") as judge:
            run(served, test, out, settings=Settings(judge=Endpoint(judge.url, "judge")))
    assert len(served.requests) == len(QUESTIONS)


def test_answers_are_kept_as_a_version_of_a_dataset(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    test = read_test_set(str(rows))
    with serving(from_table(QUESTIONS)) as served:
        selection = select(test.rows, (), Options())
        place = Place("any", endpoint(served))
        found = evaluate(place, test, selection, tmp_path / "out", Settings(), on_progress=silent)
    first, second = keep_predictions(found, "answers"), keep_predictions(found, "answers")
    assert (first.label, second.label, second.manifest.parent) == ("answers@1", "answers@2", 1)
    row = next(stored_rows(Catalog().open("answers@1").batches()))
    assert row.record.messages[-1].content == "Paris"  # type: ignore[union-attr]
    assert row.extra["scores"]["exact_match"] == 1
    assert [r.reference for r in read_test_set("answers@1").rows] == list(CAPITALS.values())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_report_escapes_what_a_model_says_and_asks_nobody(
    tmp_path: Path, rows: Path, language: str
) -> None:
    hostile = '</p><script>alert(1)</script><img src="http://evil.example/x.png">'
    test = read_test_set(str(rows))
    with serving(from_table({}, hostile)) as served:
        selection = select(test.rows, (), Options())
        place = Place(hostile, endpoint(served))
        found = evaluate(place, test, selection, tmp_path / "out", Settings(), on_progress=silent)
    page = evaluation_page(found, language)
    assert "<script" not in page
    assert "<img" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not [
        w
        for w in ("<link", "@import", "url(", "src=")
        if w in page.replace("&#34;", "").replace("src=http", "")
    ]
    assert scores_document(found)["scores"]["exact_match"]["value"] == 0
