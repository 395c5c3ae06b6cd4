"""Rows to tokens: readers, formats, rendering, loss masks, tables, batches. No torch.

Read `prepare.py` first. What happens to a file:

    readers/       file -> (line, row)             encodings.py names what is not UTF-8
    formats.py     which column is what, and why   convert.py: row -> record (conversation.py)
                     first_rows.py  asks the sample   messages.py: one turn   preferences.py: pairs
    renderer.py    record -> text, spans -> tokens, targets
                     turns.py   the exact way, from the chat template (chat_template.py)
                     shapes.py  the fast way, learned from the exact one
    tokenise.py    all of these (encoder.py, in processes) -> table.py; tally.py counts every row
    prepare.py     cached tables (cache.py) of datasets by name (resolve.py) -> report.py
                     held_out.py  validation and test rows   columns.py: strata and groups
                     mixing.py    rows drawn from each dataset   draws.py: which ones
    subject.py     what `tunesmith data` works on: files, or a published version
                     store/       datasets with versions   importing.py, editing.py: new versions
                     check/       what is wrong with rows  fixing.py: what can be mended safely
                     diff.py, exporting/, expression.py (conditions), pool.py (processes)
    lengths.py     tokens of every row, measured once -> stats.py, pictures.py
    preview.py     one row, token by token
    batches.py     prepared rows -> steps and micro-batches
"""
