"""What users ask for: one method, one transaction. Routes call these, never tables or claims.

Read `jobs.py` first.
"""
