"""tunesmith: fine-tune language models. Read `engine/train.py` first.

Each package names its own first file in its docstring.
"""

__version__ = "0.1.0"
