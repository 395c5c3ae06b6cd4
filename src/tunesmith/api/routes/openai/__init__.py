"""Routes under /v1, one module a noun of the OpenAI API. Read `jobs.py` first.

Like those of the native API they translate: services decide, api/errors.py makes answers of errors.
"""
