"""Models that answer: which should, on which process, and what happens when one does not.

Read `states.py` first, then `placing.py` (a pure function: what to start and what to stop) and
`hosting.py` (the part of a worker that carries it out); `process.py` is one serving process.
"""
