"""What can be wrong with an export."""

from __future__ import annotations

from tunesmith.errors import InputError, RunFailed


class ExportRefused(InputError):
    """This model cannot become this format; nothing was written."""

    code = "export_refused"


class ExportFailed(RunFailed):
    """The export began and could not be finished; nothing of it was kept."""

    code = "export_failed"


class DriftTooLarge(RunFailed):
    """The artefact answers otherwise than the trained model."""

    code = "export_drift"
