"""Datasets over the API: files become versions, versions are looked at, changed and taken out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.datasets import begin, code, done, edit, finished, imported, lines, rows, send

from tunesmith.data.store import Catalog
from tunesmith.server.services.datasets import registry


def test_files_become_a_dataset(server_on_both: Server) -> None:
    server = server_on_both
    answer = begin(
        server, "support", lines(), description="Help desk", tags=["shop"], licence="CC0"
    )
    assert answer.status_code == 202, answer.text
    begun = answer.json()["dataset"]
    assert (begun["state"], begun["newest"], begun["tags"]) == ("empty", None, ["shop"])
    result = done(server, answer.json()["task"])
    assert (result["rows"], result["version"]) == (30, 1)
    path = f"/api/v1/datasets/{begun['id']}"
    told = server.viewer.get(path).json()
    assert (told["state"], told["num_versions"], told["newest"]["rows"]) == ("published", 1, 30)
    assert [each["id"] for each in server.viewer.get("/api/v1/datasets").json()["data"]] == [
        begun["id"]
    ]
    version = server.viewer.get(f"{path}/versions/1").json()
    assert version["sources"][0]["file"] == "rows.jsonl"
    assert version["operations"][0]["operation"] == "import"
    assert version["state"] == "published"
    report = server.viewer.get(f"{path}/versions/1/report", params={"language": "zh"}).json()
    assert report["rows_read"] == 30
    assert report["subject"] == "support@1"


def test_several_files_of_several_types_make_one_version(server: Server) -> None:
    table = "prompt,completion\nWhat is a?,The first letter\nWhat is b?,The second letter\n"
    files = [send(server, lines(5)), send(server, table.encode(), "../../more.csv")]
    body = {"name": "both", "file_ids": files}
    made = server.member.post("/api/v1/datasets", json=body).json()
    assert done(server, made["task"])["rows"] == 7
    names = {row["file"] for row in rows(server, made["dataset"]["id"])["data"]}
    assert names == {"rows.jsonl", "more.csv"}


def test_rows_that_cannot_be_used_are_kept_beside_the_version(server: Server) -> None:
    content = lines(3) + b"not json\n" + lines(2, 10) + b'{"prompt": "no answer"}\n'
    dataset = imported(server, "gaps", content)
    path = f"/api/v1/datasets/{dataset}/versions/1/rejected"
    first = server.viewer.get(path, params={"limit": 1}).json()
    rest = server.viewer.get(path, params={"after": first["next_after"]}).json()
    assert [each["line"] for each in first["data"] + rest["data"]] == [4, 7]
    assert (first["total"], first["has_more"], rest["has_more"]) == (2, True, False)
    assert str(server.platform.place.root) not in str(first) + str(rest)
    assert server.viewer.get(path, params={"after": 10**9}).json()["data"] == []


def test_files_of_one_name_stay_apart(server: Server) -> None:
    files = [send(server, lines(5)), send(server, lines(5, 50))]
    made = server.member.post("/api/v1/datasets", json={"name": "two", "file_ids": files}).json()
    done(server, made["task"])
    found = [row["file"] for row in rows(server, made["dataset"]["id"])["data"]]
    assert sorted(set(found)) == ["2-rows.jsonl", "rows.jsonl"]


def test_columns_with_unusual_names_are_mapped(server: Server) -> None:
    table = "Frage,Antwort,Ort\n" + "".join(f"Was ist {n}?,Es ist {n}.,Ulm\n" for n in range(20))
    file = send(server, table.encode(), "fragen.csv")
    looked = {"file_id": file, "rows": 2}
    seen = server.viewer.post("/api/v1/datasets/detect", json=looked).json()
    assert [each["name"] for each in seen["columns"]] == ["Frage", "Antwort", "Ort"]
    assert seen["columns"][2]["examples"][0] == "Ulm"
    assert seen["format"] is None
    assert seen["problems"][0]["code"] == "unknown_format"
    mapping = {"prompt_field": "Frage", "response_field": "Antwort"}
    seen = server.viewer.post("/api/v1/datasets/detect", json=looked | {"mapping": mapping}).json()
    assert seen["format"] == "prompt_response"
    assert seen["rows"][0]["record"]["messages"][1]["content"] == "Es ist 0."
    body = {"name": "fragen", "file_ids": [file], "mapping": mapping}
    made = server.member.post("/api/v1/datasets", json=body).json()
    done(server, made["task"])
    first = rows(server, made["dataset"]["id"], limit=1)["data"][0]
    assert first["extra"] == {"Ort": "Ulm"}


def test_a_look_at_odd_files_tells_what_is_wrong_and_no_path_of_ours(server: Server) -> None:
    for content, name in (
        (b"", "a.jsonl"),
        (b"not json\n" * 3, "a.jsonl"),
        (b"\xff\xfe\x00", "a.csv"),
        (b"PK\x03\x04broken", "a.xlsx"),
        (b"\x1f\x8bbroken", "a.jsonl.gz"),
        ("\u95ee,\u7b54\n\u7532,\u4e59\n".encode("gb18030"), "a.csv"),
    ):
        body = {"file_id": send(server, content, name)}
        answer = server.viewer.post("/api/v1/datasets/detect", json=body)
        assert answer.status_code in (200, 400), answer.text
        assert answer.status_code == 400 or answer.json()["problems"], name
        assert str(server.platform.place.root) not in answer.text
        assert "reading-" not in answer.text


def test_a_file_without_an_ending_is_known_by_its_content(server: Server) -> None:
    body = {"file_id": send(server, lines(3), "no-ending")}
    seen = server.viewer.post("/api/v1/datasets/detect", json=body).json()
    assert (seen["file"], seen["format"]) == ("no-ending.jsonl", "prompt_response")


def test_an_import_without_usable_rows_leaves_nothing(server_on_both: Server) -> None:
    server = server_on_both
    answer = begin(server, "bad", b'{"x": 1}\n' * 20)
    task = finished(server, answer.json()["task"])
    assert task["state"] == "failed"
    assert task["error"]["message"]
    assert server.member.get("/api/v1/datasets").json()["data"] == []
    assert Catalog(server.platform.place.root).names() == []
    imported(server, "bad")  # the name is free again


def test_files_that_cannot_be_read_are_refused_at_once(server: Server) -> None:
    answer = begin(server, "x", b"%PDF", filename="paper.pdf")
    assert (answer.status_code, code(answer)) == (400, "unknown_file_type")
    body = {"name": "x", "file_ids": ["file-none"]}
    assert code(server.member.post("/api/v1/datasets", json=body)) == "file_not_found"
    theirs = send(server, lines(), who="foreigner")
    answer = server.member.post("/api/v1/datasets", json={"name": "x", "file_ids": [theirs]})
    assert (answer.status_code, code(answer)) == (404, "file_not_found")


def test_names_that_a_recipe_could_not_say_are_refused(server: Server) -> None:
    for name in ("../x", "a/b", "con", ".hidden", "a b", "dsv-1", "x" * 101, ""):
        answer = begin(server, name, lines())
        assert answer.status_code in (400, 422), name
        assert code(answer) in ("bad_name", "invalid_body"), name


def test_a_name_is_one_datasets_in_its_project(server_on_both: Server) -> None:
    server = server_on_both
    ours = imported(server, "support")
    answer = begin(server, "support", lines())
    assert (answer.status_code, code(answer)) == (409, "name_taken")
    theirs = imported(server, "support", lines(5), who="foreigner")
    assert rows(server, ours)["total"] == 30
    assert server.foreigner.get(f"/api/v1/datasets/{theirs}").json()["newest"]["rows"] == 5
    assert server.member.delete(f"/api/v1/datasets/{ours}").status_code == 204
    again = imported(server, "support", lines(7))
    assert rows(server, again)["total"] == 7


def test_foreigners_find_nothing_and_viewers_change_nothing(server: Server) -> None:
    dataset = imported(server)
    path = f"/api/v1/datasets/{dataset}"
    operation = {"operation": {"operation": "remove", "rows": [1]}}
    for method, place, body in (
        ("GET", path, None),
        ("PATCH", path, {"description": "x"}),
        ("DELETE", path, None),
        ("GET", f"{path}/versions", None),
        ("GET", f"{path}/versions/1", None),
        ("GET", f"{path}/versions/1/rows", None),
        ("GET", f"{path}/versions/1/rows/1/preview", None),
        ("GET", f"{path}/versions/1/report", None),
        ("GET", f"{path}/diff?before=1&after=1", None),
        ("POST", f"{path}/edit", operation),
        ("POST", f"{path}/versions/1/export", {"format": "csv"}),
        ("DELETE", f"{path}/versions/1", None),
    ):
        answer = server.foreigner.request(method, place, json=body)
        assert (answer.status_code, code(answer)) == (404, "dataset_not_found"), place
        if method != "GET":
            refused = server.viewer.request(method, place, json=body)
            assert (refused.status_code, code(refused)) == (403, "role_too_low"), place


def test_what_is_said_about_a_dataset_changes(server: Server) -> None:
    dataset = imported(server)
    imported(server, "other")
    path = f"/api/v1/datasets/{dataset}"
    told = server.member.patch(path, json={"name": "help", "tags": ["a"], "role": "general"})
    assert told.json()["name"] == "help"
    assert told.json()["role"] == "general"
    assert code(server.member.patch(path, json={"name": "other"})) == "name_taken"
    assert code(server.member.patch(path, json={"name": "../x"})) == "bad_name"
    found = server.member.get("/api/v1/datasets", params={"text": "HEL"}).json()["data"]
    assert [each["id"] for each in found] == [dataset]
    assert rows(server, dataset)["total"] == 30


# ---------------------------------------------------------------- changes


def test_every_edit_is_a_new_version(server_on_both: Server) -> None:
    server = server_on_both
    dataset = imported(server)
    changed = edit(
        server, dataset, operation="change", changes=[{"row": 3, "fields": {"answer": "Three."}}]
    )
    assert changed.status_code == 200, changed.text
    assert changed.json()["version"]["number"] == 2
    removed = edit(server, dataset, base=2, operation="remove", rows=[1, 2])
    assert removed.json()["version"]["rows"] == 28
    kept = edit(server, dataset, operation="keep", where="answer_length < 60")
    assert kept.json()["counts"]["removed"] > 0
    replaced = edit(server, dataset, operation="replace", find="What", new="Which")
    assert replaced.json()["version"]["number"] == 5
    added = edit(
        server, dataset, operation="add", rows=[{"prompt": "And 99?", "completion": "It is 99."}]
    )
    assert added.json()["counts"] == {"added": 1, "refused": 0}
    fixed = edit(server, dataset, operation="fix")
    assert (fixed.json()["version"], fixed.json()["task"]) == (None, None)
    rolled = edit(server, dataset, operation="roll_back", version=1)
    assert rolled.json()["version"]["rows"] == 30
    listed = server.viewer.get(f"/api/v1/datasets/{dataset}/versions").json()["data"]
    assert [each["number"] for each in listed] == [7, 6, 5, 4, 3, 2, 1]
    assert listed[0]["content"] == listed[-1]["content"]
    assert listed[-2]["parent_id"] == listed[-1]["id"]
    path = f"/api/v1/datasets/{dataset}/diff"
    told = server.viewer.get(path, params={"before": 1, "after": 3}).json()
    assert told["counts"] == {"added": 0, "removed": 2, "changed": 1, "same": 27}
    assert told["changed"][0]["after"]["messages"][1]["content"] == "Three."


def test_a_change_of_an_old_version_is_refused(server: Server) -> None:
    dataset = imported(server)
    assert edit(server, dataset, base=1, operation="remove", rows=[1]).status_code == 200
    answer = edit(server, dataset, base=1, operation="remove", rows=[2])
    assert (answer.status_code, code(answer)) == (409, "dataset_changed")
    assert rows(server, dataset, 2)["total"] == 29


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"operation": "remove", "rows": [999]}, "unknown_row"),
    (
        {"operation": "change", "changes": [{"row": 999, "fields": {"answer": "x"}}]},
        "unknown_row",
    ),
    ({"operation": "change", "changes": [{"row": 1, "fields": {"age": 1}}]}, "invalid_input"),
    ({"operation": "change", "changes": [{"row": 1, "fields": {"record": 1}}]}, "invalid_input"),
    ({"operation": "keep", "where": "answer_length <"}, "bad_condition"),
    ({"operation": "keep", "where": "nothing > 3"}, "bad_condition"),
    ({"operation": "keep", "where": "answer_length > 9999"}, "nothing_left"),
    ({"operation": "keep", "where": "__import__('os')"}, "bad_condition"),
    ({"operation": "roll_back", "version": 9}, "unknown_version"),
    ({"operation": "fix", "only": ["everything"]}, "invalid_input"),
    ({"operation": "add", "rows": [{"x": 1}]}, ""),
    ({"operation": "unknown"}, "invalid_body"),
]


def test_a_change_that_cannot_be_made_changes_nothing(server: Server) -> None:
    dataset = imported(server)
    for operation, expected in REFUSED:
        answer = edit(server, dataset, **operation)
        assert answer.status_code in (400, 404, 422), (operation, answer.text)
        assert not expected or code(answer) == expected, operation
        assert str(server.platform.place.root) not in answer.text
    assert server.viewer.get(f"/api/v1/datasets/{dataset}").json()["num_versions"] == 1


def test_patterns_and_scores_are_left_to_tasks(server: Server) -> None:
    dataset = imported(server)
    operations: list[dict[str, Any]] = [
        {"operation": "replace", "find": "W(.)at", "new": r"H\1t", "regex": True},
        {"operation": "keep", "where": 'matches(question, "number [12]")'},
        {"operation": "score"},
        {"operation": "diversity"},
    ]
    for operation in operations:
        answer = edit(server, dataset, **operation)
        assert answer.status_code == 202
        assert done(server, answer.json()["task"])["version"] is not None
    row = rows(server, dataset, 5, limit=1)["data"][0]
    assert row["record"]["messages"][0]["content"].startswith("Hht")
    assert {"quality", "cluster"} <= set(row["extra"])


def test_further_files_come_behind_the_rows_or_in_their_place(server: Server) -> None:
    dataset = imported(server)
    path = f"/api/v1/datasets/{dataset}/import"
    body = {"file_ids": [send(server, lines(5, 100), "more.jsonl")]}
    assert done(server, server.member.post(path, json=body).json())["rows"] == 35
    place = {"append": False, "note": "from scratch"}
    told = done(server, server.member.post(path, json=body | place).json())
    assert (told["rows"], told["version"]) == (5, 3)
    newest = server.viewer.get(f"/api/v1/datasets/{dataset}").json()["newest"]
    assert newest["note"] == "from scratch"


def test_a_dataset_does_not_grow_beyond_its_limit_file_by_file(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C5: at most 50 GB in all, here made small."""
    dataset = imported(server)
    there = server.viewer.get(f"/api/v1/datasets/{dataset}").json()["newest"]["bytes"]
    more = lines(5, 100)
    monkeypatch.setattr(registry, "MAX_BYTES", there + len(more) - 1)
    path, body = f"/api/v1/datasets/{dataset}/import", {"file_ids": [send(server, more, "m.jsonl")]}
    refused = server.member.post(path, json=body)
    assert (refused.status_code, code(refused)) == (413, "dataset_too_large")
    assert "The files and the rows that there are" in refused.json()["error"]["message"]
    assert server.member.post(path, json=body | {"append": False}).status_code == 202


# ---------------------------------------------------------------- reports and exports


def test_a_check_is_a_task_and_its_report_is_kept_in_both_languages(server: Server) -> None:
    dataset = imported(server)
    path = f"/api/v1/datasets/{dataset}/versions/1"
    asked = {"profile": "openai", "model": "starter", "max_length": 32}
    assert code(server.viewer.get(f"{path}/report", params={"profile": "openai"})) == (
        "report_not_found"
    )
    result = done(server, server.member.post(f"{path}/check", json=asked).json())
    english = server.viewer.get(f"{path}/report", params={"profile": "openai"}).json()
    chinese = server.viewer.get(
        f"{path}/report", params={"profile": "openai"}, headers={"Accept-Language": "zh"}
    ).json()
    assert english["counts"] == chinese["counts"] == result["counts"]
    titles = {each["code"]: each["title"] for each in english["findings"]}
    assert "overlong" in titles
    assert titles != {each["code"]: each["title"] for each in chinese["findings"]}


def test_rows_that_another_dataset_holds_are_found(server: Server) -> None:
    dataset = imported(server)
    imported(server, "holdout", lines(5))
    path = f"/api/v1/datasets/{dataset}/versions/1"
    done(server, server.member.post(f"{path}/check", json={"against": "holdout@1"}).json())
    found = server.viewer.get(f"{path}/report").json()["findings"]
    assert [each["count"] for each in found if each["code"] == "leakage"] == [5]


def test_statistics_are_counted_once_and_kept(server: Server) -> None:
    dataset = imported(server)
    path = f"/api/v1/datasets/{dataset}/versions/1/stats"
    assert code(server.viewer.get(path)) == "report_not_found"
    facts = done(server, server.member.post(path, json={"model": "starter"}).json())
    assert facts["training_rows"] == 30
    assert facts["recommended"]["max_length"] == 512
    assert facts["histogram"]["counts"]
    assert server.viewer.get(path, params={"model": "starter"}).json() == facts
    chinese = server.viewer.get(path, headers={"Accept-Language": "zh-CN"}).json()
    assert "最小常用长度" in chinese["recommended"]["why"]
    assert chinese["advice"].startswith("只有 30 条数据")
    assert chinese["tokens"] == facts["tokens"]
    refused = server.member.post(path, json={"model": "no/such-model-anywhere!"}).json()
    assert finished(server, refused)["error"]["code"] == "model_not_found"


def test_a_row_is_shown_as_the_tokens_that_a_model_gets(server: Server) -> None:
    dataset = imported(server)
    path = f"/api/v1/datasets/{dataset}/versions/1/rows/3/preview"
    shown = server.viewer.get(path, params={"model": "starter", "max_length": 8}).json()
    tokens = shown["rows"][0]["tokens"]
    learned = "".join(each["text"] for each in tokens if each["supervised"])
    assert learned.startswith("It is 2, so so there.")
    assert shown["rows"][0]["cut_at"] == 8
    missing = server.viewer.get(path.replace("/3/", "/999/"))
    assert (missing.status_code, code(missing)) == (404, "unknown_row")
    assert server.viewer.get(path, params={"model": "/etc/passwd"}).status_code == 404


def test_an_export_is_a_file_that_can_be_imported_again(server: Server) -> None:
    dataset = imported(server)
    before = messages(server, dataset)
    path = f"/api/v1/datasets/{dataset}/versions/1/export"
    for format in ("jsonl", "csv", "xlsx", "parquet", "alpaca", "sharegpt", "openai"):
        result = done(server, server.member.post(path, json={"format": format}).json())
        file = server.viewer.get(f"/api/v1/files/{result['file_id']}").json()
        assert file["filename"].startswith(f"support-1-{format}.")
        assert file["expires_at"] is not None
        body = {"name": f"again-{format}", "file_ids": [file["id"]]}
        made = server.member.post("/api/v1/datasets", json=body).json()
        assert done(server, made["task"])["rows"] == 30
        assert messages(server, made["dataset"]["id"]) == before, format


def messages(server: Server, dataset: str) -> list[Any]:
    return [row["record"]["messages"] for row in rows(server, dataset, limit=500)["data"]]


def test_a_formula_is_harmless_in_an_exported_table(server: Server) -> None:
    rows_of = [{"prompt": "=cmd|' /C calc'!A0", "completion": "+1"} for _ in range(3)]
    content = b"".join(json.dumps(each).encode() + b"\n" for each in rows_of)
    dataset = imported(server, "odd", content)
    path = f"/api/v1/datasets/{dataset}/versions/1/export"
    result = done(server, server.member.post(path, json={"format": "csv"}).json())
    text = server.viewer.get(f"/api/v1/files/{result['file_id']}/content").text
    assert "'=cmd" in text
    assert "\n=cmd" not in text


def test_a_mixture_is_planned_over_datasets_and_presets(server: Server) -> None:
    imported(server)
    body = {
        "datasets": [
            {"dataset": "support@1", "sampling_rate": 2.0},
            {"dataset": "builtin:general"},
        ]
    }
    plan = server.viewer.post("/api/v1/datasets/mixing-plan", json=body).json()
    assert [each["rows_drawn"] for each in plan["datasets"]] == [60, 12]
    shares = {"datasets": [{"dataset": "support", "share": 90}, {"dataset": "builtin:shop"}]}
    answer = server.viewer.post("/api/v1/datasets/mixing-plan", json=shares)
    assert (answer.status_code, code(answer)) == (400, "shares_wrong")
    unknown = {"datasets": [{"dataset": "nothing"}]}
    answer = server.viewer.post("/api/v1/datasets/mixing-plan", json=unknown)
    assert (answer.status_code, code(answer)) == (404, "dataset_not_found")


def test_presets_are_described_in_the_language_of_the_caller(server: Server) -> None:
    texts: dict[str, str] = {}
    for language in ("en", "zh"):
        headers = {"Accept-Language": language}
        data = server.viewer.get("/api/v1/datasets/presets", headers=headers).json()["data"]
        texts |= {f"{each['name']} {language}": each["description"] for each in data}
    assert texts["builtin:shop en"] == "Customer service of an online shop."
    assert texts["builtin:shop zh"] == "网店客服问答。"
    assert not texts["builtin:general zh"].isascii()


def test_presets_are_there_for_everybody(server: Server) -> None:
    for client in (server.viewer, server.foreigner):
        names = [each["name"] for each in client.get("/api/v1/datasets/presets").json()["data"]]
        assert names == ["builtin:shop", "builtin:general"]
        path = "/api/v1/datasets/presets/builtin:shop/rows"
        part = client.get(path, params={"limit": 2, "after": 839}).json()
        assert ([each["id"] for each in part["data"]], part["has_more"]) == ([840], False)
    assert code(server.viewer.get("/api/v1/datasets/presets/builtin:x/rows")) == "dataset_not_found"
