"""Whether a model got better: curves of a run, right answers counted. No torch.

Read `curves.py` first: it draws a run from its events. `intent.py` scores the answers of the demo.
"""
