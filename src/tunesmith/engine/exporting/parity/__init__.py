"""Does the artefact answer as the trained model does? Read `certify.py` first.

prompts.py      what both are asked
walks.py        greedy answers and log-probabilities of one model
reference.py    the engine of the training
reading.py      the artefact, as transformers reads it; `llama_cli.py` as llama.cpp does
figures.py      the differences, in numbers
limits.py       how large they may be, by format
certificate.py  parity.json and PARITY.md
"""
