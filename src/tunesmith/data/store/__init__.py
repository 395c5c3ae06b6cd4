"""Datasets of the data directory: names, immutable published versions, their rows.

Read `catalog.py` first: it says where things lie. version.py opens and writes one version, rows.py
shows its rows as objects.
"""

from tunesmith.data.store.catalog import Catalog, DatasetAbout, Reference, parse_reference
from tunesmith.data.store.version import Draft, Manifest, Rows, Version

__all__ = [
    "Catalog",
    "DatasetAbout",
    "Draft",
    "Manifest",
    "Reference",
    "Rows",
    "Version",
    "parse_reference",
]
