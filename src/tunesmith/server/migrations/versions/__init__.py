"""The revisions, in order. Read `0001_initial.py` first. A published one never changes."""
