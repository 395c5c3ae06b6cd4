"""A model behind an OpenAI-compatible address, in a process of its own.

Read `engine.py` first: one thread owns the model and steps over everything that runs. `app.py` is
the HTTP beside it, `fast.py` the decoder, `__main__.py` the process.
"""
