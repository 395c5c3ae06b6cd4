"""A model as files for other programs, with a certificate that it still answers the same.

Read `command.py` first: `export` is the whole way. `source.py` finds what is exported, `formats.py`
lists the formats, `parity/` measures the artefact against the engine of the training.
"""
