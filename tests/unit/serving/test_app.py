"""The addresses: what clients of OpenAI send, what they get, and how wrong input is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.unit.serving.conftest import Bench, running, write_adapter

from tunesmith.data.renderer import Renderer
from tunesmith.serving.app import create_app
from tunesmith.serving.loading import Served
from tunesmith.serving.options import Options
from tunesmith.serving.scheduler import Limits
from tunesmith.serving.state import State
from tunesmith.serving.voices import Voice, Voices

SharpModel = Callable[..., Path]
HELLO = [{"role": "user", "content": "Hello"}]


@contextmanager
def address(bench: Bench, *, key: str | None = None) -> Generator[TestClient]:
    """The application on an engine, as a client sees it."""
    state = State(Options("base"), key)
    bench.engine._deliver = state.postman.deliver
    voice = Voice("base", Renderer(bench.tokenizer), False, bench.directory)
    state.become_ready(Served(bench.engine, Voices(voice), {"context": bench.decoder.context}))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with TestClient(create_app(state), raise_server_exceptions=False, headers=headers) as client:
        yield client


@pytest.fixture(scope="module")
def bench(sharp_model_dir: SharpModel) -> Generator[Bench]:
    with running(sharp_model_dir("llama")) as made:
        yield made


@pytest.fixture
def client(bench: Bench) -> Generator[TestClient]:
    with address(bench) as made:
        yield made


def chat(client: TestClient, **body: Any) -> Any:
    return client.post(
        "/v1/chat/completions",
        json={"model": "base", "messages": HELLO, "max_tokens": 12, **body},
    )


def events(answer: Any) -> list[dict[str, Any]]:
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_an_answer_has_openais_shape(client: TestClient) -> None:
    told = chat(client, temperature=0).json()
    assert told["object"] == "chat.completion"
    assert told["model"] == "base"
    [choice] = told["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "length"
    usage = told["usage"]
    assert usage["completion_tokens"] == 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + 12


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 1, "seed": 5}])
@pytest.mark.parametrize("stop", [None, ["e", "zz"]])
def test_a_stream_is_the_answer_in_pieces(
    client: TestClient, settings: dict[str, Any], stop: list[str] | None
) -> None:
    body = {**settings, "max_tokens": 60, "stop": stop, "n": 2}
    whole = {c["index"]: c for c in chat(client, **body).json()["choices"]}
    told = events(chat(client, **body, stream=True, stream_options={"include_usage": True}))
    assert told[-1]["choices"] == []
    assert told[-1]["usage"]["completion_tokens"] > 0
    for index in (0, 1):
        pieces = [e["choices"][0] for e in told[:-1] if e["choices"][0]["index"] == index]
        assert pieces[0]["delta"] == {"role": "assistant", "content": ""}
        text = "".join(p["delta"].get("content", "") for p in pieces)
        assert text == whole[index]["message"]["content"]
        assert pieces[-1]["finish_reason"] == whole[index]["finish_reason"]
        assert [p["finish_reason"] for p in pieces[:-1]] == [None] * (len(pieces) - 1)


def test_several_answers_differ_and_their_seed_repeats_them(client: TestClient) -> None:
    def texts() -> list[str]:
        told = chat(client, n=3, temperature=1, seed=9).json()
        return [c["message"]["content"] for c in told["choices"]]

    first = texts()
    assert len(set(first)) == 3
    assert texts() == first


def test_log_probabilities_of_a_chat(client: TestClient) -> None:
    told = chat(client, temperature=0, logprobs=True, top_logprobs=2).json()
    content = told["choices"][0]["logprobs"]["content"]
    assert len(content) == 12
    for one in content:
        assert len(one["top_logprobs"]) == 2
        assert one["logprob"] == one["top_logprobs"][0]["logprob"] <= 0
        assert one["bytes"] == one["top_logprobs"][0]["bytes"]


def test_echo_and_log_probabilities_give_the_perplexity_of_a_text(client: TestClient) -> None:
    body = {"model": "base", "prompt": "Hello you", "max_tokens": 0, "echo": True, "logprobs": 0}
    told = client.post("/v1/completions", json=body).json()
    [choice] = told["choices"]
    assert choice["text"] == "Hello you"
    assert choice["logprobs"]["tokens"] == list("Hello you")
    assert choice["logprobs"]["text_offset"] == list(range(9))
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert all(value < 0 for value in choice["logprobs"]["token_logprobs"][1:])
    assert told["usage"]["completion_tokens"] == 0


def test_completions_take_lists_of_texts_and_tokens(client: TestClient) -> None:
    def ask(prompt: Any) -> list[str]:
        body = {"model": "base", "prompt": prompt, "max_tokens": 5, "temperature": 0}
        return [c["text"] for c in client.post("/v1/completions", json=body).json()["choices"]]

    texts = ask(["one", "two"])
    assert len(texts) == 2
    assert len(ask([[97, 98, 99]])) == len(ask([97, 98, 99])) == 1
    assert ask(["one"]) == texts[:1]


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown model": ({"model": "nobody"}, 404, "Known are: base"),
    "unknown field": ({"temprature": 1}, 400, "temprature"),
    "temperature": ({"temperature": -1}, 400, "temperature"),
    "no messages": ({"messages": []}, 400, "messages"),
    "role": ({"messages": [{"role": "judge", "content": "a"}]}, 400, "messages.0"),
    "content": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "text"),
    "context": ({"messages": [{"role": "user", "content": "a" * 600}]}, 400, "context.* 512"),
    "tool choice": ({"tool_choice": "required"}, 400, "tool_choice"),
    "logit bias": ({"logit_bias": {"100000": 1}}, 400, "no token"),
    "top logprobs": ({"top_logprobs": 3}, 400, "logprobs: true"),
    "json mode": ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    "nan": ({"temperature": "NaN"}, 400, "temperature"),
    "n": ({"n": 0}, 400, "n:"),
    "type": ({"messages": "Hello"}, 400, "messages"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_input_is_told_in_openais_shape(client: TestClient, name: str, stream: bool) -> None:
    import re

    body, status, message = WRONG[name]
    answer = chat(client, **body, stream=stream)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error.keys() >= {"message", "type", "param", "code"}
    assert re.search(message, error["message"]), error["message"]


def test_a_prompt_that_is_too_long_names_both_numbers(client: TestClient) -> None:
    error = chat(client, messages=[{"role": "user", "content": "a" * 600}]).json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert error["details"]["context"] == 512
    assert error["details"]["prompt_tokens"] > 600


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 5000, b"null", b'"text"'])
def test_bodies_that_are_no_request_are_400(client: TestClient, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_is_cut_off_is_told_as_the_body_itself(client: TestClient) -> None:
    told = client.post(
        "/v1/chat/completions", content=b'{"model":', headers={"content-type": "application/json"}
    ).json()["error"]
    assert told["param"] == "body"
    assert "body: is no valid JSON from character 9 on" in told["message"]


def test_a_body_that_is_too_large_is_refused_unread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.serving.body_limit.MOST_BYTES", 1000)
    large = json.dumps({"model": "base", "prompt": "a" * 2000}).encode()
    said = client.post("/v1/completions", content=large)
    pieces = client.post("/v1/completions", content=(large[n : n + 99] for n in range(0, 2000, 99)))
    for answer in (said, pieces):
        assert answer.status_code == 413
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_addresses_that_do_not_exist_are_told_in_the_same_shape(client: TestClient) -> None:
    assert client.get("/v1/nothing").json()["error"]["code"] == "no_such_route"
    assert client.delete("/v1/models").json()["error"]["code"] == "method_not_allowed"


def test_a_template_that_refuses_is_400(sharp_model_dir: SharpModel, tmp_path: Path) -> None:
    import shutil

    directory = Path(shutil.copytree(sharp_model_dir("llama"), tmp_path / "model"))
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    settings["chat_template"] = "{{ raise_exception('one question at a time') }}"
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    with running(directory) as bench, address(bench) as client:
        answer = chat(client)
        assert answer.status_code == 400
        assert "one question at a time" in answer.json()["error"]["message"]


def test_adapters_come_and_go_while_the_server_runs(
    bench: Bench, client: TestClient, tmp_path: Path
) -> None:
    folder = write_adapter(bench.directory, tmp_path / "a", seed=1)
    body = {"name": "tuned", "path": str(folder)}
    assert chat(client, model="tuned").status_code == 404
    made = client.post("/adapters", json=body)
    assert made.status_code == 201
    assert client.post("/adapters", json=body).status_code == 200  # the same again
    other = client.post("/adapters", json={"name": "tuned", "path": str(bench.directory)})
    assert other.status_code == 409
    assert [a["name"] for a in client.get("/adapters").json()["data"]] == ["tuned"]
    assert [m["id"] for m in client.get("/v1/models").json()["data"]] == ["base", "tuned"]
    tuned = chat(client, model="tuned", temperature=0).json()
    plain = chat(client, temperature=0).json()
    assert tuned["choices"][0]["message"] != plain["choices"][0]["message"]
    assert client.delete("/adapters/tuned").json()["deleted"] is True
    assert chat(client, model="tuned").status_code == 404
    assert client.delete("/adapters/tuned").status_code == 404
    assert client.delete("/adapters/base").status_code == 409


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/nowhere", "adapter_not_found", "There is no folder /nowhere."),
        (str(Path(__file__).parent), "invalid_model", "adapter_config.json is missing"),
    ],
)
def test_what_is_no_adapter_is_told_by_the_field_that_names_it(
    client: TestClient, path: str, code: str, words: str
) -> None:
    answer = client.post("/adapters", json={"name": "x", "path": path})
    told = answer.json()["error"]
    assert (answer.status_code, told["param"], told["code"]) == (400, "path", code)
    assert words in told["message"]
    assert "model.base" not in told["message"]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"messages": [{"role": "user"}]}, "messages.0", "content is missing"),
        ({"messages": [{"role": "tool", "content": None}]}, "messages.0", "content is missing"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools", "a tool has no name"),
        ({"tools": [{"type": "function", "function": "look"}]}, "tools", "a tool has no name"),
    ],
)
def test_turns_and_tools_that_say_nothing_are_refused(
    client: TestClient, fields: dict[str, Any], param: str, words: str
) -> None:
    answer = chat(client, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert words in answer.json()["error"]["message"]


def test_a_full_queue_is_429_and_says_when_to_come_again(sharp_model_dir: SharpModel) -> None:
    limits = Limits(max_rows=1)
    with (
        running(sharp_model_dir("llama"), limits=limits, max_waiting=2) as bench,
        address(bench) as client,
    ):
        answer = chat(client, n=3, temperature=1)  # alone, it may be as large as all places
        assert answer.status_code == 200
        import threading

        slow = threading.Thread(target=chat, args=(client,), kwargs={"n": 3, "max_tokens": 400})
        slow.start()
        while bench.engine.num_running == 0:
            assert slow.is_alive()
        refused = chat(client)
        slow.join()
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"


def test_a_key_guards_everything_but_health(bench: Bench) -> None:
    with address(bench, key="secret") as client:
        assert chat(client).status_code == 200
        for key in ("", "wrong", "s\u00e9cret"):
            client.headers = [(b"authorization", f"Bearer {key}".encode())]
            assert chat(client).status_code == 401
            assert client.get("/v1/models").status_code == 401
            assert client.post("/adapters", json={}).status_code == 401
            assert client.get("/metrics").status_code == 401
            assert client.get("/health").status_code == 200


def test_a_page_of_the_web_reaches_no_server_without_a_key(client: TestClient) -> None:
    assert client.get("/v1/models", headers={"host": "evil.example"}).status_code == 400


def test_health_and_metrics(client: TestClient) -> None:
    chat(client)
    assert client.get("/health").json()["status"] == "ready"
    text = client.get("/metrics").text
    assert "tunesmith_serving_ready 1.0" in text
    assert "tunesmith_serving_first_token_seconds_count" in text


def test_before_the_model_is_there_it_says_so() -> None:
    state = State(Options("base"))
    with TestClient(create_app(state)) as client:
        assert client.get("/health").status_code == 503
        assert client.get("/health").json()["status"] == "loading"
        answer = chat(client)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
