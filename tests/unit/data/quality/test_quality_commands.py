"""`tunesmith data score | diversity | augment`, as typed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.data.quality.conftest import Make
from typer.testing import CliRunner

from tunesmith.cli.data import app
from tunesmith.errors import TunesmithError
from tunesmith.starter import starter_directory

ROWS = [(f"Explain {what}.", f"{what} is a thing of nature. It is old.") for what in "ABCDEFGH"]


def _run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=True)
    if isinstance(done.exception, TunesmithError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def _json(*words: str) -> dict[str, Any]:
    return json.loads(_run(*words, "--json"))


def test_score_prints_rows_commands_and_the_warning(make: Make) -> None:
    make([*ROWS, ("Why?", "As an AI language model, I cannot say why it is so.")])
    told = _run("score", "shop")
    assert "worst rows" in told
    assert "placeholder" in told
    assert "tunesmith data keep shop@2 --where" in told
    assert "Filters err" in told
    assert _json("score", "shop@1")["version"] == "shop@3"
    assert _json("score", "shop@3")["new_version"] is None


def test_perplexity_is_measured_by_the_engine(make: Make) -> None:
    make(ROWS)
    facts = _json("score", "shop", "--by", "perplexity", "--model", str(starter_directory()))
    assert facts["scored"] == len(ROWS)
    assert facts["distribution"]["min"] >= 1
    assert facts["new_version"]["operations"][0]["by"] == "perplexity"


def test_diversity_and_augment_speak_json(make: Make) -> None:
    make(ROWS)
    assert _json("diversity", "shop", "--write")["new_version"]["version"] == 2
    added = _json("augment", "shop", "--rate", "2")
    assert (added["added"], added["version"]) == (16, "shop@3")
    assert "16 rows added" in _run("augment", "shop@1", "--rate", "2")
    assert "groups of similar questions" in _run("diversity", "shop")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--by", "beauty"), "There is no score 'beauty'"),
        (("--by", "reward"), "no stage that trains one yet"),
        (("--by", "perplexity"), "name one with --model"),
        (("--model", "starter"), "--model belongs to --by perplexity"),
    ],
)
def test_wishes_that_do_not_go_together_are_told(
    make: Make, words: tuple[str, ...], told: str
) -> None:
    make(ROWS)
    with pytest.raises(TunesmithError, match=told):
        _run("score", "shop", *words)
