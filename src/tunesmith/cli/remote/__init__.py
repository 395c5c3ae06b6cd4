"""The platform from a terminal: `tunesmith jobs|models|datasets|users|projects|tokens|login`.

Read `jobs.py` first; each group of commands is one file. `connecting.py` finds the server,
`names.py` turns what people type into ids, `tables.py` prints lists, `waiting.py` shows progress,
`following.py` shows a job as it runs, `submitting.py` makes a job of a recipe with local files.
"""
