"""Pairs are measured, not answered: language models and reward models, alone and compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import orjson
import pytest

from tunesmith.errors import InputError
from tunesmith.evaluation.compare import compare, comparison_document, set_exam
from tunesmith.evaluation.compare import finish as finish_comparison
from tunesmith.evaluation.endpoint import Endpoint, Sampling
from tunesmith.evaluation.evaluate import Evaluation, Settings, evaluate, finish
from tunesmith.evaluation.keep import keep_predictions
from tunesmith.evaluation.report.comparison import comparison_page
from tunesmith.evaluation.report.single import evaluation_page
from tunesmith.evaluation.rows import TestSet, read_test_set
from tunesmith.evaluation.scoring import Options, select
from tunesmith.evaluation.served import Place
from tunesmith.recipe.gate import Gate
from tunesmith.server.services.evaluation_rows import rows_of
from tunesmith.starter import starter_directory

PAIRS = [
    ("How do I reset my password?", "Open the settings and choose Reset.", "xq zzv kk wq vvx"),
    ("Where is my order?", "qqx vvz jjk wwq xxz", "It is on its way and comes tomorrow."),
    ("Do you ship abroad?", "Yes, to most countries.", "kqj xxv zzq jvw qqk"),
]


def silent(*_: object) -> None: ...


@pytest.fixture
def pairs(tmp_path: Path) -> TestSet:
    path = tmp_path / "pairs.jsonl"
    rows = [{"question": q, "chosen": c, "rejected": r} for q, c, r in PAIRS]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return read_test_set(str(path))


@pytest.fixture(scope="session")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter with a head that scores, drawn at random."""
    import torch

    from tunesmith.engine.attention import register_flat_attention
    from tunesmith.engine.models import load_reward_model

    folder = tmp_path_factory.mktemp("reward") / "model"
    model = load_reward_model(
        starter_directory(),
        seed=3,
        dtype=torch.float32,
        attention=register_flat_attention(),
        device=torch.device("cpu"),
    )
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(starter_directory() / name, folder / name)
    template = starter_directory() / "chat_template.jinja"
    if template.is_file():
        shutil.copy(template, folder / template.name)
    return folder


def measured(place: Place, test: TestSet, folder: Path, *scores: str) -> Evaluation:
    selection = select(test.rows, scores, Options())
    return evaluate(place, test, selection, folder, Settings(), on_progress=silent)


def test_a_language_model_tells_sense_from_noise_without_writing_a_word(
    tmp_path: Path, pairs: TestSet
) -> None:
    found = measured(Place("starter"), pairs, tmp_path / "out")
    document = finish(found, tmp_path / "out", evaluation_page(found, "en"))
    assert list(document["scores"]) == ["preference_accuracy", "preference_margin"]
    by_row = [row["preference_accuracy"] for row in document["by_row"]]
    assert by_row == [1.0, 0.0, 1.0]  # the second pair is the wrong way round
    assert document["scores"]["preference_accuracy"]["measured"] == "log_prob"
    margins = [row["preference_margin"] for row in document["by_row"]]
    assert [margin > 0 for margin in margins] == [True, False, True]
    assert not (tmp_path / "out" / "predictions.jsonl").exists()
    assert not found.is_answered


def test_the_answer_that_is_preferred_stands_in_the_report_and_in_the_console(
    tmp_path: Path, pairs: TestSet
) -> None:
    out = tmp_path / "out"
    found = measured(Place("starter"), pairs, out)
    document = finish(found, out, page := evaluation_page(found, "zh"))
    assert "模型更偏好的回答" in page
    assert "comes tomorrow" in page
    rows = rows_of(out, document)
    texts = {
        row.id: (row.tuned.text, row.tuned.value, row.tuned.finish_reason) for row in rows.items
    }
    assert texts["2"] == (PAIRS[1][2], 0.0, "preferred")
    assert texts["1"] == (PAIRS[0][1], 1.0, "preferred")


def test_a_reward_model_is_compared_with_a_language_model_on_pairs_alone(
    tmp_path: Path, pairs: TestSet, reward_model: Path
) -> None:
    base, tuned = Place("starter"), Place(str(reward_model))
    assert (base.weights().is_asked, tuned.weights().is_asked) == (True, False)
    exam = set_exam(pairs, tmp_path / "out", Settings(), Gate(), asks=False)
    found = compare(base, tuned, exam, on_progress=silent)
    document = comparison_document(found)
    # Scores and log-probabilities have no difference; shares of pairs do.
    assert list(document["scores"]) == ["preference_accuracy"]
    assert document["general"] is None
    assert document["length_growth"] is None
    assert document["verdict"] == "hold"  # three rows are too few
    lines = (tmp_path / "out" / "tuned" / "preferred.jsonl").read_bytes().splitlines()
    told = [orjson.loads(line) for line in lines]
    assert [each["prediction"] in pair[1:] for each, pair in zip(told, PAIRS, strict=True)] == (
        [True] * 3
    )
    page = comparison_page(found, "en")
    assert "Preference accuracy" in page
    assert "What was forgotten is not judged" in page


def test_a_reward_model_that_shall_write_is_refused_with_what_it_can_do(
    tmp_path: Path, pairs: TestSet, reward_model: Path
) -> None:
    with pytest.raises(InputError, match="scores answers and writes none") as refused:
        measured(Place(str(reward_model)), pairs, tmp_path / "out", "rouge_l")
    assert "preference_accuracy" in str(refused.value.hint)
    judge = Settings(judge=Endpoint("http://127.0.0.1:9/v1", "judge"))
    with pytest.raises(InputError, match="no answers for a judge to compare"):
        set_exam(pairs, tmp_path / "exam", judge, Gate(), asks=False)


def test_two_models_that_write_are_also_asked_so_that_longer_answers_are_seen(
    pairs: TestSet, tmp_path: Path
) -> None:
    exam = set_exam(pairs, tmp_path, Settings(), Gate())
    names = ("preference_accuracy", "preference_margin", "length", "latency")
    assert exam.selection.names == names
    assert exam.general is not None


@pytest.mark.parametrize("primary", ["kl", "reward_margin"])
def test_what_the_tuned_model_alone_has_decides_nothing(
    pairs: TestSet, tmp_path: Path, primary: str
) -> None:
    with pytest.raises(InputError, match="told of the tuned one alone"):
        set_exam(pairs, tmp_path, Settings(), Gate(primary=primary))
    with pytest.raises(InputError, match="told of the tuned one alone"):
        set_exam(pairs, tmp_path, Settings(), Gate(), [primary])


def test_what_has_no_difference_between_two_models_decides_nothing(
    pairs: TestSet, tmp_path: Path, reward_model: Path
) -> None:
    gate = Gate(primary="preference_margin")
    exam = set_exam(pairs, tmp_path / "out", Settings(), gate, asks=False)
    with pytest.raises(InputError, match="not measured in one unit"):
        compare(Place("starter"), Place(str(reward_model)), exam, on_progress=silent)


def test_rows_of_a_comparison_show_what_each_model_prefers_beside_what_it_would_write(
    pairs: TestSet, tmp_path: Path
) -> None:
    settings, out = Settings(sampling=Sampling(max_tokens=8)), tmp_path / "out"
    exam = set_exam(pairs, out, settings, Gate(general="none"))
    found = compare(Place("starter"), Place("starter"), exam, on_progress=silent)
    document = comparison_document(found)
    finish_comparison(found, out, comparison_page(found, "en"))
    by_preference = rows_of(out, document).items
    assert {row.tuned.finish_reason for row in by_preference} == {"preferred"}
    assert {row.base.text for row in by_preference if row.base} == {
        PAIRS[0][1],
        PAIRS[1][2],
        PAIRS[2][1],
    }
    written = rows_of(out, document, score="length").items
    assert "preferred" not in {row.tuned.finish_reason for row in written}


def test_what_a_model_that_is_not_served_would_have_to_write_is_refused_with_what_can_be_measured(
    tmp_path: Path, pairs: TestSet
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "ADAPTION_PROMPT"}')
    place = Place(str(adapter))
    assert not place.weights().is_asked
    with pytest.raises(InputError, match="beside the text") as refused:
        measured(place, pairs, tmp_path / "out", "token_f1")
    assert "perplexity" in str(refused.value.hint)


def test_of_a_model_that_is_not_served_perplexity_is_measured(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "Where is my order?", "answer": "On its way."}))
    test = read_test_set(str(rows))
    exam = set_exam(test, tmp_path / "out", Settings(), Gate(), asks=False)
    assert exam.selection.names == ("perplexity",)
    assert exam.general is None
    found = compare(Place("starter"), Place("starter"), exam, on_progress=silent)
    assert [each.name for each in found.contests] == ["perplexity"]


def test_an_address_gives_answers_and_no_preferences(tmp_path: Path, pairs: TestSet) -> None:
    chosen = select(pairs.rows, (), Options(only_answers=True))
    assert "preference_accuracy" not in chosen.names
    place = Place("any", Endpoint("http://127.0.0.1:9/v1", "any", patience=0.1))
    with pytest.raises(InputError, match="does not tell how likely"):
        measured(place, pairs, tmp_path / "out", "preference_accuracy")


def test_rewards_of_a_model_that_comes_from_nowhere_are_refused_when_they_are_named(
    tmp_path: Path, pairs: TestSet
) -> None:
    with pytest.raises(InputError, match="`kl` needs to know what the model was trained from"):
        measured(Place("starter"), pairs, tmp_path / "out", "kl")


def test_rows_without_a_pair_have_no_preference(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "a?", "answer": "b"}))
    with pytest.raises(InputError, match="holds no pairs"):
        measured(Place("starter"), read_test_set(str(rows)), tmp_path / "out", "preference_margin")


def test_nothing_that_was_not_answered_becomes_a_dataset(tmp_path: Path, pairs: TestSet) -> None:
    found = measured(Place("starter"), pairs, tmp_path / "out")
    with pytest.raises(InputError, match="nothing to keep"):
        keep_predictions(found, "kept")


def test_pairs_can_still_be_answered(tmp_path: Path, pairs: TestSet) -> None:
    settings = Settings(sampling=Sampling(max_tokens=8))
    selection = select(pairs.rows, ["token_f1"], Options())
    with Place("starter") as place:
        found = evaluate(place, pairs, selection, tmp_path / "out", settings, on_progress=silent)
    assert [score.name for score in found.scores] == ["token_f1", "length", "latency"]
    assert found.is_answered
