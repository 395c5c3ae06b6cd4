"""Keeping an installation: backup, restore, clean-up.

Read `backup.py` first: what is copied, in which order, and why that is consistent. `copies.py`
copies a database while it is in use, `archive.py` writes and reads the files of a backup,
`restore.py` is the way back, `needed.py` says what may not be lost, `clean.py` removes the rest.
"""
