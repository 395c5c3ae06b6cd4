"""`python -m tunesmith.engine tokenizer BASE`: the folder with a base model's tokenizer, as JSON.

For commands that work without torch but take any base: a hub id is looked up (its small files are
downloaded once), a tokenizer of another kind is converted to tokenizer.json once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from tunesmith.engine.model_sources import resolve_name
from tunesmith.engine.models import cache_directory, load_tokenizer_files


def main(arguments: list[str]) -> int:
    """Print {"directory": ...}."""
    parser = argparse.ArgumentParser(prog="tunesmith.engine tokenizer")
    parser.add_argument("base")
    options = parser.parse_args(arguments)
    found = resolve_name(options.base, base_dir=Path.cwd(), weights=False)
    directory = load_tokenizer_files(found, cache_directory())
    sys.stdout.write(orjson.dumps({"directory": str(directory)}).decode() + "\n")
    return 0
