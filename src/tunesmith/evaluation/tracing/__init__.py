"""From a wrong answer to the training rows behind it, and from there to the next training.

Read `trace.py` first. `ngrams.py` finds similar texts, `training_rows.py` reads what a run learned
from, with the loss of each row, `retrain.py` makes a new dataset version and the next recipe.
"""
