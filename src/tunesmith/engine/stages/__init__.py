"""One small class a stage: what its rows are, and its loss. Read `language.py` first."""

from __future__ import annotations

from tunesmith.engine.stages.language import LanguageStage

STAGES = {"sft": LanguageStage, "pt": LanguageStage}

__all__ = ["STAGES", "LanguageStage"]
