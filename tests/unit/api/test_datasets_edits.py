"""Changes of datasets under conditions, shown before they are made; quality; near pairs; splits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.datasets import code, done, edit, finished, imported, rows


def labelled(count: int = 60) -> bytes:
    told = [
        {
            "prompt": f"What is number {n}?",
            "completion": f"It is {n}.",
            "kind": "even" if n % 2 == 0 else "odd",
            "customer": f"c{n // 3}",
        }
        for n in range(count)
    ]
    return b"".join(json.dumps(each).encode() + b"\n" for each in told)


def preview(server: Server, dataset: str, **operation: Any) -> Any:
    body = {"operation": operation, "preview": True}
    return server.member.post(f"/api/v1/datasets/{dataset}/edit", json=body)


def test_rows_are_removed_changed_and_replaced_under_a_condition(server: Server) -> None:
    dataset = imported(server, content=labelled())
    removed = edit(server, dataset, operation="remove", where='col("kind") == "odd" and id > 40')
    assert removed.json()["counts"] == {"removed": 10}, removed.text
    changed = edit(
        server, dataset, operation="change", where="id <= 3", fields={"customer": "first"}
    )
    assert changed.json()["version"]["number"] == 3
    replaced = edit(
        server, dataset, operation="replace", find="It is", new="That is", only="id == 5"
    )
    assert replaced.status_code == 200, replaced.text
    told = rows(server, dataset, 4, limit=10)["data"]
    assert [row["extra"]["customer"] for row in told[:4]] == ["first", "first", "first", "c1"]
    assert [row["record"]["messages"][1]["content"] for row in told[3:6]] == [
        "It is 3.",
        "That is 4.",
        "It is 5.",
    ]


def test_a_preview_shows_what_would_change_and_publishes_nothing(server_on_both: Server) -> None:
    server = server_on_both
    dataset = imported(server, content=labelled())
    wanted: dict[str, Any] = {"operation": "remove", "where": "id > 50"}
    shown = preview(server, dataset, **wanted)
    assert shown.status_code == 200, shown.text
    told = shown.json()
    assert told["version"] is None
    assert told["counts"] == {"removed": 10}
    assert told["diff"]["counts"] == {"added": 0, "removed": 10, "changed": 0, "same": 50}
    assert told["diff"]["removed"][0]["id"] == 51
    assert told["diff"]["before"] == "support@1"
    replaced = preview(server, dataset, operation="replace", find="It is 7.", new="Seven.").json()
    [changed] = replaced["diff"]["changed"]
    assert changed["before"]["messages"][1]["content"] == "It is 7."
    assert changed["after"]["messages"][1]["content"] == "Seven."
    nothing = preview(server, dataset, operation="replace", find="nowhere", new="x").json()
    assert (nothing["diff"], nothing["version"]) == (None, None)
    folder = server.platform.place.datasets / "support"
    assert [path.name for path in folder.iterdir() if path.name.startswith("draft-")] == []
    assert server.viewer.get(f"/api/v1/datasets/{dataset}").json()["num_versions"] == 1
    made = edit(server, dataset, **wanted).json()
    assert made["version"]["rows"] == 50


def test_a_preview_of_what_takes_long_is_the_result_of_a_task(server: Server) -> None:
    dataset = imported(server, content=labelled())
    asked = preview(server, dataset, operation="keep", where='matches(question, "[13579][?]")')
    assert asked.status_code == 202
    told = done(server, asked.json()["task"])
    assert (told["version"], told["diff"]["counts"]["removed"]) == (None, 30)
    assert server.viewer.get(f"/api/v1/datasets/{dataset}").json()["num_versions"] == 1


def test_a_preview_of_an_old_version_is_refused(server: Server) -> None:
    dataset = imported(server)
    assert edit(server, dataset, operation="remove", rows=[1]).status_code == 200
    body = {"operation": {"operation": "remove", "rows": [2]}, "base": 1, "preview": True}
    answer = server.member.post(f"/api/v1/datasets/{dataset}/edit", json=body)
    assert (answer.status_code, code(answer)) == (409, "dataset_changed")


def test_a_new_column_for_labels_is_made_on_request(server: Server) -> None:
    dataset = imported(server)
    change: dict[str, Any] = {
        "operation": "change",
        "changes": [{"row": n, "fields": {"good": n > 1}} for n in (1, 2)],
    }
    refused = edit(server, dataset, **change)
    assert (refused.status_code, code(refused)) == (400, "invalid_input")
    assert edit(server, dataset, new_columns=True, **change).status_code == 200
    told = rows(server, dataset, 2, limit=3)["data"]
    assert [row.get("extra", {}).get("good") for row in told] == [False, True, None]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"operation": "remove"}, "invalid_body"),
    ({"operation": "remove", "rows": [1], "where": "id == 1"}, "invalid_body"),
    ({"operation": "remove", "where": "id > 0"}, "nothing_left"),
    ({"operation": "remove", "where": "id >"}, "bad_condition"),
    ({"operation": "change", "where": "id == 1"}, "invalid_body"),
    ({"operation": "change", "where": "id == 1", "fields": {"nothing": 1}}, "invalid_input"),
    (
        {"operation": "change", "changes": [{"row": 1, "fields": {"id": 4}}], "new_columns": True},
        "unknown_field",
    ),
    ({"operation": "replace", "find": "a", "new": "b", "only": "nothing > 3"}, "bad_condition"),
    ({"operation": "score", "by": "perplexity"}, "invalid_body"),
    ({"operation": "score", "by": "reward", "model": "starter"}, "invalid_body"),
    ({"operation": "score", "by": "perplexity", "model": "/etc"}, "model_not_found"),
    ({"operation": "augment", "templates": "a: [x"}, "bad_templates"),
    ({"operation": "augment", "templates": "a:\n  - only one\n"}, "bad_templates"),
]


@pytest.mark.parametrize(("operation", "expected"), REFUSED, ids=lambda each: str(each)[:50])
def test_odd_changes_are_refused_at_once(
    server: Server, operation: dict[str, Any], expected: str
) -> None:
    dataset = imported(server)
    answer = edit(server, dataset, **operation)
    assert (code(answer), answer.status_code in (400, 404, 422)) == (expected, True), answer.text
    assert str(server.platform.place.root) not in answer.text
    assert "wordings-" not in answer.text


def test_rows_are_asked_in_other_words(server: Server) -> None:
    dataset = imported(server)
    templates = "number:\n  - 'What is number {n}?'\n  - 'Tell me number {n}.'\n"
    begun = edit(server, dataset, operation="augment", templates=templates).json()
    told = done(server, begun["task"])
    assert told["counts"] == {"matched": 30, "added": 30, "present": 0}
    assert told["rows"] == 60
    added = rows(server, dataset, 2, where="id > 30", limit=1)["data"][0]
    assert added["record"]["messages"][0]["content"] == "Tell me number 0."
    assert added["extra"] == {"augmented_from": 1, "template": "number"}
    again = edit(server, dataset, operation="augment").json()
    assert done(server, again["task"])["version"] is None  # no wording of ours is in these rows


@pytest.mark.slow
def test_perplexity_is_measured_by_the_engine(server: Server) -> None:
    dataset = imported(server, content=labelled(12))
    begun = edit(
        server, dataset, operation="score", by="perplexity", model="starter", max_length=64
    )
    assert begun.status_code == 202, begun.text
    told = done(server, begun.json()["task"])
    assert told["details"]["scored"] == 12
    assert told["details"]["facts"]["model"] == "starter"
    assert len(told["details"]["worst"]) == 10
    first = rows(server, dataset, 2, limit=1, sort="perplexity", descending=True)["data"][0]
    assert first["extra"]["perplexity"] > 1


@pytest.mark.slow
def test_a_model_that_does_not_come_fails_in_words(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    dataset = imported(server)
    begun = edit(server, dataset, operation="score", by="perplexity", model="no/such-model")
    failed = finished(server, begun.json()["task"])
    assert failed["error"]["code"] == "scoring_failed"
    assert "no/such-model" in failed["error"]["message"]
    assert str(server.platform.place.root) not in str(failed["error"])
    assert server.viewer.get(f"/api/v1/datasets/{dataset}").json()["num_versions"] == 1


def test_near_repetitions_are_shown_as_pairs(server: Server) -> None:
    text = "The quick brown fox jumps over the lazy dog, and then it runs back to the forest"
    told = [{"prompt": f"Tell story {n}.", "completion": f"{text} {n}."} for n in range(3)]
    told += [{"prompt": f"Word {n * 7919}?", "completion": str(n**9)} for n in range(20)]
    told += [told[5]]
    content = b"".join(json.dumps(each).encode() + b"\n" for each in told)
    dataset = imported(server, content=content)
    path = f"/api/v1/datasets/{dataset}/versions/1/near"
    assert code(server.viewer.get(path)) == "report_not_found"
    result = done(server, server.member.post(path).json())
    assert result["near"] == 2
    assert result["exact"] == 1
    found = server.viewer.get(path).json()
    assert [(pair["row"], pair["same_as"]) for pair in found["pairs"]] == [(2, 1), (3, 1)]
    assert all(0.8 <= pair["similarity"] <= 1 for pair in found["pairs"])
    assert found["pairs"][0]["text"].startswith("Tell story 1.\nThe quick")


def test_a_split_is_shown_before_any_training(server: Server) -> None:
    dataset = imported(server, content=labelled())
    path = f"/api/v1/datasets/{dataset}/versions/1/splits"
    wanted = {
        "validation": {"fraction": 0.1, "stratify_by": "kind"},
        "test": {"fraction": 0.2, "max_rows": 9, "group_by": "customer"},
    }
    answer = server.member.post(path, json=wanted)
    assert answer.status_code == 200, answer.text
    told = answer.json()["splits"]
    held = told["validation"]["rows"] + told["test"]["rows"] + told["test"]["set_aside"]
    assert told["training"]["rows"] + held == told["rows"] == 60
    assert told["validation"]["rows"] == 6
    assert told["test"]["rows"] == 9
    by_kind = {each["value"]: each for each in told["values"]["kind"]}
    assert by_kind["even"]["validation"] == by_kind["odd"]["validation"] == 3
    groups = {(row - 1) // 3 for row in told["test"]["ids"]}
    assert len(groups) == 3
    assert server.member.post(path, json=wanted).json()["splits"] == told
    missing = server.member.post(path, json={"validation": {"stratify_by": "colour"}})
    assert (missing.status_code, code(missing)) == (400, "column_missing")


def test_a_version_is_compared_with_its_checksums(server: Server) -> None:
    dataset = imported(server)
    path = f"/api/v1/datasets/{dataset}/versions/1/verify"
    assert done(server, server.member.post(path).json())["files"] == 1
    [part] = (server.platform.place.datasets / "support" / "0001").glob("part-*")
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    part.write_bytes(bytes(damaged))
    failed = finished(server, server.member.post(path).json())
    assert failed["error"]["code"] == "version_broken"
