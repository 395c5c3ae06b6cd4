"""What a form asks before a job exists: is this recipe right, what does it come to, what to write.

Recommendations (`defaults`) come from the model itself where it has some, else from its size and
the rows of the datasets; each has its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tunesmith.errors import RecipeError
from tunesmith.models.presets import capabilities
from tunesmith.recipe import PROFILES, Notice, Problem, profile_fields
from tunesmith.recipe.catalog import MISSING
from tunesmith.recipe.load import Advised, Loaded
from tunesmith.recipe.problems import in_order
from tunesmith.server.access import Caller, Role
from tunesmith.server.database import Database
from tunesmith.server.services import recipes
from tunesmith.server.services.estimates import ground_of_job, parameters_of
from tunesmith.server.services.models.grounds import Ground, advised
from tunesmith.server.services.recipes import Checked, ComesTo, Value
from tunesmith.server.services.submission import Resolved, notices_once, resolve
from tunesmith.server.settings import Settings

METHODS: Final = ("full", "lora")
_FEW_ROWS, _MANY_ROWS = 1000, 10_000
_SMALL_RATE: Final = 5e-5
_LARGE_MODEL: Final = 10_000_000_000
# What the form is filled with, beside what a model says itself.
_SHOWN: Final = (
    "adapter.kind",
    "adapter.rank",
    "adapter.alpha",
    "data.max_length",
    "training.epochs",
    "training.batch_size",
    "training.learning_rate",
    "training.schedule.kind",
    "training.schedule.warmup_ratio",
)


@dataclass(frozen=True)
class Explanation:
    """What a recipe comes to."""

    recipe: dict[str, Any]
    values: Sequence[Value]
    comes_to: ComesTo
    notices: Sequence[Notice]


@dataclass
class Defaults:
    """Recommended values for a model, by the path of the field."""

    base: str
    profile: str
    preset: str | None = None
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    methods: Sequence[str] = METHODS
    context_length: int | None = None
    parameters: int | None = None

    def recommend(self, path: str, value: Any, reason: str) -> None:
        self.values[path], self.reasons[path] = value, reason


class Advice:
    """Answers about recipes; nothing is stored."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    def validate(
        self,
        caller: Caller,
        source: Mapping[str, Any] | str,
        *,
        project_id: str | None = None,
        num_devices: int = 1,
    ) -> Checked:
        """Everything that is wrong, names that are not found included."""
        project_id = caller.chosen(project_id, Role.VIEWER)
        try:
            suits = self._advised(caller, project_id)
            loaded = recipes.examined(source, num_devices=num_devices, advised=suits)
        except RecipeError as error:
            return Checked(None, recipes.problems_of(error), ())
        resolved = self._resolve(caller, project_id, loaded)
        if loaded.problems:
            return Checked(None, in_order(resolved.problems), ())
        return Checked(loaded, resolved.problems, notices_once(resolved.notices))

    def explain(
        self,
        caller: Caller,
        source: Mapping[str, Any] | str,
        *,
        project_id: str | None = None,
        num_devices: int = 1,
    ) -> Explanation:
        """Values with their origin; RecipeError for a recipe that is not right."""
        project_id = caller.chosen(project_id, Role.VIEWER)
        loaded = self.read(caller, source, project_id=project_id, num_devices=num_devices)
        resolved = self._resolve(caller, project_id, loaded)
        rows = resolved.rows if resolved.sources else None
        notices = [*resolved.notices, *(_as_notice(each) for each in resolved.problems)]
        return Explanation(
            recipe=loaded.recipe.model_dump(mode="json"),
            values=recipes.explained(loaded),
            comes_to=recipes.comes_to(loaded.recipe, rows, num_devices),
            notices=notices_once(notices),
        )

    def read(
        self,
        caller: Caller,
        source: Mapping[str, Any] | str,
        *,
        project_id: str | None = None,
        num_devices: int = 1,
    ) -> Loaded:
        """The recipe complete, with what suits its base; RecipeError lists every problem."""
        project_id = caller.chosen(project_id, Role.VIEWER)
        suits = self._advised(caller, project_id)
        return recipes.read(source, self._settings, num_devices=num_devices, advised=suits)

    def defaults(
        self,
        caller: Caller,
        base: str,
        *,
        datasets: Sequence[str] = (),
        rows: int | None = None,
        profile: str = "default",
        project_id: str | None = None,
    ) -> Defaults:
        """What a form is filled with; the model's own values win over ours.

        `rows` are those of the training, where they lie in no dataset yet.
        """
        project_id = caller.chosen(project_id, Role.VIEWER)
        train = [{"dataset": name} for name in datasets] or [{"dataset": "builtin:general"}]
        draft = {"profile": profile, "model": {"base": base}, "data": {"train": train}}
        draft |= _required(profile)
        resolved = self._resolve(caller, project_id, recipes.read(draft, self._settings))
        unknown = [each for each in resolved.problems if each.path != "data.train"]
        if unknown:
            raise RecipeError(
                unknown[0].message[:1].upper() + unknown[0].message[1:],
                hint=unknown[0].hint,
                code="unknown_name",
                param=unknown[0].path,
                problems=recipes.as_dicts(unknown[:1]),
            )
        with self._database.read() as session:
            rests_on = ground_of_job(session, resolved)
            found = Defaults(base, profile, parameters=parameters_of(session, resolved))
        _of_profile(found)
        if profile == "default":
            _by_size(found)
            _by_rows(found, resolved.rows if datasets else rows)
        _of_model(found, rests_on)
        return found

    def _advised(self, caller: Caller, project_id: str) -> Advised:
        def of(name: str) -> Mapping[str, Any]:
            with self._database.read() as session:
                return advised(session, caller, project_id)(name)

        return of

    def _resolve(self, caller: Caller, project_id: str, loaded: Loaded) -> Resolved:
        with self._database.read() as session:
            return resolve(session, caller, project_id, loaded, self._settings)


def _required(profile: str) -> dict[str, Any]:
    """Something for the fields that a profile has no default for; a form asks for them."""
    return {"adapter": {"rank": 8}} if profile == "pangu-lora" else {}


def _of_profile(found: Defaults) -> None:
    for each in profile_fields(found.profile):
        if each.doc.path in _SHOWN and each.doc.default is not MISSING:
            found.values[each.doc.path] = each.doc.default


def _by_size(found: Defaults) -> None:
    if found.parameters is not None and found.parameters >= _LARGE_MODEL:
        found.recommend(
            "adapter.kind", "lora", "Above 10 B parameters, all weights need many devices."
        )


def _by_rows(found: Defaults, rows: int | None) -> None:
    if rows is None:
        return
    if rows < _FEW_ROWS:
        found.recommend("training.learning_rate", _SMALL_RATE, f"There are only {rows} rows.")
        found.recommend("training.epochs", 5, "Few rows need more passes; at most 10.")
        found.recommend("training.batch_size", 8, "Small batches give few rows more updates.")
    elif rows > _MANY_ROWS:
        found.recommend("training.epochs", 2, f"{rows} rows are learned in few passes.")


def _of_model(found: Defaults, rests_on: Ground) -> None:
    """What the model itself says: its defaults, its methods, how long a row it takes."""
    rules = PROFILES[found.profile].rules
    for path, value in rests_on.defaults.items():
        rule = rules.get(str(path))
        if rule is None or rule.allows(value):
            found.recommend(str(path), value, "The model's own default.")
    if rests_on.is_known:
        able = capabilities(rests_on.family, quantised=rests_on.quantised)
        found.methods = list(dict.fromkeys(each.method for each in able if each.available))
    found.context_length = context = rests_on.context
    if context is not None and context < found.values.get("data.max_length", 0):
        found.recommend("data.max_length", context, f"The model takes {context} tokens.")


def _as_notice(problem: Problem) -> Notice:
    """A name that was not found spoils no explanation."""
    message = f"{problem.path}: {problem.message}"
    return Notice("unknown_name", message, problem.hint, problem.path, {"problem": problem})
