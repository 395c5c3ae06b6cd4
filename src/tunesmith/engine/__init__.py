"""HOW to train: the only package that imports torch. Read `train.py` first."""
