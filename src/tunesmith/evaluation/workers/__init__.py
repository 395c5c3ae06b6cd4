"""Programs that run as processes of their own, with limits. Read `process.py` first.

process.py starts one and asks it; sql.py and scorer.py are such programs: they read one JSON object
a line and answer with one, and import nothing but the standard library.
"""
