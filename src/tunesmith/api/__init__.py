"""HTTP in, HTTP out: the native API under /api/v1 and the OpenAI-compatible one under /v1.

Read `app.py` first: it puts the parts together. A request goes through `guard.py` (request id,
hosts, size, headers, metrics), `dependencies.py` (who asks), a route of `routes/` (translates) and
a service of the server (decides). Errors become HTTP in `errors.py`, their Chinese texts lie in
`texts_zh.py`; `__main__.py` is `tunesmith serve`.
"""
