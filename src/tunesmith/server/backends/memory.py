"""Whether the system has ended a process for want of memory: the counters of the control group.

An engine that is killed that way can say nothing itself. Version 1 and 2 of the groups are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_COUNT: Final = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def num_killed() -> int:
    """Processes of this one's group that were ended so; 0 where nothing is known of it."""
    for file in _files():
        try:
            found = _COUNT.search(file.read_text(encoding="ascii"))
        except OSError:
            continue
        if found is not None:
            return int(found[1])
    return 0


def _files() -> list[Path]:
    """Where the counter may lie: inside a container the path of the group is another one."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, kinds, path = line.split(":", 2)
        inside = path.lstrip("/")
        if "memory" in kinds.split(","):
            root = _GROUPS / "memory"
            found += [root / inside / "memory.oom_control", root / "memory.oom_control"]
        elif not kinds:
            found += [_GROUPS / inside / "memory.events", _GROUPS / "memory.events"]
    return found
