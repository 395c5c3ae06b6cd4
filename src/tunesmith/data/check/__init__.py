"""What is wrong with the rows of a dataset: read once, in pieces, by several processes.

Read `check.py` first. It hands pieces to inspect.py, which looks at each row:

    openai_rules.py   the raw row, by OpenAI's rules      rows.py  the record: roles, tools, weights
    texts.py          the texts, a whole piece at a time: one file each for texts that were never
                      filled in, garbled, marked up, looping or personal; languages.py by script
    duplicates.py     the same and nearly the same rows   tokens.py  what only a tokenizer shows

rules.py says what each finding means, findings.py collects them.
"""
