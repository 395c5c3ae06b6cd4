"""The certificate: equal models pass, damaged ones are found, whatever is damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunesmith.engine.exporting.formats import Choice, FormatName, format_of
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity import prompts, walks
from tunesmith.engine.exporting.parity.certificate import Certificate
from tunesmith.engine.exporting.parity.certify import certify
from tunesmith.engine.exporting.parity.figures import Figures, combine, compare
from tunesmith.engine.exporting.parity.limits import LIMITS, drift
from tunesmith.engine.exporting.parity.reference import flat_logits
from tunesmith.engine.exporting.parity.walks import Walk, module_logits
from tunesmith.engine.exporting.source import find_source, load_tuned

CPU = torch.device("cpu")
Damage = Callable[[Path], None]


def certificate_of(
    run: Path, name: FormatName, folder: Path, damage: Damage | None = None, **choice: Any
) -> Certificate:
    import io

    narrator = Narrator(io.StringIO())
    source = find_source(str(run), base=None, on_progress=lambda *_: None)
    written = format_of(name, source, Choice(**choice))
    folder.mkdir()
    written.write(folder, narrator)
    if damage is not None:
        damage(folder)
    return certify(
        source,
        folder,
        written,
        format_name=name,
        device=CPU,
        allow_drift=False,
        narrator=narrator,
    )


@pytest.fixture(autouse=True)
def fewer_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of them, in both languages, and short: a random model answers until it is stopped."""
    all_of_them = prompts.shipped()
    monkeypatch.setattr(prompts, "shipped", lambda: all_of_them[:4])
    monkeypatch.setattr(walks, "ANSWER_TOKENS", 10)


@pytest.mark.parametrize(
    ("family", "name", "choice"),
    [
        ("llama", "merged", {}),
        ("qwen3", "adapter", {}),
        ("mistral", "gguf", {}),
        ("gemma3_text", "gguf", {}),
        ("gemma2", "gguf", {"gguf_type": "q8_0"}),
    ],
)
def test_a_sound_export_passes(
    family: str, name: FormatName, choice: dict[str, Any], make_run: Any, tmp_path: Path
) -> None:
    found = certificate_of(make_run(family), name, tmp_path / "out", **choice)
    assert found.passed, found.problems
    figures = found.figures
    assert figures.positions >= 40
    assert figures.template_equal == figures.template_total == len(found.rows) == 5
    assert {row.origin for row in found.rows} == {"run", "shipped"}
    if found.precision == "float32":
        assert figures.greedy_equal == figures.greedy_total
        assert figures.max_logprob_difference < 1e-3
    else:
        assert figures.mean_logprob_difference > 0


def change_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    def damage(folder: Path) -> None:
        file = folder / "model.safetensors"
        tensors = load_file(file)
        key = next(key for key in tensors if key.endswith(name))
        tensors[key] = change(tensors[key]).contiguous()
        save_file(tensors, file, metadata={"format": "pt"})

    return damage


def change_json(file: str, **fields: Any) -> Damage:
    def damage(folder: Path) -> None:
        content = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps({**content, **fields}), encoding="utf-8")

    return damage


def other_template(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text(encoding="utf-8") + "{{ '!' }}", encoding="utf-8")


def other_numbers(folder: Path) -> None:
    change_tensor("layers.0.input_layernorm.weight", lambda value: value * math.nan)(folder)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (change_tensor("layers.1.self_attn.k_proj.weight", lambda value: value.flip(0)), "KL"),
        (change_tensor("layers.0.mlp.up_proj.weight", lambda value: value * 1.02), "log-prob"),
        (change_tensor("layers.1.mlp.down_proj.weight", torch.zeros_like), "likeliest token"),
        (change_json("config.json", rms_norm_eps=0.1), "log-prob"),
        (other_numbers, "no number"),
        (other_template, "chats become the same tokens"),
    ],
)
def test_whatever_is_damaged_is_found(
    damage: Damage, told: str, make_run: Any, tmp_path: Path
) -> None:
    found = certificate_of(make_run("llama"), "merged", tmp_path / "out", damage)
    assert not found.passed
    assert told in " ".join(found.problems)
    assert found.status == "drift"
    assert "DRIFT" in found.to_markdown()
    json.dumps(found.to_json(), allow_nan=False)


def test_a_certificate_is_written_for_programs_and_for_people(
    make_run: Any, tmp_path: Path
) -> None:
    found = certificate_of(make_run("llama"), "merged", tmp_path / "out")
    found.write(tmp_path / "out")
    content = json.loads((tmp_path / "out" / "parity.json").read_text(encoding="utf-8"))
    assert content["status"] == "passed"
    assert content["figures"]["positions"] == found.figures.positions
    assert content["limits"]["mean_kl"] == LIMITS["float32"].mean_kl
    text = (tmp_path / "out" / "PARITY.md").read_text(encoding="utf-8")
    assert "**PASSED.**" in text
    assert "**通过。**" in text
    assert "Where is order 7?" in text


def test_rows_that_are_gone_are_told_and_the_shipped_ones_asked(
    make_run: Any, tmp_path: Path
) -> None:
    import shutil

    run = Path(shutil.copytree(make_run("qwen2"), tmp_path / "run"))
    for name in ("recipe.yaml", "resolved.yaml"):
        file = run / name
        if file.is_file():
            file.write_text(file.read_text().replace("rows.jsonl", "gone.jsonl"))
    found = certificate_of(run, "merged", tmp_path / "out")
    assert {row.origin for row in found.rows} == {"shipped"}
    assert "not at hand" in found.notes[-1]


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_the_reference_is_the_forward_pass_of_the_training(family: str, make_run: Any) -> None:
    source = find_source(str(make_run(family)), base=None, on_progress=lambda *_: None)
    ids = list(range(5, 40))
    with torch.inference_mode():
        plain = module_logits(load_tuned(source, dtype=torch.float32), CPU)(ids)
        flat = flat_logits(load_tuned(source, dtype=torch.float32), CPU)(ids)
    torch.testing.assert_close(flat, plain, rtol=0, atol=1e-4)


# ---------------------------------------------------------------- figures


def walk_of(*rows: list[float], answer: list[int]) -> Walk:
    return Walk([1], answer, torch.tensor(rows).log())


def test_figures_are_what_they_say() -> None:
    reference = walk_of([0.5, 0.25, 0.25], [0.4, 0.35, 0.25], answer=[0, 0])
    other = walk_of([0.25, 0.5, 0.25], [0.35, 0.4, 0.25], answer=[0, 0])
    row = compare(reference, other, tie=0.2)
    assert (row.positions, row.agreed, row.decided, row.agreed_of_decided) == (2, 0, 1, 0)
    assert row.max_difference == pytest.approx(math.log(2))
    assert row.sum_difference == pytest.approx(math.log(2) + math.log(0.4 / 0.35))
    first = 0.5 * math.log(2) - 0.25 * math.log(2)
    assert row.max_kl == pytest.approx(first, rel=1e-5)
    figures = combine([row, row], greedy=[True, False], template=[True, True])
    assert figures.positions == 4
    assert figures.top1_agreement == 0
    assert (figures.greedy_equal, figures.greedy_total) == (1, 2)


def test_what_is_no_number_is_beyond_every_limit() -> None:
    reference = walk_of([0.5, 0.5], answer=[0])
    broken = Walk([1], [0], torch.full((1, 2), math.nan))
    row = compare(reference, broken, tie=-1.0)
    assert row.agreed == 0
    figures = combine([row], greedy=[False], template=[True])
    for limits in LIMITS.values():
        assert len(drift(figures, replace(limits, greedy_must_be_equal=False))) == 4


def test_limits_are_judged_one_by_one() -> None:
    good = Figures(100, 100, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 4, 4, 4, 4)
    assert drift(good, LIMITS["float32"]) == []
    for field, value in (
        ("top1_agreement_of_decided", 0.99),
        ("mean_logprob_difference", 1e-3),
        ("max_logprob_difference", 0.1),
        ("mean_kl", 1e-3),
        ("greedy_equal", 3),
        ("template_equal", 3),
    ):
        assert len(drift(replace(good, **{field: value}), LIMITS["float32"])) == 1, field
    tied = replace(good, decided_positions=99, greedy_equal=3)
    assert drift(tied, LIMITS["float32"]) == []
    assert drift(replace(good, greedy_equal=3), LIMITS["q8_0"]) == []


def test_the_shipped_prompts_are_sixteen_in_two_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = prompts.shipped()
    chinese = [c for c in found if any("一" <= x <= "鿿" for x in c.messages[-1].content)]
    assert len(found) == 16
    assert len(chinese) == 8
