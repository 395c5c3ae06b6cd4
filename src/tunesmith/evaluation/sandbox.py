"""Runs a program of a model where it can do no harm: namespaces without network, files read-only.

bubblewrap does it where it is installed, else `unshare` of util-linux. Inside there is the Python
that runs this, the system's libraries, an empty /tmp in memory and nothing else: no network, no
other process, no file of a user. Limits of time, memory and processes come on top; by themselves
they would be no sandbox, so without namespaces nothing is run.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunesmith.errors import InputError

_MEMORY_BYTES: Final = 1 << 30
_PROCESSES: Final = 64
_TOLD: Final = 2000
_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin"
_SYSTEM: Final = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/sbin",
    "/etc/alternatives",
    "/etc/ld.so.cache",
)
# What a sandbox has to keep from the program; it prints what it could do.
_ESCAPES: Final = """
import os, socket
told = []
try:
    socket.create_connection(("192.0.2.1", 9), timeout=0.2)
    told.append("network")
except OSError as error:
    if "timed out" in str(error):
        told.append("network")
for place in {places!r}:
    try:
        open(os.path.join(place, "tunesmith-was-here"), "w").close()
        told.append("writes " + place)
    except OSError:
        continue
if os.path.exists({secret!r}):
    told.append("sees files")
if len([p for p in os.listdir("/proc") if p.isdigit()]) > 5:
    told.append("sees processes")
print("escapes:" + ", ".join(told))
"""


class NoSandbox(InputError):
    """Programs of a model are not run here."""

    code = "no_sandbox"


@dataclass(frozen=True)
class Ran:
    """How a program ended; `told` is the end of what it said."""

    passed: bool
    why: str = ""
    told: str = ""


@dataclass(frozen=True)
class Sandbox:
    """A way to run programs that was seen to hold."""

    name: str
    command: Callable[[Path], list[str]]

    def run(self, source: str, seconds: float = 10.0) -> Ran:
        """Run a Python program; it passes when it ends with code 0 in time."""
        with tempfile.TemporaryDirectory(prefix="tunesmith-code-") as folder:
            place = Path(folder)
            (place / "program.py").write_text(source, encoding="utf-8")
            place.chmod(0o755)
            return _run(self.command(place), seconds)


def find_sandbox() -> Sandbox:
    """The first way that holds on this machine; NoSandbox with what was tried."""
    tried: list[str] = []
    for name, command in (("bwrap", _bubblewrap), ("unshare", _unshare)):
        if shutil.which(name) is None:
            tried.append(f"{name} is not installed")
            continue
        sandbox = Sandbox(name, command)
        problem = _problem_of(sandbox)
        if problem is None:
            return sandbox
        tried.append(f"{name}: {problem}")
    raise NoSandbox(
        "Programs of a model are not run here, as no sandbox works: " + "; ".join(tried) + ".",
        hint="Install bubblewrap and allow user namespaces, or leave the score `code` out.",
        tried=tried,
    )


def _problem_of(sandbox: Sandbox) -> str | None:
    """Why a sandbox does not hold; None where it does."""
    with tempfile.NamedTemporaryFile(prefix="tunesmith-secret-") as secret:
        places = ["/usr", "/etc", "/", str(Path.home()), os.path.dirname(sys.executable)]
        ran = sandbox.run(_ESCAPES.format(places=places, secret=secret.name))
    if not ran.passed:
        return (ran.told or ran.why).strip().splitlines()[-1][:200]
    held = ran.told.strip() == "escapes:"
    return None if held else f"a program can still do this: {ran.told.strip()}"


def _run(command: list[str], seconds: float) -> Ran:
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            env={"PATH": _PATH},
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
            why = "" if code == 0 else f"ended with code {code}"
        except subprocess.TimeoutExpired:
            why = f"took longer than {seconds:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        words.seek(max(0, words.seek(0, os.SEEK_END) - _TOLD))
        return Ran(not why, why, words.read().decode("utf-8", "replace"))


def _folders() -> list[str]:
    """What the program sees: the system's libraries and this Python."""
    python = {sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    system = [place for place in _SYSTEM if os.path.exists(place)]
    return [*system, *sorted(p for p in python if not p.startswith("/usr/") and p != "/usr")]


def _limited(program: str) -> list[str]:
    """The program under limits; its output too, so that it cannot fill the disk."""
    limits = [f"--as={_MEMORY_BYTES}", f"--nproc={_PROCESSES}", f"--fsize={1 << 24}", "--core=0"]
    return ["prlimit", *limits, sys.executable, "-I", "-B", program]


def _bubblewrap(place: Path) -> list[str]:
    binds: list[str] = []
    for folder in _folders():
        if os.path.islink(folder):
            binds += ["--symlink", os.readlink(folder), folder]
        else:
            binds += ["--ro-bind", folder, folder]
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *("--cap-drop", "ALL", *binds, "--proc", "/proc", "--dev", "/dev"),
        *("--size", str(64 << 20), "--tmpfs", "/tmp", "--ro-bind", str(place), "/code"),
        *("--chdir", "/tmp", "--setenv", "PATH", _PATH, "--", *_limited("/code/program.py")),
    ]


def _unshare(place: Path) -> list[str]:
    """A root of its own made of read-only mounts, then a program without any capability."""
    lines = ["set -e", 'R="$1"', 'mount -t tmpfs -o size=64m,mode=755 tmpfs "$R"']
    for folder in _folders():
        quoted = shlex.quote(folder)
        if os.path.islink(folder):
            lines.append(f'ln -s {shlex.quote(os.readlink(folder))} "$R"{quoted}')
            continue
        make = "mkdir -p" if os.path.isdir(folder) else 'mkdir -p "$R"/etc; touch'
        lines.append(f'{make} "$R"{quoted}')
        lines.append(f'mount --bind {quoted} "$R"{quoted}')
        lines.append(
            f'mount -o remount,bind,ro,nosuid,nodev {quoted} "$R"{quoted} 2>/dev/null'
            f' || mount -o remount,bind,ro "$R"{quoted}'
        )
    lines += [
        'mkdir -p "$R"/proc "$R"/tmp "$R"/code "$R"/dev',
        f'mount --bind {shlex.quote(str(place))} "$R"/code',
        'mount -o remount,bind,ro "$R"/code',
        'touch "$R"/dev/null "$R"/dev/urandom',
        'mount --bind /dev/null "$R"/dev/null',
        'mount --bind /dev/urandom "$R"/dev/urandom',
        'mount -t proc proc "$R"/proc',
        'mount -t tmpfs -o size=64m tmpfs "$R"/tmp',
        'mount -o remount,ro "$R"',
        'cd "$R"/tmp',
        'exec chroot "$R" setpriv --no-new-privs --bounding-set=-all --inh-caps=-all '
        "--ambient-caps=-all " + shlex.join(_limited("/code/program.py")),
    ]
    root = place / "root"
    root.mkdir(exist_ok=True)
    return [
        *("unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--ipc", "--uts"),
        *("--fork", "--kill-child", "sh", "-c", "\n".join(lines), "sandbox", str(root)),
    ]
