"""Golden numbers of preference stages and grpo: TRL's own loss code on batches of a tiny model.

Run it in an environment of its own, with torch 2.13, transformers 5.23 and trl 1.16:

    python -m venv trl && trl/bin/pip install torch==2.13.0 trl==1.16.* transformers==5.23.0 peft
    trl/bin/python tools/golden/trl_losses.py tests/unit/engine/golden

It writes `weights.npz` (the model, its reference and the rows) and, for each case, an .npz with the
loss, every logged metric and the gradients of all weights. Only numbers come from TRL: rows are
laid out here, and its trainers are made without their data pipelines.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

SIZES = {
    "vocab_size": 61,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
PAD = 0
SEED = 2  # of weights for which the KL estimate of kto is above zero
HEAD_OUTPUTS = ("log_probs", "entropy", "is_top1", "mean_logits")
# (tokens of the question, of the better and of the worse answer)
PAIRS = ((5, 7, 4), (3, 2, 9), (8, 6, 6), (4, 11, 3))
GOOD = (True, False, True, True)
MARGINS = (0.0, 0.5, -0.25, 1.5)

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dpo-sigmoid": ("dpo", {"loss_type": ["sigmoid"]}),
    "dpo-hinge": ("dpo", {"loss_type": ["hinge"]}),
    "dpo-ipo": ("dpo", {"loss_type": ["ipo"]}),
    "dpo-robust": ("dpo", {"loss_type": ["robust"], "label_smoothing": 0.2}),
    "dpo-ftx": ("dpo", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]}),
    "kto": ("kto", {"loss_type": "kto", "desirable_weight": 1.3, "undesirable_weight": 0.8}),
    "kto-apo": ("kto", {"loss_type": "apo_zero_unpaired"}),
    "orpo": ("orpo", {}),
    "simpo": ("cpo", {"loss_type": "simpo", "simpo_gamma": 0.7, "beta": 2.0, "cpo_alpha": 0.0}),
    "simpo-ftx": ("cpo", {"loss_type": "simpo", "simpo_gamma": 0.7, "beta": 2.0}),
    "cpo-sigmoid": ("cpo", {"loss_type": "sigmoid", "label_smoothing": 0.1}),
    "cpo-hinge": ("cpo", {"loss_type": "hinge"}),
    "cpo-ipo": ("cpo", {"loss_type": "ipo"}),
    "rm": ("rm", {}),
    "rm-margin": ("rm", {"margin": True, "center_rewards_coefficient": 0.05}),
    "grpo-dapo": ("grpo", {"loss_type": "dapo", "epsilon_high": 0.28}),
    "grpo-first": ("grpo", {"loss_type": "dapo", "epsilon_high": 0.28, "first": True}),
    "grpo-original": ("grpo", {"loss_type": "grpo", "beta": 0.04}),
    "grpo-doctor": ("grpo", {"loss_type": "dr_grpo", "beta": 0.1}),
    "grpo-delta": ("grpo", {"loss_type": "dapo", "delta": 1.3, "epsilon_high": 0.2}),
    "grpo-sequence": ("grpo", {"loss_type": "grpo", "level": "sequence", "beta": 0.04}),
    "grpo-temperature": ("grpo", {"loss_type": "dapo", "temperature": 0.7, "beta": 0.04}),
    "grpo-truncated": ("grpo", {"loss_type": "dapo", "masked": [1], "beta": 0.04}),
}
ADVANTAGES = (1.2, -0.7, 0.0, -1.1)
MAX_ANSWER = 16


def config() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**SIZES, attn_implementation="eager")


def models() -> tuple[Any, Any, Any]:
    """The model, its reference (a little different, so that no term vanishes) and a scorer."""
    from transformers import LlamaForCausalLM, LlamaForSequenceClassification

    torch.manual_seed(SEED)
    model = LlamaForCausalLM(config())
    reference = LlamaForCausalLM(config())
    reference.load_state_dict(model.state_dict())
    with torch.no_grad():
        for part in reference.parameters():
            part += 0.05 * torch.randn(part.shape)
    settings = config()
    settings.num_labels = 1
    scorer = LlamaForSequenceClassification(settings)
    scorer.model.load_state_dict(model.model.state_dict())
    return model.train(), reference.eval().requires_grad_(False), scorer.train()


def rows() -> list[tuple[list[int], list[int], list[int]]]:
    generator = np.random.default_rng(7)
    draw = lambda count: generator.integers(1, SIZES["vocab_size"], count).tolist()  # noqa: E731
    return [(draw(a), draw(b), draw(c)) for a, b, c in PAIRS]


def padded(sequences: list[list[int]], value: int) -> Tensor:
    longest = max(map(len, sequences))
    return torch.tensor([[*each, *[value] * (longest - len(each))] for each in sequences])


def batch_of(questions: list[list[int]], answers: list[list[int]]) -> dict[str, Tensor]:
    """Right-padded rows with the mask of their answers."""
    whole = [q + a for q, a in zip(questions, answers, strict=True)]
    masks = [[0] * len(q) + [1] * len(a) for q, a in zip(questions, answers, strict=True)]
    return {
        "input_ids": padded(whole, PAD),
        "attention_mask": padded([[1] * len(each) for each in whole], 0),
        "completion_mask": padded(masks, 0),
    }


class Accelerator:
    """One process: gathering is doing nothing."""

    device = torch.device("cpu")

    num_processes, is_main_process = 1, False

    def gather(self, value: Tensor) -> Tensor:
        return value

    gather_for_metrics = gather

    def reduce(self, value: Tensor, reduction: str) -> Tensor:  # noqa: ARG002
        return value

    def autocast(self) -> Any:
        return nullcontext()


def bare(kind: type, model: Any, **fields: Any) -> Any:
    """A trainer with nothing but what its loss reads."""
    trainer = kind.__new__(kind)
    trainer.accelerator = Accelerator()
    trainer.model = model
    trainer._metrics = defaultdict(lambda: defaultdict(list))
    trainer._total_train_tokens, trainer._tp_size = 0, 1
    trainer.aux_loss_enabled = False
    trainer.label_smoothing = fields.pop("label_smoothing", 0.0)
    trainer.beta = fields.pop("beta", 0.1)
    for name, value in fields.items():
        setattr(trainer, name, value)
    return trainer


def dpo(model: Any, reference: Any, settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
    from trl import DPOTrainer
    from trl.trainer.utils import add_fused_lm_head

    add_fused_lm_head(model, outputs=HEAD_OUTPUTS)
    add_fused_lm_head(reference)
    trainer = bare(
        DPOTrainer, model, ref_model=reference, ld_alpha=None, precompute_ref_logps=False,
        f_divergence_type="reverse_kl", use_weighting=False,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        loss_types=settings["loss_type"], label_smoothing=settings.get("label_smoothing", 0.0),
        loss_weights=settings.get("loss_weights", [1.0]),
    )  # fmt: skip
    questions, better, worse = map(list, zip(*rows(), strict=True))
    inputs = batch_of(questions * 2, better + worse)
    loss = trainer._compute_loss(model, inputs, False)
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}


def kto(model: Any, reference: Any, settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
    from trl import KTOTrainer
    from trl.trainer.utils import add_fused_lm_head

    add_fused_lm_head(model, outputs=HEAD_OUTPUTS)
    add_fused_lm_head(reference)
    trainer = bare(
        KTOTrainer, model, ref_model=reference, precompute_ref_logps=False,
        loss_type=settings["loss_type"], calculate_KL=settings["loss_type"] == "kto",
        desirable_weight=settings.get("desirable_weight", 1.0),
        undesirable_weight=settings.get("undesirable_weight", 1.0),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
    )  # fmt: skip
    questions, answers = [q for q, _, _ in rows()], [a for _, a, _ in rows()]
    inputs: dict[str, Any] = batch_of(questions, answers)
    borrowed = batch_of(questions, [answers[-1], *answers[:-1]])
    inputs |= {f"KL_{name}": value for name, value in borrowed.items()}
    inputs["label"] = torch.tensor(GOOD)
    loss = trainer._compute_loss(model, inputs, False)
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}


def without_reference(
    kind: type, model: Any, fields: dict[str, Any]
) -> tuple[Tensor, dict[str, float]]:
    """ORPO and CPO, which share the form of their batches."""
    trainer = bare(kind, model, is_encoder_decoder=False, **fields)
    trainer.padding_value = trainer.pad_token_id = PAD
    inputs: dict[str, Any] = {}
    for number, name in ((1, "chosen"), (2, "rejected")):
        batch = batch_of([row[0] for row in rows()], [row[number] for row in rows()])
        inputs[f"{name}_input_ids"] = batch["input_ids"]
        inputs[f"{name}_attention_mask"] = batch["attention_mask"]
        hidden = batch["completion_mask"] == 0
        inputs[f"{name}_labels"] = batch["input_ids"].masked_fill(hidden, -100)
    return trainer.get_batch_loss_metrics(model, inputs, "train")


def orpo(model: Any, _: Any, settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
    from trl.experimental.orpo import ORPOTrainer

    return without_reference(ORPOTrainer, model, settings)


def cpo(model: Any, _: Any, settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
    from trl.experimental.cpo import CPOTrainer

    fields = {"alpha": 0.0, "simpo_gamma": 0.5, "cpo_alpha": 1.0, **settings}
    return without_reference(CPOTrainer, model, fields)


def rm(model: Any, _: Any, settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
    from trl import RewardTrainer

    center = settings.get("center_rewards_coefficient")
    trainer = bare(RewardTrainer, model, args=SimpleNamespace(center_rewards_coefficient=center))
    questions, better, worse = map(list, zip(*rows(), strict=True))
    inputs: dict[str, Any] = batch_of(questions * 2, better + worse)
    del inputs["completion_mask"]
    if settings.get("margin"):
        inputs["margin"] = torch.tensor(MARGINS)
    loss = trainer.compute_loss(model, inputs)
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}


def before(count: int) -> list[list[float]]:
    """How far each token's log-probability was from the present one when it was drawn."""
    generator = np.random.default_rng(11)
    return [generator.normal(0, 0.3, len(a)).tolist() for _, a, _ in rows()][:count]


def grpo(model: Any, reference: Any, settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
    from trl import GRPOTrainer
    from trl.trainer.utils import add_fused_lm_head

    for each in (model, reference):
        temperature = settings.get("temperature", 1.0)
        add_fused_lm_head(each, temperature=temperature, outputs=("log_probs", "entropy"))
    beta = settings.get("beta", 0.0)
    trainer = bare(
        GRPOTrainer, model, beta=beta, loss_type=settings["loss_type"], epsilon_low=0.2,
        epsilon_high=settings.get("epsilon_high", 0.2), top_entropy_quantile=1.0,
        importance_sampling_level=settings.get("level", "token"), use_vllm=False,
        off_policy_mask_threshold=None, max_completion_length=MAX_ANSWER,
        current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False,
        args=SimpleNamespace(
            delta=settings.get("delta"), use_bias_correction_kl=False, steps_per_generation=1
        ),
    )  # fmt: skip
    questions, answers = [q for q, _, _ in rows()], [a for _, a, _ in rows()]
    longest = max(map(len, questions))
    prompts = torch.tensor([[PAD] * (longest - len(q)) + q for q in questions])
    prompt_mask = torch.tensor([[0] * (longest - len(q)) + [1] * len(q) for q in questions])
    ids, mask = padded(answers, PAD), padded([[1] * len(a) for a in answers], 0)
    inputs: dict[str, Any] = {
        "prompt_ids": prompts, "prompt_mask": prompt_mask, "completion_ids": ids,
        "completion_mask": mask, "advantages": torch.tensor(ADVANTAGES),
    }  # fmt: skip
    whole = torch.cat([prompts, ids], 1), torch.cat([prompt_mask, mask], 1), ids.shape[1]
    with torch.no_grad():
        now = trainer._get_per_token_logps_and_entropies(model, *whole)[0]
        inputs["ref_per_token_logps"] = trainer._get_per_token_logps_and_entropies(
            reference, *whole
        )[0]
    if not settings.get("first"):
        moved = before(len(answers))
        longest = ids.shape[1]
        inputs["old_per_token_logps"] = now + torch.tensor(
            [[*row, *[0.0] * (longest - len(row))] for row in moved]
        )
    for row in settings.get("masked", ()):
        mask[row] = 0
    inputs["num_items_in_batch"] = mask.sum()
    loss = trainer._compute_loss(model, inputs)
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}


STAGES = {"dpo": dpo, "kto": kto, "orpo": orpo, "cpo": cpo, "rm": rm, "grpo": grpo}


def save(path: Path, arrays: dict[str, np.ndarray], **about: Any) -> None:
    text = json.dumps(about, sort_keys=True)
    np.savez_compressed(path, about=np.array(text), **arrays)


def numbers(model: Any, gradients: bool = False) -> dict[str, np.ndarray]:
    wanted = model.named_parameters()
    return {name: (p.grad if gradients else p.data).numpy() for name, p in wanted}


def main() -> None:
    import transformers
    import trl

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model, reference, scorer = models()
    arrays = {f"model/{name}": value for name, value in numbers(model).items()}
    arrays |= {f"reference/{name}": value for name, value in numbers(reference).items()}
    arrays["score.weight"] = scorer.score.weight.data.numpy()
    versions = {"trl": trl.__version__, "torch": torch.__version__}
    save(
        folder / "weights.npz", arrays, sizes=SIZES, rows=rows(), good=GOOD, margins=MARGINS,
        versions={**versions, "transformers": transformers.__version__},
    )  # fmt: skip
    for name, (stage, settings) in CASES.items():
        model, reference, scorer = models()
        trained = scorer if stage == "rm" else model
        loss, metrics = STAGES[stage](trained, reference, settings)
        loss.backward()
        told = {key: float(value) for key, value in metrics.items()}
        gradients = numbers(trained, gradients=True)
        save(folder / f"{name}.npz", gradients, loss=float(loss), metrics=told, settings=settings)
        sys.stdout.write(f"{name}: loss {float(loss):.6f}, {len(told)} metrics\n")


if __name__ == "__main__":
    main()
