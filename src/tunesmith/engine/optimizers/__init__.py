"""Update rules other than AdamW, for the views of an arena. Read `base.py` first.

`engine.optimizer` builds them. Each is a torch optimizer whose state is tensors alone, so that a
checkpoint holds all of it. Random numbers are functions of seed and step, so that a resumed run
draws the same. `rounding.py` is for weights that have no exact copy.
"""
