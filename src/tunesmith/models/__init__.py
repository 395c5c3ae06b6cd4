"""Model folders and where they come from, without torch: what is in them, and is it safe.

Read `files.py` first: what a folder may hold. `vocabulary.py` and `templates.py` check tokenizer
and chat template, `facts.py` reads what people want to know, `presets.py` knows well-known models
and what each family can do, `hubs.py` downloads.
"""
