"""Ways to train a model other than all weights or LoRA, each a file of its own.

Read `freeze.py` first (some layers); `expand.py` adds new layers, `pissa.py` begins adapters with a
part of the weights, `oft.py` turns frozen layers, `prompts.py` and `prefix.py` learn vectors in
front of the text and `adaption.py` beside it, `quantised.py` packs the weights that stay as they
are into 4 or 8 bits. `engine.adapter` and `engine.setup` choose among them.
"""
