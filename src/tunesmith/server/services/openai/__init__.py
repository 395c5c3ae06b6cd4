"""The OpenAI API on top of the platform's own services. Read `service.py` first: its parts.

submit.py makes a job of a request, validation.py checks its files in the background and decides
what was "auto" (auto.py), objects.py shows jobs, events.py tells what happened to them, named.py
finds what a name such as `ft:...:ckpt-step-3` means.
"""
