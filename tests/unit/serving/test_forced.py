"""Calls that must be: byte by byte nothing but JSON, and the same draws as if nothing else was."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.unit.serving.conftest import running
from tests.unit.serving.test_app import address, chat, events
from tests.unit.serving.test_tools import TEMPLATE

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.serving import voices
from tunesmith.serving.deadline import TooSlow, within
from tunesmith.serving.forced import Expected, ForcedCall, Json
from tunesmith.serving.order import Sampling
from tunesmith.serving.sampling import draw, draw_of
from tunesmith.serving.tokens import text_bytes
from tunesmith.serving.vocabulary import Vocabulary, vocabulary_of

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def walk(text: str) -> list[Json | None]:
    states: list[Json | None] = [Json()]
    for byte in text.encode():
        last = states[-1]
        states.append(None if last is None else last.step(byte))
    return states


@given(st.dictionaries(st.text(), VALUES, max_size=3), st.booleans())
def test_every_object_is_taken_and_ends_with_its_last_byte(
    value: dict[str, Any], ascii: bool
) -> None:
    states = walk(json.dumps(value, ensure_ascii=ascii))
    assert all(state is not None for state in states)
    assert [state is not None and state.done for state in states].index(True) == len(states) - 1


@given(st.text(alphabet='{}[]":, \\u0e1-.tfalsn', max_size=14))
def test_whatever_is_taken_to_its_end_is_json(text: str) -> None:
    states = walk("{" + text)
    ends = [at for at, state in enumerate(states) if state is not None and state.done]
    if ends:
        assert isinstance(json.loads(("{" + text)[: ends[0]]), dict)


@pytest.mark.parametrize("text", ["[", '{"a" 1', '{"a":1,}', "{,", '{"a":01', '{"a":tru,', "{  "])
def test_what_is_no_object_is_not_taken(text: str) -> None:
    assert walk(text)[-1] is None


def test_one_of_some_names_must_come_first() -> None:
    call = ForcedCall(("look", "look_up"), '<tool_call>{"name": "', '", "arguments": ')
    state = call.expected()
    assert state.after(b"x") is None
    assert state.after(b"look_down") is None
    taken = state.after(b'look_up", "arguments": {"at"')
    assert taken is not None
    assert not taken.done
    end = taken.after(b": 1}}</tool_call>")  # what is behind the object is left
    assert end is not None
    assert end.done
    assert call.read('look_up", "arguments": {"at": 1}}</') == ("look_up", '{"at": 1}')
    assert call.read('look_up", "arguments": {"at": ') is None


def test_one_name_stands_in_the_prompt_already() -> None:
    call = ForcedCall(("look",), 'H"', '", "arguments": ')
    assert call.given == 'H"look", "arguments": '
    assert call.expected() == Expected((b"",))
    assert call.read('{"a": 1} ') == ("look", '{"a": 1}')


@given(seed=st.integers(0, 1000), temperature=st.sampled_from([0.0, 1.0]))
def test_a_draw_of_some_is_the_draw_where_the_others_do_not_exist(
    seed: int, temperature: float
) -> None:
    logits = torch.randn(300, generator=torch.Generator().manual_seed(seed))
    sampling = Sampling(temperature=temperature, seed=seed)
    masked = logits.clone()
    masked[torch.arange(300) % 97 != 5] = -torch.inf
    expected = draw(masked, sampling, (), ())
    kept = np.arange(5, 400, 97)  # a vocabulary may have more tokens than the model has scores
    drawn = draw_of(logits, sampling, (), (), lambda token: token % 97 == 5, lambda: kept)
    assert drawn == expected
    nothing = np.array([], np.int64)
    assert draw_of(logits, sampling, (), (), lambda _: False, lambda: nothing) is None


@pytest.mark.parametrize(
    "said", ["", '{"', '{"city', '{"city"', '{"city": ', '{"city": "a\\', '{"n": 1', '{"a": [tr']
)
def test_all_tokens_that_may_come_are_found_and_no_others(
    tiny_tokenizer_dir: Path, said: str
) -> None:
    tokenizer = TextTokenizer.load(tiny_tokenizer_dir)
    expected = Expected((b"",)) if not said else Expected((b"",)).after(said.encode())
    assert expected is not None
    tokens = range(tokenizer.vocab_size)
    one_by_one = {token for token in tokens if expected.after(text_bytes(tokenizer, token))}
    assert set(vocabulary_of(tokenizer).allowed(expected).tolist()) == one_by_one != set()


def test_all_tokens_that_begin_a_name_are_found(tiny_tokenizer_dir: Path) -> None:
    tokenizer = TextTokenizer.load(tiny_tokenizer_dir)
    expected = ForcedCall(("look", "order"), '{"name": "', '", "arguments": ').expected()
    found = vocabulary_of(tokenizer).allowed(expected).tolist()
    assert {text_bytes(tokenizer, token)[:1] for token in found} == {b"l", b"o"}


def test_a_model_that_wants_anything_but_a_call_holds_nobody_up() -> None:
    big = Vocabulary(f"{start}{n}".encode() for start in "abcdefgh[(" for n in range(15_000))
    start = time.perf_counter()
    assert not len(big.allowed(Expected((b"",))))
    assert time.perf_counter() - start < 10  # one token after the other takes a minute


# ---------------------------------------------------------------- through the address

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("look", "look_up")]


@pytest.fixture(scope="module")
def client(
    sharp_model_dir: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Generator[TestClient]:
    folder = tmp_path_factory.mktemp("tools") / "model"
    with_template(sharp_model_dir("llama"), folder, TOOL_TEMPLATE)
    with running(folder) as bench, address(bench) as made:
        yield made


TOOL_TEMPLATE = TEMPLATE.replace("%s", "<tool_call>")


def with_template(base: Path, folder: Path, template: str) -> Path:
    shutil.copytree(base, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings | {"chat_template": template})
    )
    return folder


@pytest.mark.parametrize("temperature", [0, 1.5])
@pytest.mark.parametrize("choice", ["required", {"function": {"name": "look_up"}}])
def test_a_call_that_is_demanded_comes(client: TestClient, choice: Any, temperature: float) -> None:
    answer = chat(
        client, tools=TOOLS, tool_choice=choice, temperature=temperature, seed=3, max_tokens=400
    ).json()
    [choice_told] = answer["choices"]
    if choice_told["finish_reason"] == "length":  # a string that this model never ends
        assert choice_told["message"]["content"]
        return
    [call] = choice_told["message"]["tool_calls"]
    assert call["function"]["name"] in ("look", "look_up")
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert choice_told["finish_reason"] == "tool_calls"


def test_a_stream_of_a_demanded_call_is_the_answer(client: TestClient) -> None:
    body: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required", "seed": 3, "max_tokens": 400}
    body |= {"temperature": 1.5, "logit_bias": {}}
    whole = chat(client, **body).json()["choices"][0]
    parts = [event["choices"][0] for event in events(chat(client, stream=True, **body))]
    calls = [call for part in parts for call in part["delta"].get("tool_calls", [])]
    told = whole["message"].get("tool_calls", [])
    assert [c["function"] for c in calls] == [c["function"] for c in told]


@pytest.mark.parametrize(
    ("choice", "tools"),
    [
        ("required", None),
        ("must", TOOLS),
        ({"type": "function"}, TOOLS),
        ({"function": {"name": "other"}}, TOOLS),
    ],
)
def test_a_choice_that_cannot_be_is_400(client: TestClient, choice: Any, tools: Any) -> None:
    answer = chat(client, tool_choice=choice, **({"tools": tools} if tools else {}))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tool_choice"


# ---------------------------------------------------------------- templates without an end

LOOP = "{%- set xs = range(9999)|list %}{%- for a in xs %}{%- for b in xs %}{%- for c in xs %}"
ENDLESS = LOOP + "{%- endfor %}{%- endfor %}{%- endfor %}"


def test_a_template_that_never_ends_is_400_and_others_are_answered(
    sharp_model_dir: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "TEMPLATE_SECONDS", 2)
    endless = "{%- if 'loop' in messages[-1].content %}" + ENDLESS + "{%- endif %}hi"
    folder = with_template(sharp_model_dir("llama"), tmp_path / "model", endless)
    with running(folder) as bench, address(bench) as client:
        began = time.monotonic()
        answer = chat(client, messages=[{"role": "user", "content": "loop"}])
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "template_refused"
        assert "was not done" in answer.json()["error"]["message"]
        assert time.monotonic() - began < 60
        assert chat(client).status_code == 200


def test_what_runs_too_long_is_ended_and_not_only_left() -> None:
    rounds = 0

    def work() -> None:
        nonlocal rounds
        while True:
            try:
                rounds += 1
            except Exception:
                rounds = 0

    with pytest.raises(TooSlow):
        within(0.1, work)
    before = rounds
    time.sleep(0.05)
    assert rounds == before


def test_results_and_errors_of_work_in_time_come_through() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(KeyError):
        within(5, lambda: {}["x"])
