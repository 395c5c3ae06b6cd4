"""Loss, metrics and all gradients of preference stages and grpo equal those of TRL 1.16's own code.

The numbers were made by tools/golden/trl_losses.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tunesmith.data.table import TableWriter, TokenTable
from tunesmith.engine.arena import Arena
from tunesmith.engine.attention import register_flat_attention
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.batch import FlatBatch
from tunesmith.engine.dropout import key_dropout_by_row
from tunesmith.engine.head import Head
from tunesmith.engine.optimizer import parameter_groups
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reference import document_log_probs
from tunesmith.engine.rollouts import token_values
from tunesmith.engine.stages import (
    CpoStage,
    DpoStage,
    KtoStage,
    OrpoStage,
    PolicyStage,
    RewardStage,
    SimpoStage,
)
from tunesmith.engine.stages.policy import Rollouts
from tunesmith.engine.step_work import StepSums, StepWork
from tunesmith.recipe import Cpo, Dpo, Grpo, Kto, Orpo, Reward, Simpo

FOLDER = Path(__file__).parent / "golden"
CPU = torch.device("cpu")
CLOSE = 1e-5
NAMES = {
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
    "rewards/accuracies": "reward_accuracy",
    "rewards/margins": "reward_margin",
    "logps/chosen": "chosen_log_prob",
    "logps/rejected": "rejected_log_prob",
    "logits/chosen": "chosen_logit",
    "logits/rejected": "rejected_logit",
    "mean_token_accuracy": "token_accuracy",
    "accuracy": "reward_accuracy",
    "margin": "reward_margin",
    "log_odds_chosen": "log_odds",
    "clip_ratio/low_mean": "clip_low",
    "clip_ratio/high_mean": "clip_high",
    "clip_ratio/region_mean": "clip",
    "clip_ratio/low_min": "min_clip_low",
    "clip_ratio/high_max": "max_clip_high",
}
# Names and numbers of TRL that ours do not have, and why.
LEFT_OUT = {"num_tokens"}  # `tokens` of the step event
OF_PADDING = {"logits/chosen", "logits/rejected"}  # in orpo and cpo: means over padding as well


def golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return json.loads(str(arrays.pop("about"))), arrays


@dataclass
class Put:
    """A tiny model, its reference and rows, put together as a training does it."""

    backbone: Any
    head: Head
    arena: Arena
    reference: Any
    table: TokenTable
    dropout: Any

    def gradients(self) -> dict[str, Tensor]:
        names = [entry for group in self.arena.groups for entry in group.entries]
        flat = torch.cat([group.grad for group in self.arena.groups])
        parts = flat.split([int(np.prod(shape)) for _, shape in names])
        return {name: part.view(shape) for (name, shape), part in zip(names, parts, strict=True)}


class OtherModel:
    """A reference with weights of its own."""

    def __init__(self, backbone: Any, head: Head) -> None:
        self.backbone, self.head = backbone, head

    def log_probs(self, backbone: Any, head: Head, batch: FlatBatch) -> Tensor:
        del backbone, head
        return document_log_probs(self.backbone, self.head, batch)


@pytest.fixture(scope="module")
def put(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Put]:
    about, arrays = golden("weights")

    def model_of(prefix: str, *, scores: bool) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

        attention = register_flat_attention()
        config = LlamaConfig(**about["sizes"], attn_implementation=attention, num_labels=1)
        model: Any = (LlamaForSequenceClassification if scores else LlamaForCausalLM)(config)
        state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items()}
        names = model.state_dict()
        model.load_state_dict({name: state[name] for name in names})
        return model

    def build(unpaired: bool, scores: bool = False) -> Put:
        model, before = model_of("model/", scores=scores), model_of("reference/", scores=False)
        before.requires_grad_(False)
        groups = parameter_groups([*model.named_parameters()], weight_decay=0.0, loraplus_ratio=1.0)
        dropout = key_dropout_by_row(model, 1)
        arena = Arena(groups)
        reference = OtherModel(build_backbone(before, attention="auto"), Head.of(before))
        table = write_rows(tmp_path_factory.mktemp("rows"), about, unpaired=unpaired)
        backbone = build_backbone(model, attention="auto")
        return Put(backbone, Head.of(model), arena, reference, table, dropout)

    return build


def write_rows(folder: Path, about: dict[str, Any], *, unpaired: bool) -> TokenTable:
    with TableWriter(folder) as writer:
        for number, (asked, better, worse) in enumerate(about["rows"]):
            sides = [asked + better] if unpaired else [asked + better, asked + worse]
            targets = [[0] * len(asked) + [1] * (len(side) - len(asked)) for side in sides]
            facts: dict[str, Any] = {
                "full_lengths": max(map(len, sides)),
                "lines": number + 1,
                "records": number,
                "sources": 0,
                "digests": number,
                "splits": 0 if unpaired else len(sides[0]),
                "margins": 0.0 if unpaired else about["margins"][number],
                "desirable": int(about["good"][number]) if unpaired else 1,
            }
            ids = np.array([*chain(*sides)], np.uint32)
            writer.add(ids, np.array([*chain(*targets)], np.uint8), **facts)
        writer.finish({"sources": ["rows"]})
    return TokenTable.open(folder)


def step(
    made: Put, stage: Any, groups: list[list[int]], budget: int = 10_000
) -> tuple[float, dict[str, float], dict[str, Tensor]]:
    """Loss, metrics and gradients of one step of all rows, cut into these micro-batches."""
    made.arena.zero_grad()
    rows = np.array([row for group in groups for row in group], np.int64)
    work = StepWork(made.table, rows, 1, CPU, budget, made.dropout, Ranks())
    totals = stage.totals(made.table, rows)
    totals = stage.prepare(made.backbone, made.head, work, totals)
    sums, loss = StepSums(stage.names, CPU), 0.0
    for group in groups:
        found = stage.loss(
            made.backbone,
            made.head,
            stage.batch(made.table, np.array(group, np.int64), CPU),
            totals,
        )
        found.loss.backward()
        loss += float(found.loss.detach())
        sums.add(found.sums)
    values, _ = sums.values()
    gradients = {name: value.clone() for name, value in made.gradients().items()}
    return loss, stage.metrics(values, totals), gradients


GRPO: dict[str, dict[str, Any]] = {
    "grpo-dapo": {},
    "grpo-first": {},
    "grpo-original": {"loss": "grpo", "clip_high": 0.2, "beta": 0.04},
    "grpo-doctor": {"loss": "dr_grpo", "clip_high": 0.2, "beta": 0.1},
    "grpo-delta": {"clip_high": 0.2, "delta": 1.3},
    "grpo-sequence": {"loss": "grpo", "ratio": "sequence", "clip_high": 0.2, "beta": 0.04},
    "grpo-temperature": {"temperature": 0.7, "clip_high": 0.2, "beta": 0.04},
    "grpo-truncated": {"clip_high": 0.2, "beta": 0.04},
}


def policy_stage(name: str, made: Put) -> PolicyStage:
    """Stage grpo with the answers, advantages and earlier log-probabilities of the golden case."""
    settings = Grpo(**GRPO[name], max_answer_tokens=16)
    table = made.table
    if name == "grpo-truncated":  # the second answer was cut: nothing is learned from it
        targets, counts = table.targets.copy(), table.label_counts.copy()
        targets[int(table.offsets[1]) : int(table.offsets[2])] = 0
        counts[1] = 0
        table = made.table = replace(table, targets=targets, label_counts=counts)
    about = golden("weights")[0]
    moved = np.random.default_rng(11)
    drawn = [moved.normal(0, 0.3, len(answer)) for _, answer, _ in about["rows"]]
    work: dict[str, Any] = {
        "table": table,
        "temperature": settings.temperature,
        "budget": 40,
        "device": CPU,
    }
    now = token_values(made.backbone, made.head, **work)
    kept = [n + d[: len(n)].astype(np.float32) for n, d in zip(now, drawn, strict=True)]
    other = made.reference
    reference = token_values(other.backbone, other.head, **work) if settings.beta else None
    advantages = np.array([1.2, -0.7, 0.0, -1.1], np.float32)
    old = None if name == "grpo-first" else kept
    return PolicyStage(settings, Rollouts(table, advantages, old, reference))


def stage_of(name: str, made: Put) -> Any:
    good = made.table.desirable.astype(bool)
    stages: dict[str, Callable[[], Any]] = {
        "dpo-sigmoid": lambda: DpoStage(Dpo(), made.reference),
        "dpo-hinge": lambda: DpoStage(Dpo(loss="hinge"), made.reference),
        "dpo-ipo": lambda: DpoStage(Dpo(loss="ipo"), made.reference),
        "dpo-robust": lambda: DpoStage(Dpo(loss="robust", label_smoothing=0.2), made.reference),
        "dpo-ftx": lambda: DpoStage(Dpo(ftx=0.3), made.reference),
        "kto": lambda: KtoStage(
            Kto(desirable_weight=1.3, undesirable_weight=0.8), made.reference, good, 64
        ),
        "kto-apo": lambda: KtoStage(Kto(loss="apo_zero_unpaired"), made.reference, good, 64),
        "orpo": lambda: OrpoStage(Orpo()),
        "simpo": lambda: SimpoStage(Simpo(beta=2.0, gamma=0.7)),
        "simpo-ftx": lambda: SimpoStage(Simpo(beta=2.0, gamma=0.7, ftx=1.0)),
        "cpo-sigmoid": lambda: CpoStage(Cpo(label_smoothing=0.1)),
        "cpo-hinge": lambda: CpoStage(Cpo(loss="hinge")),
        "cpo-ipo": lambda: CpoStage(Cpo(loss="ipo")),
        "rm": lambda: RewardStage(Reward(), np.zeros(4, np.float32)),
        "rm-margin": lambda: RewardStage(Reward(center=0.05), made.table.margins),
        **{name: partial(policy_stage, name, made) for name in GRPO},
    }
    return stages[name]()


CASES = sorted(file.stem for file in FOLDER.glob("*.npz") if file.stem != "weights")


def build(put: Any, name: str) -> tuple[Put, Any]:
    made = put(name.startswith(("kto", "grpo")), name.startswith("rm"))
    return made, stage_of(name, made)


def worst(ours: dict[str, Tensor], theirs: dict[str, Any]) -> float:
    """The largest difference of a tensor, relative to its own length."""
    assert ours.keys() == theirs.keys()
    return max(
        float((ours[n] - torch.as_tensor(theirs[n])).norm() / torch.as_tensor(theirs[n]).norm())
        for n in ours
    )


@pytest.mark.parametrize("name", CASES)
def test_loss_metrics_and_gradients_are_those_of_trl(put: Any, name: str) -> None:
    about, gradients = golden(name)
    loss, metrics, ours = step(*build(put, name), [[0, 1, 2, 3]])
    assert loss == pytest.approx(about["loss"], rel=CLOSE)
    assert metrics["loss"] == pytest.approx(about["loss"], rel=CLOSE)
    assert worst(ours, gradients) < CLOSE
    left_out = LEFT_OUT | (OF_PADDING if name.startswith(("orpo", "simpo", "cpo")) else set())
    if name == "simpo":
        left_out |= {"nll_loss"}  # TRL does not compute it where it has no weight
    compared = {key: value for key, value in about["metrics"].items() if key not in left_out}
    for key, value in compared.items():
        ours_value = metrics[NAMES.get(key, key)]
        assert ours_value == pytest.approx(value, rel=CLOSE, abs=1e-6), key


def test_the_rows_of_kto_have_a_shift_to_speak_of() -> None:
    assert golden("kto")[0]["metrics"]["kl"] > 0.01


@pytest.mark.parametrize("name", CASES)
def test_a_step_does_not_depend_on_how_it_is_cut(put: Any, name: str) -> None:
    made, stage = build(put, name)
    loss, metrics, whole = step(made, stage, [[0, 1, 2, 3]])
    for groups, budget in (([[0], [1], [2], [3]], 16), ([[2, 0], [3, 1]], 30)):
        again, same, cut = step(made, stage, groups, budget)
        assert again == pytest.approx(loss, rel=1e-6)
        assert same == pytest.approx(metrics, rel=CLOSE, abs=1e-6)
        assert worst(cut, {n: v.numpy() for n, v in whole.items()}) < CLOSE
