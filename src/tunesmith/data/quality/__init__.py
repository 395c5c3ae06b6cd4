"""Which rows are good, how different they are, and more wordings for them. No torch.

Read `score.py` first: it puts a number on each row, as a column of a new version.

    texts.py        what a row asks and answers       measures.py  countable facts about both
    heuristics.py   named reasons -> quality          vectors.py   texts -> hashed n-grams
    classifier.py   quality learned from examples     examples.py  our own rows, good and spoiled
                      corruptions.py  the ways in which they are spoiled
    report.py       distribution, worst and best rows, what to do next
    diversity.py    kinds of instructions: clusters.py groups them, by the words of vectors.py
    augment.py      the same rows in other wordings: templates.py reads them from YAML

Perplexity is measured by the engine (engine/score.py) and written by score.py like the others.
"""
