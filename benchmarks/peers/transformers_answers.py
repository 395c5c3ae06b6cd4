"""Answers of transformers.generate, one prompt at a time: transformers_answers.py MODEL.

Orders come as JSON lines on standard input, and each gets one line back:
    {"generate": [[ids], ...], "length": N}   -> {"seconds", "answers": [[ids], ...], "gaps"}
    {"forward": [ids], "times": N}            -> {"seconds": [...]}
`gaps` are the differences of the two best scores, place by place.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM


@torch.inference_mode()
def main(directory: str) -> None:
    """Load, say so, and answer until standard input ends."""
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        told = generate(model, order) if "generate" in order else forward(model, order)
        print(json.dumps(told), flush=True)


def generate(model: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Greedy answers of one length."""
    answers: list[list[int]] = []
    gaps: list[list[float]] = []
    seconds = 0.0
    for prompt in order["generate"]:
        ids = torch.tensor([prompt])
        started = time.perf_counter()
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=order["length"],
            do_sample=False,
            pad_token_id=0,
            output_logits=order.get("gaps", False),
            return_dict_in_generate=True,
        )
        seconds += time.perf_counter() - started
        answers.append(output.sequences[0, len(prompt) :].tolist())
        if order.get("gaps"):
            best = [scores[0].topk(2).values for scores in output.logits]
            gaps.append([float(two[0] - two[1]) for two in best])
    return {"seconds": seconds, "answers": answers, "gaps": gaps}


def forward(model: Any, order: dict[str, Any]) -> dict[str, Any]:
    """A bare pass over one prompt, with scores behind its last token only."""
    ids = torch.tensor([order["forward"]])
    seconds: list[float] = []
    for _ in range(order["times"]):
        started = time.perf_counter()
        model(input_ids=ids, logits_to_keep=1, use_cache=True)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


if __name__ == "__main__":
    main(sys.argv[1])
