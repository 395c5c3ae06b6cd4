"""The methods dpo and reinforcement under /v1, from the body to the recipe that is queued."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.openai.making import chats, create, get, upload

GRADER = {
    "type": "string_check",
    "name": "same",
    "input": "{{sample.output_text}}",
    "reference": "{{item.topic}}",
    "operation": "eq",
}


def lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def asked(n: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"question {n}"}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def pairs(count: int, kind: str = "output") -> bytes:
    return lines(
        {
            "input": {"messages": asked(n)},
            f"preferred_{kind}": said(f"answer {n}"),
            f"non_preferred_{kind}": said(f"nonsense {n}"),
        }
        for n in range(count)
    )


def questions(count: int, start: int = 0) -> bytes:
    return lines({"messages": asked(n), "topic": f"t{n}"} for n in range(start, start + count))


def queued(server: Server, rows: bytes, method: Mapping[str, Any], **body: Any) -> dict[str, Any]:
    job = create(server, training_file=upload(server, rows)["id"], method=method, **body)
    server.finish_tasks()
    return get(server, f"/fine_tuning/jobs/{job['id']}")


def recipe_of(server: Server, job: Mapping[str, Any]) -> dict[str, Any]:
    return server.member.get(f"/api/v1/jobs/{job['id']}/recipe").json()["recipe"]


def reinforcement(grader: Mapping[str, Any] = GRADER, **numbers: Any) -> dict[str, Any]:
    return {
        "type": "reinforcement",
        "reinforcement": {"grader": grader, "hyperparameters": numbers},
    }


@pytest.mark.parametrize("kind", ["output", "completion"])
def test_preferences_of_both_spellings_are_trained_with_dpo(server: Server, kind: str) -> None:
    """T29 of the conformance list."""
    auto = {"hyperparameters": {"beta": "auto"}}
    job = queued(server, pairs(12, kind), {"type": "dpo", "dpo": auto})
    assert job["status"] == "queued", job["error"]
    numbers = job["method"]["dpo"]["hyperparameters"]
    assert numbers == {**job["hyperparameters"], "beta": 0.1}
    recipe = recipe_of(server, job)
    assert (recipe["stage"]["kind"], recipe["stage"]["beta"]) == ("dpo", 0.1)
    events = get(server, f"/fine_tuning/jobs/{job['id']}/events")["data"]
    assert any("beta=0.1" in event["message"] for event in events)


def test_a_comparison_moves_the_model_more_slowly_than_learning_answers(server: Server) -> None:
    compared = queued(server, pairs(20), {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.5}}})
    learned = queued(server, chats(20), {"type": "supervised"})
    assert compared["hyperparameters"] == learned["hyperparameters"]
    rates = [recipe_of(server, job)["training"]["learning_rate"] for job in (compared, learned)]
    assert rates[0] == pytest.approx(rates[1] / 10)
    assert recipe_of(server, compared)["stage"]["beta"] == 0.5


def test_the_numbers_of_reinforcement_become_a_recipe(server: Server) -> None:
    held = upload(server, questions(12, start=100))["id"]
    method = reinforcement(compute_multiplier=0.5, eval_interval=3, eval_samples=7)
    job = queued(server, questions(20), method, validation_file=held)
    assert job["status"] == "queued", job["error"]
    shown = job["method"]["reinforcement"]
    assert shown["grader"] == GRADER
    assert shown["hyperparameters"] == {
        **job["hyperparameters"],
        "compute_multiplier": 0.5,
        "eval_interval": 3,
        "eval_samples": 7,
        "reasoning_effort": "default",
    }
    recipe = recipe_of(server, job)
    assert recipe["stage"]["kind"] == "grpo"
    assert recipe["stage"]["group_size"] == 4
    assert recipe["stage"]["rewards"][0]["grader"]["type"] == "string_check"
    assert recipe["training"]["evaluate"]["every_steps"] == 3
    assert recipe["data"]["validation"]["max_rows"] == 7


def test_auto_of_reinforcement_becomes_numbers(server: Server) -> None:
    job = queued(server, questions(20), reinforcement())
    numbers = job["method"]["reinforcement"]["hyperparameters"]
    assert numbers["compute_multiplier"] == 1.0
    assert (numbers["n_epochs"], numbers["batch_size"]) == (5, 2)
    assert numbers["eval_interval"] == 5 * 10 // 10
    assert recipe_of(server, job)["stage"]["group_size"] == 8


def test_an_effort_of_reasoning_is_told_to_be_unused(server: Server) -> None:
    job = queued(server, questions(20), reinforcement(reasoning_effort="high"))
    events = get(server, f"/fine_tuning/jobs/{job['id']}/events")["data"]
    warned = [event["message"] for event in events if event["level"] == "warn"]
    assert any(message.startswith("reasoning_effort: high is not used") for message in warned)


@pytest.mark.parametrize(
    ("rows", "method", "told"),
    [
        (chats(12), {"type": "dpo"}, "Example 1, input.messages: The line has no list"),
        (pairs(12), {"type": "supervised"}, "Example 1, messages: The line has no list"),
        (pairs(12), reinforcement(), "Example 1, messages: The line has no list"),
        (
            chats(12),
            reinforcement(),
            "Example 1, messages[1].role: The last message of a question is not from the user",
        ),
        (questions(12), {"type": "supervised"}, "Example 1, messages: No message is from the"),
    ],
)
def test_lines_of_another_method_are_refused(
    server: Server, rows: bytes, method: dict[str, Any], told: str
) -> None:
    job = queued(server, rows, method)
    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid_training_file"
    assert job["error"]["param"] == "training_file"
    assert told in job["error"]["message"]


def test_a_file_that_one_method_took_is_looked_at_again_for_another(server: Server) -> None:
    file = upload(server, chats(12))["id"]
    jobs = []
    for method in ({"type": "supervised"}, reinforcement(), {"type": "supervised"}):
        job = create(server, training_file=file, method=method)
        server.finish_tasks()
        jobs.append(get(server, f"/fine_tuning/jobs/{job['id']}")["status"])
    assert jobs == ["queued", "failed", "queued"]


def test_other_preference_stages_take_the_same_files(server: Server) -> None:
    """By a field of the recipe, beside what OpenAI's clients know."""
    job = create(server, training_file=upload(server, pairs(12))["id"], **{"stage.kind": "simpo"})
    server.finish_tasks()
    job = get(server, f"/fine_tuning/jobs/{job['id']}")
    assert job["status"] == "queued", job["error"]
    assert recipe_of(server, job)["stage"]["kind"] == "simpo"
