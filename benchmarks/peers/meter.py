"""What every peer's job measures, through the transformers Trainer that both peers build on.

Only the standard library and what the peer itself has imported: this file runs in the peer's
environment, never in ours.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback


def resident_bytes(field: str = "VmRSS") -> int:
    """One size of this process from the kernel: VmRSS (now) or VmHWM (the highest so far)."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def take_stdout() -> int:
    """Keep standard output for the one JSON document; whatever else is printed goes to stderr."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


class Meter(TrainerCallback):
    """Tokens, loss and wall time of each optimizer step (one batch a step)."""

    def __init__(self) -> None:
        self.import_bytes = resident_bytes()
        self.steps: list[dict[str, Any]] = []

    def install(self) -> None:
        """Look into each batch on its way to the trainer's own training step."""
        original = Trainer.training_step

        def measured_step(trainer: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            counts = _count(inputs)
            loss = original(trainer, model, inputs, *args, **kwargs)
            self.steps.append({**counts, "loss": float(loss.detach())})
            return loss

        Trainer.training_step = measured_step  # type: ignore[method-assign]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The optimizer has stepped."""
        self.steps[-1]["time"] = time.time()

    def on_log(self, *_: Any, logs: dict[str, Any] | None = None, **__: Any) -> None:
        """The trainer reports the gradient norm of the step that has just ended."""
        if self.steps and logs and "grad_norm" in logs:
            self.steps[-1]["grad_norm"] = float(logs["grad_norm"])

    def write(self, stdout: int, **versions: str) -> None:
        """Print the one JSON document of the job."""
        document = {
            "import_bytes": self.import_bytes,
            "peak_bytes": resident_bytes("VmHWM"),
            "steps": self.steps,
            "versions": versions,
        }
        with os.fdopen(stdout, "w", encoding="utf-8") as file:
            json.dump(document, file)


def _count(inputs: Any) -> dict[str, int]:
    mask, labels = inputs["attention_mask"], inputs["labels"]
    return {
        "tokens": int(mask.sum()),
        "label_tokens": int((labels[..., 1:] != -100).sum()),
        "padded_tokens": mask.numel(),
    }


def read_job() -> dict[str, Any]:
    """The job that the harness wrote: model, adapter, dataset, steps, batch size, ..."""
    return json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
