"""Graders: what an answer is worth, as a number. Read `run.py` first.

kinds.py has the kinds of graders, templates.py fills `{{item.x}}`, similarity.py compares texts,
formula.py combines several rewards, python_source.py runs a grader that is a program.
"""

from tunesmith.evaluation.graders.kinds import (
    Grader,
    LabelModel,
    Multi,
    PythonSource,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from tunesmith.evaluation.graders.run import Allowed, Errors, Outcome, grade, problems

__all__ = [
    "Allowed",
    "Errors",
    "Grader",
    "LabelModel",
    "Multi",
    "Outcome",
    "PythonSource",
    "ScoreModel",
    "StringCheck",
    "TextSimilarity",
    "grade",
    "problems",
]
