"""Models: what may be trained on or used. Read `registry.py` first.

`finding.py` says which model a name means and where it lies, `content.py` reads its files,
`lineage.py` draws where it comes from, `grounds.py` what it rests on, `imports.py` brings one in.
"""

from __future__ import annotations

from tunesmith.server.services.models.finding import Base, folder_of, model_of, resolve_base
from tunesmith.server.services.models.grounds import Ground
from tunesmith.server.services.models.imports import ImportOrder, usual_hub
from tunesmith.server.services.models.registry import ModelFilter, Models

__all__ = [
    "Base",
    "Ground",
    "ImportOrder",
    "ModelFilter",
    "Models",
    "folder_of",
    "model_of",
    "resolve_base",
    "usual_hub",
]
