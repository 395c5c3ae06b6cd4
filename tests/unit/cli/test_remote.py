"""The commands that talk to a server, against a real one: screens, JSON, exit codes, mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.sdk.living import ADMIN_TOKEN, Live, live_server

from tunesmith.cli.main import run
from tunesmith.cli.signed_in import login_checks
from tunesmith.cli.terminal import columns
from tunesmith.sdk import Client

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Tunesmith = Callable[..., Done]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server(tmp_path_factory.mktemp("live")) as running:
        yield running


@pytest.fixture
def tunesmith(
    live: Live,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Tunesmith:
    """Run a command in an empty folder as the administrator; it must fit 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TUNESMITH_URL", live.url)
    monkeypatch.setenv("TUNESMITH_TOKEN", ADMIN_TOKEN)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: str, code: int = 0) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run(list(words))
        told = capsys.readouterr()
        done = Done(int(end.value.code or 0), told.out, told.err)
        assert done.code == code, done
        assert "Traceback" not in done.err
        if "--json" not in words:
            lines = [line for line in done.out.splitlines() if str(tmp_path) not in line]
            assert max((columns(line) for line in lines), default=0) <= 80, done.out
        return done

    return call


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe beside its data."""
    rows = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {n + n}."}
            for n in range(120)]  # fmt: skip
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = {
        "name": "sums",
        "model": {"base": "starter"},
        "data": {"train": [{"dataset": "sums.jsonl", "sampling_rate": 0.9}]},
    }
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(told))
    return file


def submitted(tunesmith: Tunesmith, recipe: Path, *words: str) -> dict[str, Any]:
    return tunesmith("jobs", "submit", str(recipe), *words, "--json").document


def test_files_of_a_recipe_are_sent_once(tunesmith: Tunesmith, live: Live, recipe: Path) -> None:
    first, second = submitted(tunesmith, recipe), submitted(tunesmith, recipe)
    assert first["id"] != second["id"]
    with Client(live.url, ADMIN_TOKEN) as client:
        [source] = client.jobs.recipe(first["id"]).recipe["data"]["train"]
        assert source["sampling_rate"] == 0.9
        assert [one.number for one in client.datasets.versions("sums.jsonl")] == [1]
        sent = [file.filename for file in client.files.list()]
        assert sent.count("sums.jsonl") == 1
        with recipe.with_name("sums.jsonl").open("a") as file:
            file.write(json.dumps({"prompt": "And now?", "completion": "One more."}) + "\n")
        third = submitted(tunesmith, recipe)
        assert [one.number for one in client.datasets.versions("sums.jsonl")] == [2, 1]
        used = client.jobs.get(third["id"]).datasets
        assert used != client.jobs.get(first["id"]).datasets


def test_columns_named_in_a_recipe_go_with_its_file(
    tunesmith: Tunesmith, live: Live, recipe: Path
) -> None:
    odd = recipe.with_name("odd.jsonl")
    odd.write_text("".join(json.dumps({"x": f"Q{n}", "y": f"A{n}"}) + "\n" for n in range(100)))
    source = {"dataset": "odd.jsonl", "prompt_field": "x", "response_field": "y"}
    told = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump(told | {"data": {"train": [source]}}))
    submitted(tunesmith, recipe)
    with Client(live.url, ADMIN_TOKEN) as client:
        [row] = client.datasets.rows("odd.jsonl", 1, limit=1).data
    assert "Q0" in json.dumps(row)
    assert "A0" in json.dumps(row)


def test_a_missing_file_is_told_before_anything_is_sent(
    tunesmith: Tunesmith, live: Live, recipe: Path
) -> None:
    told = yaml.safe_load(recipe.read_text())
    told["data"]["train"] = [{"dataset": "sums.jsonl"}, {"dataset": "missing.jsonl"}]
    recipe.with_name("sums.jsonl").write_text('{"prompt": "new", "completion": "rows"}\n')
    recipe.write_text(yaml.safe_dump(told))
    with Client(live.url, ADMIN_TOKEN) as client:
        before = len(list(client.files.list()))
        done = tunesmith("train", str(recipe), "--remote", code=2)
        assert len(list(client.files.list())) == before
    assert "missing.jsonl" in done.err


@pytest.mark.parametrize("base", ["./my-model", "my-model", "/models/my-model"])
def test_a_model_folder_is_refused_with_the_way_to_import_it(
    tunesmith: Tunesmith, recipe: Path, base: str
) -> None:
    recipe.with_name("my-model").mkdir()
    done = tunesmith("train", str(recipe), f"model.base={base}", "--remote", "--json", code=2)
    assert done.document["error"]["code"] == "local_model"
    assert "models import my-model --folder" in done.document["error"]["hint"]


def test_a_run_of_this_machine_is_no_test_set_of_a_server(
    tunesmith: Tunesmith, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("model: starter\n")
    (run / "events.jsonl").write_text('{"seq": 1}\n')
    done = tunesmith(
        "evaluate", "starter", "--data", str(run), "--out", str(tmp_path / "out"), "--remote",
        "--json", code=2,
    )  # fmt: skip
    assert done.document["error"]["code"] == "run_not_remote"
    assert "ftjob-" in done.document["error"]["hint"]


def test_a_remote_training_has_no_run_directory(tunesmith: Tunesmith, recipe: Path) -> None:
    done = tunesmith("train", str(recipe), "--remote", "--run", "x", code=2)
    assert "jobs resume" in done.err
    assert "no recipe" in tunesmith("train", "--remote", code=2).err


def test_a_job_is_found_by_id_by_its_beginning_and_by_name(
    tunesmith: Tunesmith, recipe: Path
) -> None:
    made = submitted(tunesmith, recipe, "--name", "needle", "--label", "team=desk")
    beginning = made["id"].removeprefix("ftjob-")[:14]
    for word in (made["id"], beginning, f"ftjob-{beginning}", beginning.upper(), "needle"):
        assert tunesmith("jobs", "show", word, "--json").document["id"] == made["id"]
    shown = tunesmith("jobs", "show", "needle").out
    assert "team=desk" in shown
    assert "@1" in next(line for line in shown.splitlines() if line.split()[:1] == ["datasets"])
    assert "dsv-" not in shown
    assert "tunesmith jobs follow" in shown


@pytest.mark.usefixtures("tunesmith")
def test_doctor_tells_of_the_server_that_one_is_signed_in_to(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, who, token = login_checks()
    assert (server.status, who.status, token.status) == ("ok", "ok", "ok")
    assert server.detail.startswith(f"{live.url}, version ")
    assert who.detail.startswith("as admin; the token may admin")
    assert "never ends" in token.detail
    monkeypatch.setenv("TUNESMITH_TOKEN", "tune_of-somebody-else")
    _, refused = login_checks()
    assert refused.status == "error"
    assert refused.mend
    monkeypatch.setenv("TUNESMITH_URL", "http://127.0.0.1:9")
    (away,) = login_checks()
    assert away.status == "warning"
    assert "127.0.0.1:9" in away.detail
    monkeypatch.delenv("TUNESMITH_TOKEN")
    (unsigned,) = login_checks(environment={})
    assert unsigned.status == "ok"
    assert "tunesmith login" in unsigned.mend


def test_a_name_that_means_several_is_refused_with_what_to_type(
    tunesmith: Tunesmith, recipe: Path
) -> None:
    ids = [submitted(tunesmith, recipe, "--name", "twin")["id"] for _ in range(2)]
    done = tunesmith("jobs", "cancel", "twin", code=2)
    assert "several jobs" in done.err
    typed = [line.split()[0] for line in done.err.splitlines() if "twin" in line][1:]
    assert sorted(f"ftjob-{word}" for word in typed) == sorted(
        one[: len(typed[0]) + len("ftjob-")] for one in ids
    )
    for word in typed:
        tunesmith("jobs", "cancel", word)


def test_jobs_are_steered(tunesmith: Tunesmith, recipe: Path) -> None:
    one, two = (submitted(tunesmith, recipe, "--name", name)["id"] for name in ("one", "two"))
    assert "before one" in tunesmith("jobs", "reorder", "two", "--before", "one").out
    clone = tunesmith("jobs", "clone", one, "training.epochs=2", "--name", "c", "--json").document
    assert "is cancelled" in tunesmith("jobs", "cancel", one).out
    assert tunesmith("jobs", "cancel", two, clone["id"], "--yes").out.count("is cancelled") == 2
    assert "never changes" in tunesmith("jobs", "cancel", one, code=2).err
    again = tunesmith("jobs", "retry", one, "--json").document
    assert again["parent_id"] == one
    tunesmith("jobs", "cancel", again["id"])
    assert "--yes" in tunesmith("jobs", "delete", one, code=2).err
    tunesmith("jobs", "delete", one, "--yes")
    assert "There is no job" in tunesmith("jobs", "show", one, code=2).err


def test_a_refusal_of_one_job_does_not_keep_the_others(tunesmith: Tunesmith, recipe: Path) -> None:
    one, two = (submitted(tunesmith, recipe, "--name", name)["id"] for name in ("old", "new"))
    tunesmith("jobs", "cancel", one)
    done = tunesmith("jobs", "cancel", one, two, "--yes", code=2)
    assert "never changes" in done.err
    assert "1 of 2 jobs were refused" in done.err
    assert done.out.count("is cancelled") == 1
    assert tunesmith("jobs", "show", two, "--json").document["status"] == "cancelled"
    waits = submitted(tunesmith, recipe, "--name", "waits")["id"]
    told = tunesmith("jobs", "cancel", one, waits, "--yes", "--json", code=2).document
    assert [job["id"] for job in told["data"]] == [waits]
    assert [error["job_id"] for error in told["errors"]] == [one]
    left = submitted(tunesmith, recipe, "--name", "left")["id"]
    gone = tunesmith("jobs", "delete", left, two, "--yes", "--json", code=2).document
    assert (gone["deleted"], [error["job_id"] for error in gone["errors"]]) == ([two], [left])
    tunesmith("jobs", "cancel", left)


def test_following_a_job_that_was_cancelled_says_so_and_ends_with_1(
    tunesmith: Tunesmith, recipe: Path
) -> None:
    job = submitted(tunesmith, recipe)["id"]
    tunesmith("jobs", "cancel", job)
    done = tunesmith("jobs", "follow", job, code=1)
    assert "Waiting for a device" in done.out
    assert "Cancelled at step 0" in done.out
    assert tunesmith("jobs", "follow", job, "--json", code=1).document["status"] == "cancelled"


def test_following_a_job_says_what_it_waits_for(tunesmith: Tunesmith, recipe: Path) -> None:
    job = submitted(tunesmith, recipe)["id"]
    words = [sys.executable, "-m", "tunesmith", "jobs", "follow", job]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert any("No running worker has" in line for line in following.stdout)
        tunesmith("jobs", "cancel", job)
        assert "Cancelled at step 0" in following.stdout.read()


def test_lists_show_the_newest_20_and_say_that_there_are_more(
    tunesmith: Tunesmith, live: Live
) -> None:
    with Client(live.url, ADMIN_TOKEN) as client:
        for number in range(21):
            client.jobs.create(base="starter", datasets=["builtin:shop"], name=f"many {number}")
    done = tunesmith("jobs", "list", "--text", "many")
    assert done.out.count("many ") == 20
    assert "many 20" in done.out
    assert "--all" in done.out
    assert tunesmith("jobs", "list", "--text", "many", "--all").out.count("many ") == 21
    shown = tunesmith("jobs", "list", "--text", "many", "--json").document["data"]
    assert len(shown) == 20


def test_a_name_of_another_moves_no_cursor_and_breaks_no_table(
    tunesmith: Tunesmith, live: Live
) -> None:
    name = "训练\u202e客服" * 20
    with Client(live.url, ADMIN_TOKEN) as client:
        client.jobs.create(base="starter", datasets=["builtin:shop"], name=name[:90])
    out = tunesmith("jobs", "list").out
    assert "训练" in out
    assert "\u202e" not in out


def test_what_ships_has_no_version_and_hints_name_commands_that_there_are(
    tunesmith: Tunesmith, live: Live
) -> None:
    with Client(live.url, ADMIN_TOKEN) as client:
        job = client.jobs.create(base="starter", datasets=["builtin:shop"], name="shipped").id
    assert "builtin:shop\n" in tunesmith("jobs", "show", job).out
    told = tunesmith("notices", "test", "nobody", code=2).err
    assert "`tunesmith notices list`" in told
    told = tunesmith("jobs", "branch", "shipped", code=2).err
    assert "named without a step" in told
    assert "Write JOB:STEP. Checkpoints are there of the steps: none." in told


@pytest.mark.usefixtures("recipe")
def test_datasets_from_a_file_and_back(tunesmith: Tunesmith, tmp_path: Path) -> None:
    assert "120 rows" in tunesmith("datasets", "upload", "sums.jsonl", "--name", "maths").out
    assert "What is 7 plus 7?" in tunesmith("datasets", "rows", "maths", "--search", "7 plus 7").out
    assert "[It is 0." in tunesmith("datasets", "preview", "maths", "1").out
    assert "120 rows read" in tunesmith("datasets", "check", "maths").out
    assert "recommended" in tunesmith("datasets", "stats", "maths").out
    edited = tunesmith("datasets", "edit", "maths", "--replace", "plus", "and")
    assert "maths@2" in edited.out
    tunesmith("datasets", "edit", "maths", "--remove", "1", "--remove", "2")
    assert tunesmith("datasets", "show", "maths", "--json").document["newest"]["rows"] == 118
    tunesmith("datasets", "edit", "maths", "--roll-back", "1")
    tunesmith("datasets", "export", "maths@2", "--to", "back.jsonl")
    assert "7 and 7" in (tmp_path / "back.jsonl").read_text()
    assert (
        "is there already"
        in tunesmith("datasets", "export", "maths", "--to", "back.jsonl", code=2).err
    )
    mixed = tunesmith("datasets", "mixing", "maths:2", "builtin:general").out
    assert "240" in mixed
    assert (
        "One change at a time"
        in tunesmith("datasets", "edit", "maths", "--fix", "--remove", "1", code=2).err
    )
    tunesmith("datasets", "delete", "maths", "--yes")
    assert "There is no dataset maths" in tunesmith("datasets", "show", "maths", code=2).err


def test_datasets_are_mended_under_conditions_and_judged(
    tunesmith: Tunesmith, tmp_path: Path
) -> None:
    told = [
        {"prompt": f"What is {n} plus {n}?", "completion": f"It is {n + n}.", "kind": "ab"[n % 2]}
        for n in range(40)
    ]
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    tunesmith("datasets", "upload", "odd.jsonl", "--name", "odd", "--no-near")
    shown = tunesmith("datasets", "remove", "odd", "--where", "id > 38", "--preview").out
    assert "2 removed" in shown
    assert "What is 39 plus 39?" in shown
    assert tunesmith("datasets", "show", "odd", "--json").document["num_versions"] == 1
    assert "38 rows" in tunesmith("datasets", "keep", "odd", "--where", "id <= 38").out
    tunesmith("datasets", "change", "odd", "3", "answer=It is four.")
    tunesmith("datasets", "change", "odd", "--where", "id < 9", "kind=c")
    tunesmith("datasets", "replace", "odd", "It is", "That is", "--where", "id == 5")
    assert "1 changed" in tunesmith("datasets", "diff", "odd@2", "odd@3").out
    assert "There is no new version" in tunesmith("datasets", "fix", "odd").out.replace(
        "there is no", "There is no"
    )
    judged = tunesmith("datasets", "score", "odd").out
    assert "quality of 38 rows, by heuristics" in judged
    assert "tunesmith data " not in judged
    assert "groups of similar questions" in tunesmith("datasets", "diversity", "odd").out
    (tmp_path / "words.yaml").write_text("sum:\n  - 'What is {n}?'\n  - 'Tell me {n}.'\n")
    more = tunesmith("datasets", "augment", "odd", "--templates", "words.yaml")
    assert "38 rows added" in more.out
    assert "rows nearly repeat" in tunesmith("datasets", "near", "odd@1").out
    split = tunesmith("datasets", "splits", "odd", "--stratify", "kind", "--test", "0.2").out
    assert "seed 42" in split
    assert "files are as they were" in tunesmith("datasets", "verify", "odd@1").out
    assert "40 rows" in tunesmith("datasets", "rollback", "odd@1").out
    tunesmith("datasets", "describe", "odd", "--tag", "shop")
    tunesmith("datasets", "delete", "odd@2", "--yes")
    document = tunesmith("datasets", "show", "odd", "--json").document
    assert document["tags"] == ["shop"]
    assert 2 not in [each["number"] for each in document["versions"]]
    assert "Name rows" in tunesmith("datasets", "remove", "odd", code=2).err
    assert "go back to" in tunesmith("datasets", "rollback", "odd", code=2).err
    assert "no FIELD=TEXT" in tunesmith("datasets", "change", "odd", "1", "x", code=2).err


def test_a_list_of_datasets_is_sent_with_its_files(tunesmith: Tunesmith, tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}", "output": f"It is {n}."} for n in range(5)]
    (tmp_path / "listed.json").write_text(json.dumps(rows))
    listing = {"listed": {"file_name": "listed.json"}, "gone": {"file_name": "gone.json"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(listing))
    told = tunesmith("datasets", "import-info", "dataset_info.json", code=1).out
    assert "listed: 5 rows" in told
    assert "gone: not imported: gone.json is not among the files" in told


def test_people_and_tokens(tunesmith: Tunesmith) -> None:
    user = tunesmith("users", "create", "li.na", "--email", "li@example.com", "--json").document
    assert (
        tunesmith("users", "update", "li.na", "--running-jobs", "3", "--json").document[
            "quota_running_jobs"
        ]
        == 3
    )
    tunesmith("users", "update", "li.na", "--no-limit", "running-jobs", "--disable")
    shown = tunesmith("users", "show", user["id"]).out
    assert "disabled" in shown
    assert "running jobs" not in shown
    assert "li.na" in tunesmith("users", "list").out
    made = tunesmith("tokens", "create", "laptop", "--days", "3", "--scope", "read").out
    assert made.startswith("tsk-")
    assert "laptop" in tunesmith("tokens", "list").out
    tunesmith("tokens", "revoke", "laptop")
    assert "laptop" not in tunesmith("tokens", "list").out
    assert "There is no token laptop" in tunesmith("tokens", "revoke", "laptop", code=2).err


def test_a_project_with_members(tunesmith: Tunesmith) -> None:
    assert "member of default." in tunesmith("users", "create", "wang").out
    tunesmith("projects", "create", "desk")
    made = tunesmith("users", "create", "zhao", "--project", "desk").out
    assert "member of desk." in made
    assert "viewer of desk" in tunesmith("projects", "add", "desk", "wang", "--role", "viewer").out
    assert "wang" in tunesmith("projects", "members", "desk").out
    tunesmith("projects", "remove", "desk", "wang")
    assert "wang" not in tunesmith("projects", "members", "desk").out
    tunesmith("projects", "update", "desk", "--weight", "2")
    assert "desk" in tunesmith("projects", "list").out


def test_notices_are_subscribed_to(tunesmith: Tunesmith) -> None:
    made = tunesmith("notices", "subscribe", "webhook", "https://1.1.1.1/s3cret").out
    assert "whsec_" in made
    assert "s3cret" not in made
    shown = tunesmith("notices", "list", "--json").document["data"]
    word = shown[0]["id"].removeprefix("sub-")[:12]
    assert "is off" in tunesmith("notices", "off", word).out
    assert "is on" in tunesmith("notices", "on", word).out
    assert "Nothing was sent" in tunesmith("notices", "sent", word).out
    assert "policy" in tunesmith("notices", "subscribe", "webhook", "http://10.0.0.1/", code=2).err
    tunesmith("notices", "delete", word)


def test_models_to_start_from(tunesmith: Tunesmith) -> None:
    assert "Qwen/Qwen3-0.6B" in tunesmith("models", "presets").out
    assert "There is no model" in tunesmith("models", "show", "none", code=2).err
    assert "no id of a model" in tunesmith("models", "import", "nonsense", code=2).err
    assert "name one" in tunesmith("models", "import", "x", "--folder", "--modelscope", code=2).err


def test_a_model_recommends_values(tunesmith: Tunesmith) -> None:
    assert "Nothing is named" in tunesmith("models", "describe", "starter", code=2).err
    wrong = ("models", "describe", "starter", "--default", "training.epochs")
    assert "no FIELD=VALUE" in tunesmith(*wrong, code=2).err


def test_signing_in_and_out(
    tunesmith: Tunesmith, live: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import io

    for name in ("TUNESMITH_URL", "TUNESMITH_TOKEN"):
        monkeypatch.delenv(name)
    assert "tunesmith login" in tunesmith("jobs", "list", code=2).err
    monkeypatch.setattr("sys.stdin", io.StringIO("tsk-wrong\n"))
    assert "not known" in tunesmith("login", live.url, code=2).err
    assert not (tmp_path / "config" / "tunesmith" / "login.json").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ADMIN_TOKEN}\n"))
    assert "as admin" in tunesmith("login", live.url).out
    assert tunesmith("users", "show", "--json").document["name"] == "admin"
    assert "Signed out" in tunesmith("logout").out
    tunesmith("jobs", "list", code=2)


def test_errors_as_json_have_a_code(tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_TOKEN", "tsk-wrong")
    error = tunesmith("jobs", "list", "--json", code=2).document["error"]
    assert (error["code"], error["status"]) == ("invalid_token", 401)
    monkeypatch.setenv("TUNESMITH_URL", "http://127.0.0.1:1")
    error = tunesmith("models", "list", "--json", code=1).document["error"]
    assert error["code"] == "server_not_reachable"
    monkeypatch.setenv("TUNESMITH_URL", "nonsense")
    assert "no address" in tunesmith("datasets", "list", code=2).err


def test_the_server_speaks_chinese_where_asked(
    tunesmith: Tunesmith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_LANG", "zh_CN")
    monkeypatch.setenv("TUNESMITH_TOKEN", "tsk-wrong")
    assert "令牌" in tunesmith("jobs", "list", code=2).err
