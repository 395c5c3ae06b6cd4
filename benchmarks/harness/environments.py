"""The peers' virtual environments: one each, never ours, with pinned versions.

torch comes first and is then held fast, so that nothing pulls another build of it.
"""

from __future__ import annotations

import shutil
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from harness.measurement import BenchmarkError
from harness.processes import run

TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Peer:
    """A training program that ours is measured against."""

    name: str
    title: str
    packages: tuple[str, ...]
    # Packages that the peer does not need for text, whose wheels may not match the torch build.
    dropped: tuple[str, ...] = ()
    # Packages that the peer imports without using them: an empty one takes their place.
    hollow: tuple[str, ...] = ()

    @property
    def job(self) -> Path:
        """The script that trains with this peer."""
        return Path(__file__).resolve().parent.parent / "peers" / f"{self.name}_job.py"


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "trl",
            "TRL 1.16",
            (
                "transformers==5.23.0",
                "trl==1.16.0",
                "peft==0.21.2",
                "datasets==5.2.0",
                "accelerate==1.15.0",
            ),
        ),
        Peer(
            "llamafactory",
            "LLaMA-Factory 0.9.5",
            ("llamafactory==0.9.5",),
            dropped=("torchvision",),
            hollow=("torchaudio",),
        ),
    )
}


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def ensure_environment(peer: Peer, root: Path, logs: Path) -> Path:
    """Build the peer's environment unless it is there and complete; return its interpreter."""
    home = root / peer.name
    stamp = home / "complete.txt"
    wanted = "\n".join((TORCH, *peer.packages)) + "\n"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python_of(home)
    print(f"building the environment of {peer.title} in {home} ...", file=sys.stderr)
    _build(peer, home, logs / f"install-{peer.name}.log")
    stamp.write_text(wanted, encoding="utf-8")
    return python_of(home)


def _build(peer: Peer, home: Path, log: Path) -> None:
    venv.create(home, with_pip=True, clear=True)
    python = python_of(home)
    run([python, "-m", "pip", "install", TORCH], log)
    constraints = home / "constraints.txt"
    constraints.write_text(TORCH + "\n", encoding="utf-8")
    run([python, "-m", "pip", "install", "-c", constraints, *peer.packages], log)
    for name in (*peer.dropped, *peer.hollow):
        if not _imports(python, name, log):
            run([python, "-m", "pip", "uninstall", "-y", name], log)
            if name in peer.hollow:
                _write_hollow(python, name, log)


def _imports(python: Path, name: str, log: Path) -> bool:
    try:
        run([python, "-c", f"import torch, {name}"], log)
    except BenchmarkError:
        return False
    return True


def _write_hollow(python: Path, name: str, log: Path) -> None:
    where = run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], log
    ).stdout.strip()
    package = Path(where) / name
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir()
    (package / "__init__.py").write_text(
        '"""An empty stand-in."""\n\n__version__ = "0"\n', encoding="utf-8"
    )
