"""LLaMA-Factory's job files (YAML or JSON) as recipes: the same training, every key accounted for.

Keys that its file leaves out get the defaults of LLaMA-Factory 0.9, not ours, so that the recipe
trains what the file trained. Scripts are never run and remote code is never turned on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tunesmith.recipe.convert.dataset_info import (
    DatasetInfo,
    Purpose,
    convert_entry,
    parse_dataset_info,
    read_dataset_info,
)
from tunesmith.recipe.convert.keys import (
    BLOCKS,
    DEFAULTS,
    NO_BLOCKS,
    NOT_NEEDED,
    NOT_SUPPORTED,
    OF_METHODS,
    OF_STAGES,
    OPTIMIZER_DEFAULTS,
    OPTIMIZERS,
    PROJECTIONS,
    RENAMED,
    STAGE_DEFAULTS,
)
from tunesmith.recipe.convert.model_keys import MODEL_KEYS
from tunesmith.recipe.convert.report import Entry, Report
from tunesmith.recipe.document import Document, dump_yaml, invalid_json, parse_yaml, read_text
from tunesmith.recipe.load import parse_document
from tunesmith.recipe.problems import Notice, problem, refuse
from tunesmith.recipe.schema import Recipe
from tunesmith.recipe.words import listed


@dataclass(frozen=True)
class Conversion:
    """The recipe, its YAML with the report as its header, and what became of each key."""

    recipe: Recipe
    yaml: str
    entries: tuple[Entry, ...]
    notices: tuple[Notice, ...]


def convert_llamafactory(path: Path, dataset_info: Path | None = None) -> Conversion:
    """Convert a job file; RecipeError when no recipe can do what it asks for."""
    return _convert(_Job(path, _read(path), dataset_info))


def convert_llamafactory_text(text: str, dataset_info: str | None = None) -> Conversion:
    """Convert the text of a job file without looking at any disk: names of datasets stay names."""
    path, listed = Path("job.yaml"), Path("dataset_info.json")
    info = (
        None
        if dataset_info is None
        else parse_dataset_info(dataset_info, listed, Path(), on_disk=False)
    )
    return _convert(_Job(path, _parse(path, text), None, info=info, on_disk=False))


def _convert(job: _Job) -> Conversion:
    path, document = job.path, job.document
    for key, value in document.value.items():
        _HANDLERS.get(key, _plain)(job, key, value)
    job.datasets()
    _fill_defaults(job)
    loaded = parse_document(Document(job.out, job.lines), (), str(path))
    return Conversion(
        loaded.recipe,
        _yaml(path, loaded.recipe, job.report.entries),
        tuple(job.report.entries),
        loaded.notices,
    )


def _read(path: Path) -> Document:
    return _parse(path, read_text(path))


def _parse(path: Path, text: str) -> Document:
    if path.suffix.lower() == ".json":
        try:
            document = Document(json.loads(text))
        except json.JSONDecodeError as error:
            raise invalid_json(str(path), text, error) from None
    else:
        document = parse_yaml(text, str(path))
    if not isinstance(document.value, dict) or not document.value:
        raise refuse(str(path), [problem("not_a_llamafactory_job")])
    if document.problems:
        raise refuse(str(path), document.problems)
    return document


@dataclass
class _Job:
    """The job file on its way to a recipe: `out` collects names that a recipe understands."""

    path: Path
    document: Document
    info_path: Path | None
    info: DatasetInfo | None = None
    on_disk: bool = True
    out: dict[str, Any] = field(default_factory=dict[str, Any])
    report: Report = field(default_factory=Report)
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict[Any, int])

    def get(self, key: str, default: Any = None) -> Any:
        value: Any = self.document.value.get(key)
        return default if value is None else value

    def line(self, key: str) -> int | None:
        return self.document.lines.get((key,))

    def set(self, key: str, name: str, value: Any, reason: str = "") -> None:
        """Take a value under one of our names, and report it."""
        self.out[name] = value
        if line := self.line(key):
            self.lines[(name,)] = line
        to = RENAMED.get(key, name)
        if to.rpartition(".")[2] == key:
            self.report.taken(key, self.get(key), reason, self.line(key))
        else:
            self.report.renamed(key, self.get(key), to, reason, self.line(key))

    def taken(self, key: str, reason: str) -> None:
        self.report.taken(key, self.get(key), reason, self.line(key))

    def refuse(self, key: str, reason: str) -> None:
        self.report.not_supported(key, self.get(key), reason, self.line(key))

    def datasets(self) -> None:
        """Look the dataset names up; a name that is nowhere is an error that lists the known."""
        info = self._dataset_info()
        for key, section in (("dataset", "train"), ("eval_dataset", "validation")):
            names = _names(self.get(key))
            sources = [source for name in names if (source := self._source(name, info, key))]
            if section == "train" and not sources:
                asked = f"dataset ({', '.join(names)})" if names else "dataset"
                error = refuse(str(self.path), [problem("no_training_data_left", asked=asked)])
                error.details["entries"] = [str(entry) for entry in self.report.entries]
                raise error
            if section == "train":
                self.out["data.train"] = sources
            elif sources:
                self.out["data.validation"] = {"kind": "dataset", **sources[0]}
                for name in names[1:]:
                    self.report.not_supported(key, name, "one dataset to validate on is supported")

    def _dataset_info(self) -> DatasetInfo | None:
        if not self.on_disk:
            return self.info
        folder = self._folder()
        path = self.info_path or folder / "dataset_info.json"
        if self.info_path is None and not path.is_file():
            return None
        return read_dataset_info(path, path.parent if self.info_path else folder)

    def _folder(self) -> Path:
        written = Path(str(self.get("dataset_dir", "data"))).expanduser()
        beside = self.path.parent / written
        return beside.absolute() if beside.is_dir() else written.absolute()

    def _source(self, name: str, info: DatasetInfo | None, key: str) -> dict[str, Any] | None:
        if info is None and not self.on_disk:
            self.report.taken(key, name, "the dataset of this name", self.line(key))
            return _limited({"dataset": name}, self.get("max_samples"))
        if info is None:
            to = "data.validation" if key == "eval_dataset" else "data.train"
            reason = "no dataset_info.json was found: taken as a file"
            self.report.renamed(key, name, to, reason, self.line(key))
            file = {"dataset": str(self._folder() / name) if Path(name).suffix else name}
            return _limited(file, self.get("max_samples"))
        if name not in info.entries:
            known, file = listed(list(info.entries)[:20]), str(info.path)
            told = problem(
                "not_in_dataset_info",
                "",
                self.line(key),
                key=key,
                name=name,
                file=file,
                known=known,
            )
            raise refuse(str(self.path), [told])
        source = convert_entry(name, info, self.report, _PURPOSES[self.get("stage", "sft")])
        return _limited(source, self.get("max_samples"))


_PURPOSES: dict[str, Purpose] = {
    "sft": "sft",
    "pt": "pt",
    "rm": "import",  # everything that a row holds
    "dpo": "import",
    "kto": "import",
}


def _names(value: Any) -> list[str]:
    items = cast("list[Any]", value) if isinstance(value, list) else str(value or "").split(",")
    return [name for item in items if (name := str(item).strip())]


def _limited(source: dict[str, Any] | None, max_samples: Any) -> dict[str, Any] | None:
    """Both limits of rows hold: the one of the dataset and the one of the job."""
    if source and isinstance(max_samples, int) and max_samples >= 1:
        own = source.get("max_samples")
        source["max_samples"] = min(own, max_samples) if isinstance(own, int) else max_samples
    return source


def _plain(job: _Job, key: str, value: Any) -> None:
    """Keys that need no thought: renamed, not needed here, not supported, or unknown."""
    if key in RENAMED and value is None:
        job.taken(key, "empty: the default is used")
    elif key in RENAMED:
        job.set(key, key if key in _ALIASED else RENAMED[key], value)
    elif key in NOT_NEEDED:
        job.taken(key, NOT_NEEDED[key])
    elif value in (None, False, 0, "", "none", "no"):
        job.taken(key, "off, as here")
    elif key in NOT_SUPPORTED:
        job.refuse(key, NOT_SUPPORTED[key])
    else:
        job.refuse(key, "unknown to tunesmith")


# Names that a recipe works out together, so they are passed on as they are.
_ALIASED = ("per_device_train_batch_size", "gradient_accumulation_steps", "packing")


def _stage(job: _Job, key: str, value: Any) -> None:
    if value not in ("sft", "pt", "rm", "dpo", "kto"):
        job.refuse(key, "this version trains sft, pt, rm, dpo and kto")
        raise refuse(str(job.path), [problem("stage_not_offered", "", job.line(key), value=value)])
    job.set(key, "stage.kind", _our_stage(job))


def _our_stage(job: _Job) -> str:
    """LLaMA-Factory trains orpo and simpo as losses of its stage dpo."""
    stage, loss = str(job.get("stage", "sft")), job.get("pref_loss")
    return str(loss) if stage == "dpo" and loss in ("orpo", "simpo") else stage


def _of_stage(job: _Job, key: str, value: Any) -> None:
    """A setting that some stages have."""
    path, stages = OF_STAGES[key]
    stage = _our_stage(job)
    if value is None:
        job.taken(key, "empty: the default is used")
    elif stage in stages:
        job.set(key, path, value)
    elif value == 0:
        job.taken(key, "off, as here")
    else:
        job.refuse(key, f"stage {stage} does not use it")


def _pref_loss(job: _Job, key: str, value: Any) -> None:
    stage = _our_stage(job)
    if stage == value:
        job.taken(key, "a stage of its own here")
    elif stage == "dpo" and value in ("sigmoid", "hinge", "ipo"):
        job.set(key, "stage.loss", value)
    elif stage != "dpo":
        job.taken(key, f"has no effect in stage {stage}")
    else:
        job.refuse(key, "dpo has sigmoid, hinge, ipo and robust here")


def _method(job: _Job, key: str, value: Any) -> None:
    if value not in ("lora", "oft", "freeze", "full"):
        job.refuse(key, "this version trains full, freeze, lora and oft")
        raise refuse(str(job.path), [problem("method_not_offered", "", job.line(key), value=value)])
    job.set(key, "adapter.kind", value)


def _of_method(job: _Job, key: str, value: Any) -> None:
    method = job.get("finetuning_type", "lora")
    if key not in OF_METHODS.get(str(method), ()):
        job.taken(key, f"has no effect: finetuning_type is {method}")
    elif value is None:
        job.taken(key, "empty: the default is used")
    elif method == "oft" and key not in ("oft_block_size", "oft_target"):
        _not_of_oft(job, key, value)
    elif key == "pissa_init":
        job.set(key, RENAMED[key], "pissa" if value is True else "zero")
    elif key == "pissa_iter":
        job.set(key, RENAMED[key], 0 if value == -1 else value)  # -1: exactly
    else:
        job.set(key, RENAMED[key], value)


def _not_of_oft(job: _Job, key: str, value: Any) -> None:
    if not value:
        job.taken(key, "off, as here")
    elif key == "oft_rank":
        job.refuse(key, "blocks are given by their size here: oft_block_size")
    else:
        job.refuse(key, "oft trains rotations alone, without dropout")


def _use_optimizer(job: _Job, key: str, value: Any) -> None:
    is_whole = job.get("finetuning_type", "lora") == "full"
    if value is True and key == "use_badam" and not is_whole:
        job.refuse(key, "layers learn in turn with finetuning_type full; adamw is used")
    elif value is True and key == "use_badam" and job.get("badam_mode", "layer") != "layer":
        job.refuse(key, "layers learn in turn, shares of each matrix do not; adamw is used")
    elif value is True:
        job.set(key, "training.optimizer.kind", OPTIMIZERS[key])
    else:
        job.taken(key, "off, as here")


def _of_optimizer(job: _Job, key: str, value: Any) -> None:
    """galore_rank and its like: in force where the optimizer is."""
    name, _, setting = key.partition("_")
    if job.get(f"use_{name}") is not True:
        job.taken(key, f"has no effect: use_{name} is off")
    else:
        job.set(key, f"training.optimizer.{PROJECTIONS[setting]}", value)


def _of_blocks(job: _Job, key: str, value: Any) -> None:
    """Settings of BAdam: in force where it is."""
    if job.get("use_badam") is not True:
        job.taken(key, "has no effect: use_badam is off")
    elif key in BLOCKS and value != "fixed":
        job.set(key, f"training.optimizer.{BLOCKS[key]}", value)
    elif key in BLOCKS or (key == "badam_start_block" and value is not None):
        job.refuse(key, "every layer has its turn, the first one first; adapter.kind freeze fixes")
    else:
        job.taken(key, "has no effect: layers learn in turn")


def _continue_from(job: _Job, key: str, value: Any) -> None:
    if value is not None and job.get("finetuning_type", "lora") == "oft":
        job.refuse(key, "only LoRA adapters are gone on with; merge this one into its base first")
    elif job.get("finetuning_type", "lora") != "lora":
        job.taken(key, f"has no effect: finetuning_type is {job.get('finetuning_type')}")
    elif value is None:
        job.taken(key, "empty: the default is used")
    else:
        _stacked(job, key, _names(value))


def _stacked(job: _Job, key: str, names: list[str]) -> None:
    """All but the last are merged into the base; so is that one where a new adapter begins."""
    new = job.get("create_new_adapter") is True
    below = names if new else names[:-1]
    if below:
        job.out["adapter.merge_first"] = below
    if new:
        job.taken(key, "adapter.merge_first: merged into the base, and a new adapter begins")
    else:
        merged = "the others are merged into the base first (adapter.merge_first)" if below else ""
        job.set(key, RENAMED[key], names[-1], merged)


def _create_new_adapter(job: _Job, key: str, value: Any) -> None:
    on = value is True and job.get("adapter_name_or_path") is not None
    job.taken(key, "see adapter_name_or_path" if on else "off, as here")


def _schedule(job: _Job, key: str, value: Any) -> None:
    name = str(value)
    if name not in ("cosine", "linear", "constant", "constant_with_warmup", "cosine_with_min_lr"):
        job.set(key, RENAMED[key], "cosine", f"{name} is not supported: cosine is used")
        return
    job.set(key, RENAMED[key], name)
    if name == "constant":
        job.out["training.schedule.warmup_ratio"] = 0.0


def _schedule_details(job: _Job, key: str, value: Any) -> None:
    details = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    if "min_lr_rate" in details:
        job.set(key, "training.schedule.min_ratio", details["min_lr_rate"])
    elif value:
        job.refuse(key, "of these only min_lr_rate is supported")
    else:
        job.taken(key, "empty")


def _warmup_ratio(job: _Job, key: str, value: Any) -> None:
    if job.get("lr_scheduler_type") == "constant":
        job.taken(key, "has no effect: a constant rate has no warm-up in LLaMA-Factory")
    elif job.get("warmup_steps"):
        job.taken(key, "has no effect: warmup_steps wins over it")
    else:
        job.set(key, RENAMED[key], value)


def _warmup_steps(job: _Job, key: str, value: Any) -> None:
    steps = job.get("max_steps", -1)
    if not value:
        job.taken(key, "off, as here")
    elif isinstance(value, float) and value < 1:
        job.set(key, "training.schedule.warmup_ratio", value, "below 1 it is a share")
    elif isinstance(steps, int) and steps > 0 and isinstance(value, int):
        job.set(key, "training.schedule.warmup_ratio", min(value / steps, 1.0), "of max_steps")
    else:
        job.refuse(key, "write training.schedule.warmup_ratio: its share of all steps")


def _optimizer(job: _Job, key: str, value: Any) -> None:
    if any(job.get(name) is True for name in OPTIMIZERS):
        job.taken(key, "has no effect: another optimizer is switched on")
    elif str(value) in ("adamw", "adamw_torch", "adamw_torch_fused", "adamw_hf"):
        job.set(key, RENAMED[key], "adamw")
    elif str(value) in ("adafactor", "adamw_8bit", "adamw_bnb_8bit", "adamw_torch_8bit"):
        job.set(key, RENAMED[key], "adafactor" if value == "adafactor" else "adamw_8bit")
    else:
        job.refuse(key, "adamw is used")


def _precision(job: _Job, key: str, value: Any) -> None:
    dtypes = {"bf16": "bfloat16", "pure_bf16": "bfloat16", "fp16": "float16"}
    if value is True:
        job.set(key, "model.dtype", dtypes[key])
        if key == "pure_bf16" and job.get("finetuning_type", "lora") in ("full", "freeze"):
            job.out["training.master_weights"] = False
    else:
        job.taken(key, "off, as here")


def _quantization(job: _Job, key: str, value: Any) -> None:
    kinds = {"4": "nf4", "8": "int8"}
    if str(value) in kinds:
        job.set(key, "model.quantization", kinds[str(value)])
    elif value is None:
        job.taken(key, "empty: the default is used")
    else:
        job.refuse(key, "weights are quantised to 4 or 8 bits here")


def _how_quantised(job: _Job, key: str, value: Any) -> None:
    """quantization_method and its like, where there is one way here."""
    same = {
        "quantization_method": ("bnb", "bitsandbytes"),
        "quantization_type": ("nf4",),
        "double_quantization": (True,),
    }
    if value is None or value in same[key]:
        job.taken(key, "as here")
    elif job.get("quantization_bit") is None:
        job.taken(key, "has no effect: quantization_bit is empty")
    elif key != "quantization_method" and str(job.get("quantization_bit")) == "8":
        job.taken(key, "has no effect: it is for 4 bits")
    else:
        job.refuse(key, "weights are quantised by bitsandbytes: nf4 with double quantisation")


def _checkpointing(job: _Job, key: str, value: Any) -> None:
    if value is None:
        job.taken(key, "empty: memory decides")
        return
    wanted = not value if key.startswith("disable") else bool(value)
    kind = "full" if wanted else "off"
    job.set(key, "training.activation_checkpointing", kind, "memory only")


def _save_steps(job: _Job, key: str, value: Any) -> None:
    if isinstance(value, float) and value < 1:
        job.refuse(key, "a share of all steps; write training.checkpoint.every_steps as a number")
    elif str(job.get("save_strategy", "steps")) != "steps":
        job.taken(key, "has no effect: save_strategy is not steps")
    else:
        job.set(key, RENAMED[key], value)


def _logging_steps(job: _Job, key: str, value: Any) -> None:
    if isinstance(value, float) and value < 1:
        job.refuse(key, "a share of all steps; every step is logged")
    else:
        job.set(key, RENAMED[key], value)


def _mix_strategy(job: _Job, key: str, value: Any) -> None:
    if value == "concat":
        job.taken(key, "as here")
    else:
        job.refuse(key, NOT_SUPPORTED[key])


def _save_strategy(job: _Job, key: str, value: Any) -> None:
    if value == "steps":
        job.taken(key, "as here")
    else:
        job.refuse(key, "checkpoints are always written, so that a run can be resumed")


def _save_total_limit(job: _Job, key: str, value: Any) -> None:
    if isinstance(value, int) and value < 2:
        job.set(key, RENAMED[key], 2, "2 is the least: a broken one must not cost the run")
    elif value is None:
        job.taken(key, "empty: all would be kept; here the newest 3 are")
    else:
        job.set(key, RENAMED[key], value)


def _val_size(job: _Job, key: str, value: Any) -> None:
    number = value if isinstance(value, int | float) else None
    if number and number >= 1:
        job.refuse(key, "a number of rows; write data.validation.fraction and max_rows")
    elif value and job.get("eval_dataset"):
        job.taken(key, "has no effect: eval_dataset is given")
    elif not value:
        job.taken(key, "no validation")
    else:
        job.set(key, "data.validation.fraction", value, "at most 100 rows, see max_rows")


def _eval_strategy(job: _Job, key: str, value: Any) -> None:
    validated = bool(job.get("val_size") or job.get("eval_dataset"))
    if value in ("steps", "no", False, None) or not validated:
        job.taken(key, "follows data.validation")
    else:
        job.refuse(key, "evaluations are counted in steps: training.evaluate.every_steps")


def _eval_steps(job: _Job, key: str, value: Any) -> None:
    if not (job.get("val_size") or job.get("eval_dataset")):
        job.taken(key, "has no effect: there are no validation rows")
    elif isinstance(value, float) and value < 1:
        job.refuse(key, "a share of all steps; write training.evaluate.every_steps as a number")
    else:
        job.set(key, RENAMED[key], value)


def _report_to(job: _Job, key: str, value: Any) -> None:
    known = {"tensorboard", "wandb", "mlflow", "swanlab"}
    wanted = {name.lower() for name in _names(value)} - {"none"}
    wanted = known if "all" in wanted else wanted
    job.out["report"] = {name: name in wanted for name in sorted(known)}
    unknown = ", ".join(sorted(wanted - known))
    job.report.renamed(key, value, "report", f"without {unknown}" if unknown else "")


def _mask_history(job: _Job, key: str, value: Any) -> None:
    if job.get("stage", "sft") == "sft":
        job.set(key, "stage.loss_on", "last_turn" if value else "all_turns")
    else:
        job.taken(key, "has no effect in stage pt")


def _reported_with_data(job: _Job, key: str, value: Any) -> None:
    to = "data.validation" if key == "eval_dataset" else "data.train"
    job.report.renamed(key, value, to, "looked up in dataset_info.json", job.line(key))


def _max_samples(job: _Job, key: str, value: Any) -> None:
    if value is None:
        job.taken(key, "empty: all rows are used")
    elif isinstance(value, bool) or not isinstance(value, int) or value < 1:
        job.refuse(key, "it must be a whole number of at least 1; all rows are used")
    else:
        job.report.renamed(key, value, "data.train", "max_samples of each dataset", job.line(key))


def _packing(job: _Job, key: str, value: Any) -> None:
    if value is True:
        job.set(key, key, True, "whole sequences become training.batch_tokens")
    else:
        job.taken(key, "rows of one update are packed anyway, without changing the result")


def _best(job: _Job, key: str, value: Any) -> None:
    job.set(key, RENAMED[key], bool(value))


_HANDLERS: Mapping[str, Callable[[_Job, str, Any], None]] = {
    "stage": _stage,
    "finetuning_type": _method,
    "pref_loss": _pref_loss,
    **dict.fromkeys(OF_STAGES, _of_stage),
    **{key: _of_method for keys in OF_METHODS.values() for key in keys},
    **dict.fromkeys(OPTIMIZERS, _use_optimizer),
    **{f"{n}_{key}": _of_optimizer for n in ("galore", "apollo") for key in PROJECTIONS},
    **dict.fromkeys((*BLOCKS, *NO_BLOCKS), _of_blocks),
    "adapter_name_or_path": _continue_from,
    "create_new_adapter": _create_new_adapter,
    "lr_scheduler_type": _schedule,
    "lr_scheduler_kwargs": _schedule_details,
    "warmup_ratio": _warmup_ratio,
    "warmup_steps": _warmup_steps,
    "optim": _optimizer,
    **dict.fromkeys(("bf16", "fp16", "pure_bf16"), _precision),
    "quantization_bit": _quantization,
    **dict.fromkeys(
        ("quantization_method", "quantization_type", "double_quantization"), _how_quantised
    ),
    "disable_gradient_checkpointing": _checkpointing,
    "gradient_checkpointing": _checkpointing,
    "logging_steps": _logging_steps,
    "mix_strategy": _mix_strategy,
    "save_steps": _save_steps,
    "save_strategy": _save_strategy,
    "save_total_limit": _save_total_limit,
    "val_size": _val_size,
    "eval_strategy": _eval_strategy,
    "evaluation_strategy": _eval_strategy,
    "eval_steps": _eval_steps,
    "report_to": _report_to,
    "mask_history": _mask_history,
    **dict.fromkeys(("dataset", "eval_dataset"), _reported_with_data),
    "max_samples": _max_samples,
    "packing": _packing,
    "load_best_model_at_end": _best,
    **MODEL_KEYS,
}


def _fill_defaults(job: _Job) -> None:
    """What the file leaves out, as LLaMA-Factory would fill it."""
    out = job.out
    for name, value in STAGE_DEFAULTS.get(str(out.get("stage.kind")), {}).items():
        out.setdefault(name, value)
    optimizer = OPTIMIZER_DEFAULTS.get(str(out.get("training.optimizer.kind")), {})
    for name, value in (*DEFAULTS.items(), *optimizer.items()):
        out.setdefault(name, value)
    out.setdefault("name", job.path.stem)
    if out.setdefault("adapter.kind", "lora") == "lora":
        out.setdefault("adapter.rank", 8)
        rank = out["adapter.rank"]
        out.setdefault("adapter.alpha", rank * 2 if isinstance(rank, int) else 16)
    if "model.dtype" not in out and {"bf16", "fp16"} & job.document.value.keys():
        out["model.dtype"] = "float32"  # both are off
    if "data.validation.fraction" not in out:
        out.setdefault("data.validation", {"kind": "none"})
    out.setdefault("training.stop.restore_best", False)


def _yaml(path: Path, recipe: Recipe, entries: list[Entry]) -> str:
    width = max((len(f"{entry.key}: {entry.value}") for entry in entries), default=0)
    width = min(width, 48)
    lines = [f"# Converted from the LLaMA-Factory job {path.name}:"]
    for entry in entries:
        said = f"{entry.key}: {entry.value}"
        became = " ".join(part for part in (entry.verdict, entry.to) if part)
        reason = f" ({entry.reason})" if entry.reason else ""
        lines.append(f"#   {said:<{width}}  {became}{reason}")
    asked = recipe.model_dump(exclude_unset=True)
    return "\n".join(lines) + "\n" + dump_yaml(asked)
