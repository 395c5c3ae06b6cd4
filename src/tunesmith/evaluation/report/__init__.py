"""Reports for people: one HTML file without any outside request. Read `comparison.py` first.

comparison.py and single.py say what is shown, texts.py says it in both languages, page.py puts it
into the templates beside it, pictures.py computes what is drawn, differences.py marks words.
"""
