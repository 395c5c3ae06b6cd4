"""Recipes from the job files of other systems. Read `llamafactory.py` first.

Nothing is dropped silently: every key of the source gets a `Verdict` and a place in the report.
"""

from tunesmith.recipe.convert.llamafactory import (
    Conversion,
    convert_llamafactory,
    convert_llamafactory_text,
)
from tunesmith.recipe.convert.report import Entry, Verdict

__all__ = ["Conversion", "Entry", "Verdict", "convert_llamafactory", "convert_llamafactory_text"]
