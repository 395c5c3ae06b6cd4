"""Layers on top of each other: profile, preset, file, command line. The last one wins.

Here the kinds of sections are decided, values for all datasets are dealt out to each of them, and
names that belong together (per-device batch x accumulation) become one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tunesmith.recipe.catalog import catalog, show, variants
from tunesmith.recipe.foreign import ACCUMULATION, MULTIPLIER, PACKING, PER_DEVICE
from tunesmith.recipe.layers import Given, Layer
from tunesmith.recipe.problems import Notice, Problem

USER = 2
"""Layers 0 and 1 are profile and preset; from here on a person wrote the values."""


@dataclass(frozen=True)
class Placed:
    """A value and the number of the layer that it comes from."""

    given: Given
    layer: int

    @property
    def value(self) -> Any:
        return self.given.value


@dataclass
class Assembled:
    """What all layers come to: one value a path, and what was found on the way.

    `shared` holds the values written for every dataset, lowest layer first.
    """

    values: dict[str, Placed] = field(default_factory=dict[str, Placed])
    shared: list[Placed] = field(default_factory=list[Placed])
    sources: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])
    notices: list[Notice] = field(default_factory=list[Notice])

    def value(self, path: str) -> Any:
        """The value of a path, else the default of the schema."""
        placed = self.values.get(path)
        return placed.value if placed else catalog()[path].default

    def layer(self, path: str) -> int:
        placed = self.values.get(path)
        return placed.layer if placed else -1

    def name(self, path: str) -> str:
        placed = self.values.get(path)
        return placed.given.where() if placed else path

    def line(self, path: str) -> int | None:
        placed = self.values.get(path)
        return placed.given.line if placed else None

    def put(self, path: str, value: Any, like: Placed) -> None:
        """Set a value that follows from another one."""
        self.values[path] = Placed(replace(like.given, path=path, value=value), like.layer)

    def nested(self) -> dict[str, Any]:
        """The values as the mapping that the schema validates."""
        tree: dict[str, Any] = {"model": {}, "data": {}}
        if self.sources:
            tree["data"]["train"] = [{} for _ in range(self.sources)]
        for path, placed in self.values.items():
            *parents, leaf = path.split(".")
            place: Any = tree
            for part in parents:
                place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
            place[leaf] = placed.value
        return tree


def assemble(layers: Sequence[Layer], devices: int) -> Assembled:
    """Put layers on top of each other, lowest first."""
    out = Assembled()
    for layer in layers:
        out.problems += layer.problems
        out.notices += layer.notices
    _stack(layers, out)
    for section in variants():
        _decide_kind(section, layers, out)
    _deal_out(out)
    _batch_size(out, devices)
    _packing(out)
    _learning_rate_multiplier(out)
    _half_precision(out)
    return out


def _stack(layers: Sequence[Layer], out: Assembled) -> None:
    """Take the last value of each path."""
    for number, layer in enumerate(layers):
        if sources := layer.values.get("data.train"):
            # A list of datasets replaces the one below as a whole.
            out.sources = sources.value
            for path in [path for path in out.values if path.startswith("data.train.")]:
                del out.values[path]
        for path, given in layer.values.items():
            placed = Placed(given, number)
            if given.soft or ".*." in path:
                out.shared.append(placed)
            elif path != "data.train":
                out.values[path] = placed
    _refuse_missing_sources(out)


def _refuse_missing_sources(out: Assembled) -> None:
    for path in [path for path in out.values if path.startswith("data.train.")]:
        if int(path.split(".")[2]) >= out.sources:
            there = f"there are {out.sources}, numbered from 0" if out.sources else "there are none"
            line = out.values.pop(path).given.line
            out.problems.append(Problem(path, f"no such dataset; {there}.", line=line))


def _decide_kind(section: str, layers: Sequence[Layer], out: Assembled) -> None:
    """The kind of a section: as written, or the only one that has the fields that are written."""
    kinds = variants()[section]
    kind_path = f"{section}.kind"
    kind: Any = out.value(kind_path)
    if not isinstance(kind, str) or kind not in kinds:
        expected = ", ".join(kinds)
        out.problems.append(
            Problem(
                kind_path,
                f"{show(kind)} is not one of {expected}.",
                f"Write one of {expected}.",
                out.line(kind_path),
            )
        )
        for path in [path for path in out.values if path.startswith(f"{section}.")]:
            del out.values[path]
        return
    written_by_user = out.layer(kind_path) >= USER
    fields = _fields_above(section, layers, out.layer(kind_path) + 1)
    fitting = [name for name, has in kinds.items() if fields <= has]
    if not written_by_user and not fields <= kinds[kind] and len(fitting) == 1:
        kind = fitting[0]
        inside = [placed for path, placed in out.values.items() if path.startswith(f"{section}.")]
        out.put(kind_path, kind, max(inside, key=lambda placed: placed.layer))
    _drop_strangers(section, kind, out)


def _fields_above(section: str, layers: Sequence[Layer], start: int) -> set[str]:
    return {
        path.removeprefix(f"{section}.")
        for layer in layers[start:]
        for path, given in layer.values.items()
        if path.startswith(f"{section}.") and not given.soft
    } - {"kind"}


def _drop_strangers(section: str, kind: str, out: Assembled) -> None:
    """Fields of another kind: refused beside the kind they contradict, dropped when below it."""
    kind_path = f"{section}.kind"
    kind_layer = out.layer(kind_path)
    for path in [path for path in out.values if path.startswith(f"{section}.")]:
        leaf = path.removeprefix(f"{section}.")
        if leaf in variants()[section][kind]:
            continue
        placed = out.values.pop(path)
        others = " or ".join(name for name, has in variants()[section].items() if leaf in has)
        if placed.layer >= max(kind_layer, USER):
            out.problems.append(
                Problem(
                    path,
                    f"belongs to {kind_path} {others}, but {kind_path} is {kind}"
                    f"{_line_of(out, kind_path)}.",
                    f"Remove {placed.given.name}, or write {kind_path}: {others}.",
                    placed.given.line,
                )
            )
        elif placed.layer >= USER:
            out.notices.append(
                Notice(
                    "value_not_used",
                    f"{placed.given.where()} is not used: {kind_path} is {kind} now.",
                    path=path,
                )
            )
    out.values[kind_path] = out.values.get(kind_path) or Placed(Given(kind_path, kind, "kind"), -1)


def _line_of(out: Assembled, path: str) -> str:
    line = out.line(path)
    return f" (line {line})" if line else ""


def _deal_out(out: Assembled) -> None:
    """Give every dataset and split the values written for all of them; its own ones win."""
    used: set[str] = set()
    for placed in out.shared:
        for target in _targets(placed.given.path, out):
            used.add(placed.given.where())
            known = out.values.get(target)
            if known is None or known.layer < placed.layer or known.given.soft:
                given = replace(placed.given, path=target, soft=True)
                out.values[target] = Placed(given, placed.layer)
    written = {placed.given.where(): placed for placed in out.shared if placed.layer >= USER}
    for where, placed in written.items():
        path = placed.given.path
        if where not in used and ".*." not in path:
            section = path.rpartition(".")[0]
            message = (
                f"{where} is not used: {section}.kind is {show(out.value(f'{section}.kind'))}."
            )
            out.notices.append(Notice("value_not_used", message, path=path))


def _targets(path: str, out: Assembled) -> list[str]:
    """Where a value for all datasets and splits applies."""
    if ".*." in path:
        return [path.replace("*", str(index)) for index in range(out.sources)]
    section, _, leaf = path.rpartition(".")
    return [path] if leaf in _fields_of_kind(section, out) else []


def _fields_of_kind(section: str, out: Assembled) -> frozenset[str]:
    """The fields of data.validation or data.test as it was decided."""
    return variants()[section].get(str(out.value(f"{section}.kind")), frozenset())


def _batch_size(out: Assembled, devices: int) -> None:
    """Rows per update = per device x accumulation x devices, unless a later layer says it."""
    per_device, accumulation = out.values.pop(PER_DEVICE, None), out.values.pop(ACCUMULATION, None)
    parts = [part for part in (per_device, accumulation) if part]
    if not parts:
        return
    top = max(parts, key=lambda part: part.layer)
    batch = out.values.get("training.batch_size")
    if batch and batch.layer > top.layer:
        return
    numbers = [_count(part, out) for part in parts]
    if None in numbers:
        return
    if per_device is None:
        out.problems.append(
            Problem(
                top.given.name,
                "says nothing without per_device_train_batch_size.",
                "Write both, or training.batch_size: the rows of one weight update.",
                top.given.line,
            )
        )
        return
    rows, steps = int(per_device.value), int(accumulation.value) if accumulation else 1
    if batch and batch.layer == top.layer:
        _compare_batch(out, batch, per_device, accumulation, rows * steps * devices)
        return
    out.put("training.batch_size", rows * steps * devices, top)
    if top.layer >= USER:
        out.notices.append(
            Notice(
                "batch_size_recorded",
                f"batch_size is {rows * steps * devices}: {rows} rows per device x {steps} "
                f"accumulation x {devices} device{'s' if devices > 1 else ''}.",
                path="training.batch_size",
            )
        )


def _compare_batch(
    out: Assembled, batch: Placed, per_device: Placed, accumulation: Placed | None, product: int
) -> None:
    """Both ways to say the batch size, side by side: they must agree."""
    stated = _count(batch, out)
    one_sided = accumulation is None or accumulation.layer < batch.layer
    if stated is None or stated == product or (one_sided and stated % int(per_device.value) == 0):
        return
    others = per_device.given.where()
    if accumulation and not one_sided:
        others += f" x {accumulation.given.where()}"
    out.problems.append(
        Problem(
            "training.batch_size",
            f"{batch.given.where()} says {stated} and {others} comes to {product}.",
            "Keep one of them; batch_size counts the rows of one weight update.",
            batch.given.line,
        )
    )


def _count(placed: Placed, out: Assembled) -> int | None:
    try:
        number = float(placed.value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(placed.value, bool) or number < 1 or number != int(number):
        out.problems.append(
            Problem(
                placed.given.name,
                f"{show(placed.value)} is not a whole number of at least 1.",
                "",
                placed.given.line,
            )
        )
        return None
    return int(number)


def _packing(out: Assembled) -> None:
    """Packing across steps becomes batch_tokens: the tokens of a batch of full sequences."""
    packing = out.values.pop(PACKING, None)
    if packing is None or packing.value in (False, "false", "no"):
        return
    if "training.batch_tokens" in out.values:
        return
    try:
        tokens = int(out.value("data.max_length")) * int(out.value("training.batch_size"))
    except (TypeError, ValueError):
        return  # one of the two is refused for itself
    out.put("training.batch_tokens", tokens, packing)
    out.notices.append(
        Notice(
            "packing",
            f"packing becomes training.batch_tokens: {tokens}, the tokens of a batch of full "
            "sequences. Rows never see each other.",
            "Rows of one update are packed anyway; without it the batch size stays exact.",
            "training.batch_tokens",
        )
    )


def _learning_rate_multiplier(out: Assembled) -> None:
    multiplier = out.values.pop(MULTIPLIER, None)
    if multiplier is None:
        return
    path = "training.learning_rate"
    stated = out.values.get(path)
    if stated and stated.layer >= USER:
        if stated.layer == multiplier.layer:
            out.problems.append(
                Problem(
                    path,
                    f"{stated.given.where()} and {multiplier.given.where()} both set it.",
                    "Keep one of them.",
                    multiplier.given.line,
                )
            )
        return
    try:
        rate = float(multiplier.value) * float(out.value(path))
    except (TypeError, ValueError):
        out.problems.append(
            Problem(
                multiplier.given.name,
                f"{show(multiplier.value)} is not a number.",
                "Write 1 for the recommended rate, 2 for twice of it.",
                multiplier.given.line,
            )
        )
        return
    out.put(path, rate, multiplier)
    out.notices.append(
        Notice(
            "learning_rate_recorded",
            f"learning_rate is {show(rate)}: {show(multiplier.value)} times the recommended one.",
            path=path,
        )
    )


def _half_precision(out: Assembled) -> None:
    placed = out.values.get("model.dtype")
    if placed is None or placed.value != "float16":
        return
    out.put("model.dtype", "auto", placed)
    out.notices.append(
        Notice(
            "fp16_not_yet",
            "fp16 is not available yet: bfloat16 is used where the device has it, else float32.",
            "Write model.dtype: auto to choose this yourself.",
            "model.dtype",
        )
    )
