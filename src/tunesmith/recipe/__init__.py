"""WHAT to train: frozen, typed, complete. No torch. Read `schema.py` first.

`schema.py` and the sections it names (`model.py`, `stages.py`, `dataset.py`, `training.py`)
describe a recipe.
`load.py` reads one, `profiles.py` holds defaults and values by name, `catalog.py` lists all fields.
"""

from tunesmith.recipe.catalog import FieldDoc, catalog
from tunesmith.recipe.dataset import (
    Data,
    Dataset,
    DataSource,
    NamedTest,
    NamedValidation,
    NoTest,
    NoValidation,
    Split,
    Test,
    TestSplit,
    Validation,
)
from tunesmith.recipe.fields import Section
from tunesmith.recipe.load import Loaded, load, load_recipe, loads, parse, parse_recipe
from tunesmith.recipe.model import Adapter, Full, Lora, Model
from tunesmith.recipe.notices import data_notices, recipe_notices
from tunesmith.recipe.problems import Notice, Problem
from tunesmith.recipe.profiles import PRESETS, PROFILES, Preset, Profile, Rule
from tunesmith.recipe.schema import Recipe
from tunesmith.recipe.stages import (
    Cpo,
    Dpo,
    Grpo,
    Kto,
    Orpo,
    Pretrain,
    Reward,
    Sft,
    Simpo,
    Stage,
)
from tunesmith.recipe.training import (
    Checkpoint,
    Evaluate,
    Export,
    LossScaling,
    Optimizer,
    Report,
    Schedule,
    Stop,
    Training,
)
from tunesmith.recipe.views import (
    Change,
    dump_recipe,
    explain,
    preset_changes,
    profile_fields,
    recipe_json_schema,
)

__all__ = [
    "PRESETS",
    "PROFILES",
    "Adapter",
    "Change",
    "Checkpoint",
    "Cpo",
    "Data",
    "DataSource",
    "Dataset",
    "Dpo",
    "Evaluate",
    "Export",
    "FieldDoc",
    "Full",
    "Grpo",
    "Kto",
    "Loaded",
    "Lora",
    "LossScaling",
    "Model",
    "NamedTest",
    "NamedValidation",
    "NoTest",
    "NoValidation",
    "Notice",
    "Optimizer",
    "Orpo",
    "Preset",
    "Pretrain",
    "Problem",
    "Profile",
    "Recipe",
    "Report",
    "Reward",
    "Rule",
    "Schedule",
    "Section",
    "Sft",
    "Simpo",
    "Split",
    "Stage",
    "Stop",
    "Test",
    "TestSplit",
    "Training",
    "Validation",
    "catalog",
    "data_notices",
    "dump_recipe",
    "explain",
    "load",
    "load_recipe",
    "loads",
    "parse",
    "parse_recipe",
    "preset_changes",
    "profile_fields",
    "recipe_json_schema",
    "recipe_notices",
]
