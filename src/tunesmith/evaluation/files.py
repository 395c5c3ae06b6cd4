"""What the files in the folder of an evaluation are called; readers need nothing else of it."""

PREDICTIONS = "predictions.jsonl"
PREFERRED = "preferred.jsonl"  # of pairs that no model was asked to answer
ASKED = "asked.json"
SCORES = "scores.json"
REPORT = "report.html"
MANIFEST = "manifest.json"
