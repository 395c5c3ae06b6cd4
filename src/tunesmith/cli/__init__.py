"""The command line: one file a command, loaded only when it is called. Read `main.py` first.

The engine is a process of its own, started by name; nothing here imports torch.
"""
