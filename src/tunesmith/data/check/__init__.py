"""What is wrong with the rows of a dataset: read once, in pieces, by several processes.

Read `check.py` first. It hands pieces to inspect.py, which looks at each row:

    openai_rules.py   the raw row, by OpenAI's rules      rows.py  the record: roles, tools, weights
    texts.py          the texts, a whole piece at a time: placeholders.py, mojibake.py, markup.py,
                      loops.py, personal.py; languages.py by script; buffers.py: bytes of a column
    duplicates.py     the same and nearly the same rows   tokens.py  what only a tokenizer shows

rules.py says what each finding means, findings.py collects them.
"""
