"""The pre-training corpus of the starter model: nothing that the demo measures is in it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "tools" / "starter"


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("corpus")


@pytest.fixture
def intents(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("intents")


def test_the_rows_of_the_example_are_those_of_the_source_files(intents: Any) -> None:
    folder = TOOLS.parents[1] / "src" / "tunesmith" / "examples" / "customer-service"
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    found = [intent for language in ("en", "zh") for intent in intents.load_intents(language)]
    assert len(lines) == sum(len(intent.train) for intent in found)


def test_no_document_holds_a_held_out_question_or_an_answer(corpus: Any, intents: Any) -> None:
    found = [intent for language in ("en", "zh") for intent in intents.load_intents(language)]
    secret = [intents.normalised(text) for i in found for text in (*i.heldout, i.answer)]
    sample = [intents.normalised(text) for text in islice(corpus.documents(7), 4000)]
    text = "\n".join(sample)
    assert [entry for entry in secret if entry in text] == []


def test_what_is_held_out_is_recognised_in_other_case_and_inside_a_longer_text(corpus: Any) -> None:
    held_out = corpus.HeldOut()
    assert held_out.is_near("ANY UPDATE on my refund??")
    assert held_out.is_near("你好，每次登录都失败！")
    assert not held_out.is_near("Where can I buy a lantern?")


def test_the_same_seed_writes_the_same_documents_in_every_process(tmp_path: Path) -> None:
    script = "import itertools, corpus; print(list(itertools.islice(corpus.documents(3), 400)))"
    found = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(TOOLS), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]


def test_a_pattern_with_an_open_bracket_is_refused(corpus: Any) -> None:
    with pytest.raises(ValueError, match="unbalanced"):
        corpus.parse("I want [this|that")
