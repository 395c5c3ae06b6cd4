"""Whether a model got better: curves of a run, answers to test rows, a verdict. No torch.

Read `compare.py` first: two models, the same rows, a verdict. `evaluate.py` is one model's part of
it: `rows.py` are asked of an `endpoint.py` (`served.py` starts one), `predictions.py` keeps the
answers, `scoring.py` calls the `scores/`. `statistics.py` and `verdict.py` are pure; `report/` is
the page for people; `workers/` and `sandbox.py` run what is not ours.

`curves.py` draws a run from its events, `reading.py` explains it, `intent.py` scores the answers of
the demo, `graders/` any answer by a rule.
"""
