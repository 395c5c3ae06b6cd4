"""Write token rows as a `datasets` folder in the order of training: write_dataset.py ROWS OUT.

ROWS is a JSON file: a list of {"input_ids": [...], "labels": [...]}, -100 where nothing is learned.
"""

import json
import sys
from pathlib import Path

from datasets import Dataset


def main(rows_path: str, out: str) -> None:
    """Turn the rows into the columns that a peer's collator expects."""
    rows = json.loads(Path(rows_path).read_text(encoding="utf-8"))
    for row in rows:
        row["attention_mask"] = [1] * len(row["input_ids"])
    Dataset.from_list(rows).save_to_disk(out)


if __name__ == "__main__":
    main(*sys.argv[1:3])
