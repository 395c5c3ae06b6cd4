"""Write the OpenAPI document of the native API, from which the types of the console are made.

python tools/openapi.py console/openapi.json
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import orjson

from tunesmith.api.app import create_app
from tunesmith.server.platform import build_platform
from tunesmith.server.settings import Settings


def main() -> None:
    """The document needs an application, whose database stays untouched."""
    with tempfile.TemporaryDirectory() as folder:
        platform = build_platform(Settings(data_dir=Path(folder)))
        document = create_app(platform).openapi()
        platform.database.close()
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    Path(sys.argv[1]).write_bytes(orjson.dumps(document, option=options))


if __name__ == "__main__":
    main()
