"""What the files in the folder of an evaluation are called; readers need nothing else of it."""

PREDICTIONS = "predictions.jsonl"
PREFERRED = "preferred.jsonl"  # of pairs: which answer the model prefers
PREFERENCES = ("preference_accuracy", "preference_margin", "reward_accuracy", "reward_margin", "kl")
BESIDE_BASE = PREFERENCES[2:]  # scores that need to know what a model was trained from
ASKED = "asked.json"
SCORES = "scores.json"
REPORT = "report.html"
MANIFEST = "manifest.json"
