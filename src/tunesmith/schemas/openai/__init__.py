"""The objects of the OpenAI API, as clients read them. Read `jobs.py` first.

Required keys are always there, null where there is nothing; keys of our own come beside them.
"""
