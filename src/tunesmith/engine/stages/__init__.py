"""One small class a stage: its rows, its loss, its metrics. Read `stage.py` first, then a stage.

`language.py` sft and pt; `preference.py` dpo, simpo, orpo and cpo; `kto.py`; `reward.py` rm;
`policy.py` grpo.
"""

from __future__ import annotations

from tunesmith.engine.stages.kto import KtoStage
from tunesmith.engine.stages.language import LanguageStage
from tunesmith.engine.stages.policy import PolicyStage
from tunesmith.engine.stages.preference import CpoStage, DpoStage, OrpoStage, SimpoStage
from tunesmith.engine.stages.reward import RewardStage
from tunesmith.engine.stages.stage import Stage, StageLoss, Totals

__all__ = [
    "CpoStage",
    "DpoStage",
    "KtoStage",
    "LanguageStage",
    "OrpoStage",
    "PolicyStage",
    "RewardStage",
    "SimpoStage",
    "Stage",
    "StageLoss",
    "Totals",
]
