"""Layers on top of each other: profile, model, preset, file, command line. The last one wins.

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
from tunesmith.recipe.problems import Notice, Problem, notice, problem
from tunesmith.recipe.words import Words, either, listed, quoted

USER = 3
"""Layers 0 to 2 are profile, model and preset; from here on a person wrote the values."""


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
            line = out.values.pop(path).given.line
            out.problems.append(problem("no_such_source", path, line, there=_sources(out.sources)))


def _sources(number: int) -> Words:
    if not number:
        return {"en": "there are none", "zh": "一个也没有"}
    return {"en": f"there are {number}, numbered from 0", "zh": f"共有 {number} 项，从 0 开始编号"}


def _decide_kind(section: str, layers: Sequence[Layer], out: Assembled) -> None:
    """The kind of a section: as written, or the only one that has the fields that are written."""
    kinds = variants()[section]
    kind_path = f"{section}.kind"
    kind: Any = out.value(kind_path)
    if not isinstance(kind, str) or kind not in kinds:
        line = out.line(kind_path)
        told = problem("unknown_kind", kind_path, line, value=quoted(kind), kinds=listed(kinds))
        out.problems.append(told)
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
        others = either(name for name, has in variants()[section].items() if leaf in has)
        if placed.layer >= max(kind_layer, USER):
            out.problems.append(
                problem(
                    "field_of_other_kind",
                    path,
                    placed.given.line,
                    kind_path=kind_path,
                    others=others,
                    kind=kind,
                    at=_line_of(out, kind_path),
                    name=placed.given.name,
                )
            )
        elif placed.layer >= USER:
            out.notices.append(
                notice(
                    "value_not_used",
                    path,
                    what=placed.given.place(),
                    because={"en": f"{kind_path} is {kind} now", "zh": f"{kind_path} 现为 {kind}"},
                )
            )
    out.values[kind_path] = out.values.get(kind_path) or Placed(Given(kind_path, kind, "kind"), -1)


def _line_of(out: Assembled, path: str) -> Words:
    line = out.line(path)
    return {"en": f" (line {line})", "zh": f"（第 {line} 行）"} if line else {"en": "", "zh": ""}


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
            kind = show(out.value(f"{section}.kind"))
            because = {"en": f"{section}.kind is {kind}", "zh": f"{section}.kind 为 {kind}"}
            what = placed.given.place()
            out.notices.append(notice("value_not_used", path, what=what, because=because))


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
        out.problems.append(problem("accumulation_alone", top.given.name, top.given.line))
        return
    rows, steps = int(per_device.value), int(accumulation.value) if accumulation else 1
    if batch and batch.layer == top.layer:
        _compare_batch(out, batch, per_device, accumulation, rows * steps * devices)
        return
    out.put("training.batch_size", rows * steps * devices, top)
    if top.layer >= USER:
        out.notices.append(
            notice(
                "batch_size_recorded",
                "training.batch_size",
                product=rows * steps * devices,
                rows=rows,
                steps=steps,
                devices={
                    "en": f"{devices} device{'s' if devices > 1 else ''}",
                    "zh": f"{devices} 张卡",
                },
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
    others = per_device.given.place()
    if accumulation and not one_sided:
        more = accumulation.given.place()
        others = {language: f"{others[language]} x {more[language]}" for language in others}
    out.problems.append(
        problem(
            "batch_sizes_differ",
            "training.batch_size",
            batch.given.line,
            one=batch.given.place(),
            stated=stated,
            others=others,
            product=product,
        )
    )


def _count(placed: Placed, out: Assembled) -> int | None:
    try:
        number = float(placed.value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(placed.value, bool) or number < 1 or number != int(number):
        said = placed.given
        out.problems.append(
            problem("not_a_count", said.name, said.line, value=quoted(placed.value))
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
    out.notices.append(notice("packing", "training.batch_tokens", tokens=tokens))


def _learning_rate_multiplier(out: Assembled) -> None:
    multiplier = out.values.pop(MULTIPLIER, None)
    if multiplier is None:
        return
    path = "training.learning_rate"
    stated = out.values.get(path)
    if stated and stated.layer >= USER:
        if stated.layer == multiplier.layer:
            out.problems.append(
                problem(
                    "two_learning_rates",
                    path,
                    multiplier.given.line,
                    one=stated.given.place(),
                    other=multiplier.given.place(),
                )
            )
        return
    try:
        rate = float(multiplier.value) * float(out.value(path))
    except (TypeError, ValueError):
        said = multiplier.given
        out.problems.append(
            problem("not_a_multiplier", said.name, said.line, value=quoted(multiplier.value))
        )
        return
    out.put(path, rate, multiplier)
    out.notices.append(
        notice("learning_rate_recorded", path, rate=show(rate), multiplier=show(multiplier.value))
    )
