"""The process that runs jobs: claims them, starts or adopts engines, ships what those write.

Read `worker.py` first: the loop. `prepare.py` makes the run directory of a job, `held.py` follows
one engine, `endings.py` says what its end means, `glance.py` is the cheap look at the database,
`main.py` is the command.
"""
