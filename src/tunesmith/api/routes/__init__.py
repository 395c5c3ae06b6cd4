"""One file a noun; a route translates between HTTP and a service, and decides nothing.

Read `projects.py` first. `openai/` holds the routes of the OpenAI-compatible API.
"""
