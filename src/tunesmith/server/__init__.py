"""The job platform: database, queue, scheduler, services. No torch; never imports the engine.

Read `states.py` first: the life of a job, and the one function that changes its status. Then
`claims.py` (how a worker gets a job, keeps it and ends it), `scheduler.py` (which job is next, a
pure function), `journal.py` (events), `services/` (what users ask for), `tables/` (what is stored),
`database.py` (SQLite or PostgreSQL), `clock.py` (whose time counts).
"""
