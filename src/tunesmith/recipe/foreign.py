"""Names of other systems that do not stand for exactly one field of ours.

Some need a decision (`val_size: 0` is no validation at all), some belong together
(`per_device_train_batch_size` x `gradient_accumulation_steps`). The latter wait under a path that
starts with ~ until all layers are known; `assemble.py` then works them out.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.recipe.problems import Notice, Problem, notice, problem
from tunesmith.recipe.words import listed, quoted

PER_DEVICE = "~per_device_train_batch_size"
ACCUMULATION = "~gradient_accumulation_steps"
PACKING = "~packing"
MULTIPLIER = "~learning_rate_multiplier"


@dataclass(frozen=True)
class Said:
    """A name and its value as written."""

    name: str
    value: Any
    line: int | None


@dataclass
class Translation:
    """What foreign names come to: (path, value, as written), problems and notices."""

    values: list[tuple[str, Any, Said]] = field(default_factory=list[tuple[str, Any, Said]])
    problems: list[Problem] = field(default_factory=list[Problem])
    notices: list[Notice] = field(default_factory=list[Notice])

    def put(self, path: str, value: Any, said: Said) -> None:
        self.values.append((path, value, said))

    def refuse(self, said: Said, code: str, **values: Any) -> None:
        self.problems.append(problem(code, said.name, said.line, **values))


def translate(said: Mapping[str, Said]) -> Translation:
    """Work out the foreign names of one layer, by their normalised names."""
    out = Translation()
    for name, value in said.items():
        NAMES[name](value, out, said)
    return out


Everything = Mapping[str, Said]


def _hold(path: str) -> Callable[[Said, Translation, Everything], None]:
    def keep(said: Said, out: Translation, _: Everything) -> None:
        if said.value is not None:
            out.put(path, said.value, said)

    return keep


def _val_size(said: Said, out: Translation, _: Everything) -> None:
    try:
        size = float(said.value or 0)
    except (TypeError, ValueError):
        out.put("data.validation.fraction", said.value, said)  # refused with its range later
        return
    if size == 0:
        out.put("data.validation.kind", "none", said)
    elif size >= 1:
        out.refuse(said, "validation_rows_not_share", value=quoted(said.value))
    else:
        out.put("data.validation.fraction", size, said)


def _datasets(said: Said, out: Translation, everything: Everything) -> None:
    value = said.value
    folder = everything.get("data_url")
    if said is folder and "train_data_file" in everything:
        return  # it is the folder of that file
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if folder and folder is not said and isinstance(folder.value, str):
            parts = [posixpath.join(folder.value, part) for part in parts]
        value = parts
    out.put("data.train", value, said)


def _validation_file(said: Said, out: Translation, everything: Everything) -> None:
    folder = everything.get("data_url")
    value = said.value
    if folder and "train_data_file" in everything and isinstance(value, str):
        value = posixpath.join(str(folder.value), value)
    if value is not None:
        out.put("data.validation.dataset", value, said)


def _half(dtype: str) -> Callable[[Said, Translation, Everything], None]:
    def choose(said: Said, out: Translation, everything: Everything) -> None:
        flags = [everything[name] for name in ("fp16", "bf16", "pure_bf16") if name in everything]
        if said.value is True:
            out.put("model.dtype", dtype, said)
        elif said.value is not False:
            out.refuse(said, "not_a_switch", value=quoted(said.value))
        elif not any(flag.value for flag in flags):
            out.put("model.dtype", "float32", said)

    return choose


def _report_to(said: Said, out: Translation, _: Everything) -> None:
    known = ("tensorboard", "wandb", "mlflow", "swanlab")
    value = said.value if isinstance(said.value, list) else [said.value]
    wanted = [str(item).lower() for item in value if item not in (None, False)]
    wanted = list(known) if "all" in wanted else [item for item in wanted if item != "none"]
    for item in wanted:
        if item not in known:
            out.refuse(said, "unknown_tracker", value=item, known=listed(known))
    for item in known:
        out.put(f"report.{item}", item in wanted, said)


def _bits(said: Said, out: Translation, _: Everything) -> None:
    kinds = {"4": "nf4", "8": "int8"}
    if str(said.value) in kinds:
        out.put("model.quantization", kinds[str(said.value)], said)
    elif said.value not in (None, 0, 16, 32, "none"):
        out.refuse(said, "other_bits", value=quoted(said.value))


def _load_in(kind: str) -> Callable[[Said, Translation, Everything], None]:
    def choose(said: Said, out: Translation, _: Everything) -> None:
        if said.value is True:
            out.put("model.quantization", kind, said)
        elif said.value not in (None, False):
            out.refuse(said, "not_true_or_false", value=quoted(said.value))

    return choose


def _as_here(*values: Any) -> Callable[[Said, Translation, Everything], None]:
    """A setting of quantisation that has one value here."""

    def check(said: Said, out: Translation, _: Everything) -> None:
        if said.value is not None and said.value not in values:
            out.refuse(said, "other_quantisation", value=quoted(said.value))

    return check


def _pissa(said: Said, out: Translation, _: Everything) -> None:
    if said.value is True:
        out.put("adapter.init", "pissa", said)
    elif said.value not in (None, False):
        out.refuse(said, "not_true_or_false", value=quoted(said.value))


def _place(said: Said, out: Translation, _: Everything) -> None:
    out.notices.append(notice("output_place", said.name, place=str(said.value)))


def _task_type(said: Said, out: Translation, _: Everything) -> None:
    out.notices.append(notice("task_type", said.name))


def _warmup_steps(said: Said, out: Translation, _: Everything) -> None:
    if said.value not in (None, 0):
        out.refuse(said, "warmup_steps_not_share")


NAMES: dict[str, Callable[[Said, Translation, Everything], None]] = {
    "per_device_train_batch_size": _hold(PER_DEVICE),
    "gradient_accumulation_steps": _hold(ACCUMULATION),
    "packing": _hold(PACKING),
    "learning_rate_multiplier": _hold(MULTIPLIER),
    "val_size": _val_size,
    "从训练数据拆分": _val_size,
    "拆分": _val_size,
    "dataset": _datasets,
    "data_url": _datasets,
    "train_data_file": _datasets,
    "training_file": _datasets,
    "训练数据集": _datasets,
    "数据集版本": _datasets,
    "eval_dataset": _validation_file,
    "validation_file": _validation_file,
    "test_data_file": _validation_file,
    "从已有数据导入": _validation_file,
    "指定数据": _validation_file,
    "fp16": _half("float16"),
    "bf16": _half("bfloat16"),
    "pure_bf16": _half("bfloat16"),
    "report_to": _report_to,
    "quantization_bit": _bits,
    "bits": _bits,
    "load_in_4bit": _load_in("nf4"),
    "load_in_8bit": _load_in("int8"),
    "quantization_method": _as_here("bnb", "bitsandbytes"),
    **dict.fromkeys(("quantization_type", "bnb_4bit_quant_type"), _as_here("nf4")),
    **dict.fromkeys(("double_quantization", "bnb_4bit_use_double_quant"), _as_here(True)),
    "pissa_init": _pissa,
    "output_dir": _place,
    "train_url": _place,
    "task_type": _task_type,
    "训练任务类型": _task_type,
    "warmup_steps": _warmup_steps,
}
