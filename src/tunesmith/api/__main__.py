"""`python -m tunesmith.api`: the server of one installation; `tunesmith serve` starts this."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    # What is loaded stays. To look through it for garbage again and again takes a sixth of a start;
    # afterwards no collection looks at it.
    gc.disable()
    from tunesmith.api.server import run

    gc.freeze()
    gc.enable()
    sys.exit(run(sys.argv[1:]))
