"""What is wrong with the rows of a dataset, found in whole blocks of texts at a time.

`texts.py` is the file to read first: it names the findings and says what each one means.
"""
