"""Datasets of a project: rows in the database that index versions on the disk.

Read `registry.py` first: what users do, in the words of asked.py. index.py keeps rows and disk
together, publishing.py makes a new version under the lock of its dataset, changes.py and reports.py
are what happens in it, looking.py shows rows, sources.py reads files of users, renderers.py finds
tokenizers. This file imports nothing, so that asked.py comes without them.
"""
