"""What a deployment needs in memory: a base, and the adapter that goes on top."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from tunesmith.models.presets import STARTER, find_preset
from tunesmith.server import ids
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict
from tunesmith.server.services.models.finding import folder_of
from tunesmith.server.services.models.grounds import adapter_kind, attends_beside, holds_vectors
from tunesmith.server.tables import Model

# Weights are kept in memory as float32 where they lie as bfloat16, then there are caches, the
# libraries themselves, and adapters.
_WEIGHT_FACTOR: Final = 2.0
_OVERHEAD_BYTES: Final = 600 << 20
_STARTER_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Source:
    """`base` as the column of that name has it; `adapter_id` is empty for a base itself."""

    base: str
    adapter_id: str | None = None


def source_of(session: Session, model: Model) -> Source:
    """LoRA and vectors in front of the text go on top of their base.

    Every other model is one itself, merged when it is loaded.
    """
    if model.kind != "adapter" or not _stands_beside(model):
        return Source(model.id)
    return Source(base_under(session, model), model.id)


def base_under(session: Session, adapter: Model) -> str:
    """The base under an adapter: one that was trained on an adapter replaces that one.

    One that is merged is never gone on with: what was trained on it rests on the whole.
    """
    below = adapter
    while below.kind == "adapter" and below.parent_id is not None:
        below = session.get_one(Model, below.parent_id)
        if below.kind == "adapter" and not _stands_beside(below):
            return below.id
    return below.id if below.kind != "adapter" else below.base


def refuse_unserved(model: Model) -> None:
    """Conflict for a model that no serving process takes."""
    if attends_beside(model):
        raise Conflict(
            f"{model.name} holds vectors that layers attend to beside the text (adapter tuning), "
            "which are not served.",
            hint="Ask it with `tunesmith chat`, or train with adapter.kind: lora.",
            code="attention_not_served",
            model=model.name,
            param="model",
        )
    if ((model.recipe or {}).get("stage") or {}).get("kind") == "rm":
        raise Conflict(
            f"{model.name} is a reward model: it scores answers and writes none.",
            hint="Evaluate it on preference rows, or name it as a reward of a grpo training.",
            code="reward_model_writes_nothing",
            model=model.name,
            param="model",
        )


def _stands_beside(adapter: Model) -> bool:
    return adapter_kind(adapter) == "lora" or holds_vectors(adapter)


def base_argument(session: Session, place: DataDir, base: str) -> str:
    """What a serving process is started with: a folder, or a name that it knows."""
    if not base.startswith(ids.MODEL):
        return base
    return str(folder_of(session, place, session.get_one(Model, base)).absolute())


def adapter_folder(session: Session, place: DataDir, adapter_id: str) -> Path:
    folder = folder_of(session, place, session.get_one(Model, adapter_id)).absolute()
    inside = folder / "adapter"
    return inside if inside.is_dir() else folder


def memory_bytes(session: Session, place: DataDir, base: str) -> int:
    """What a process with this base will take, estimated from its weights before it starts."""
    if base == STARTER:
        return _STARTER_BYTES + _OVERHEAD_BYTES
    if not base.startswith(ids.MODEL):
        preset = find_preset(base)
        return round((preset.parameters if preset else 0) * 2 * _WEIGHT_FACTOR) + _OVERHEAD_BYTES
    model = session.get_one(Model, base)
    folder = folder_of(session, place, model)
    weights = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    if model.kind == "adapter":
        return round(weights * _WEIGHT_FACTOR) + memory_bytes(
            session, place, base_under(session, model)
        )
    return round(weights * _WEIGHT_FACTOR) + _OVERHEAD_BYTES
