"""Scores of answers against references. Read `score.py` first: what a score is.

texts.py has equality and overlap, classes.py labels, bleu.py and rouge.py what these names say,
structured.py JSON, sql.py queries by their results, code.py programs by their tests,
likelihood.py perplexity, judge.py the word of another model, custom.py a file of the user.
choose.py decides which ones suit the references.
"""
