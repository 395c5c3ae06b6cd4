"""`tunesmith backup`, `restore` and `clean`: keep an installation. The server's program works.

Read `backup.py` first; `options.py` has what all of them share.
"""
