"""What works on this machine, and what to mend."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith.cli.checks import (
    Check,
    Library,
    cgroup_limit,
    check_disk,
    check_gpu_variable,
    check_hub,
    check_library,
    check_memory,
    hub_addresses,
    judge_version,
    version_numbers,
    wal_is_safe,
)
from tunesmith.cli.doctor import check_line, parse_checks, worst_status

GIB = 1024**3


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("3.6.23", True),
        ("3.7.0", False),
        ("3.40.1", False),
        ("3.44.5", False),
        ("3.44.6", True),
        ("3.45.0", False),
        ("3.50.6", False),
        ("3.50.7", True),
        ("3.51.0", False),
        ("3.51.2", False),
        ("3.51.3", True),
        ("3.52.0", True),
    ],
)
def test_the_sqlite_versions_with_the_wal_bug_are_known(version: str, safe: bool) -> None:
    assert wal_is_safe(version) is safe


def test_the_misspelt_gpu_variable_is_warned_of_only_when_alone() -> None:
    """ACCEPTANCE E8."""
    (check,) = check_gpu_variable({"CUDA_VISIBLE_DEVICE": "1"})
    assert check.status == "warning"
    assert "CUDA_VISIBLE_DEVICES=1" in check.mend
    assert check_gpu_variable({"CUDA_VISIBLE_DEVICE": "1", "CUDA_VISIBLE_DEVICES": "0"}) == []
    assert check_gpu_variable({}) == []


def test_versions_are_judged_by_the_supported_range() -> None:
    torch = Library("torch", "2.11", "2.14", extra="engine")
    assert judge_version(torch, "2.13.0+cpu").status == "ok"
    assert judge_version(torch, "2.14.0").status == "warning"
    assert judge_version(torch, "2.9.1").status == "error"
    assert version_numbers("5.17.0rc1") == (5, 17, 0)


def test_a_library_that_is_missing_says_how_to_install_it() -> None:
    check = check_library(Library("a-library-that-is-not-there", "1", extra="engine"))
    assert check.status == "error"
    assert check.mend == "pip install 'tunesmith[engine]'"


def test_the_memory_limit_of_a_container_counts(tmp_path: Path) -> None:
    (tmp_path / "max").write_text(f"{GIB}\n")
    (tmp_path / "none").write_text("max\n")
    assert cgroup_limit(tmp_path / "max") == GIB
    assert cgroup_limit(tmp_path / "none") is None
    assert cgroup_limit(tmp_path / "nowhere") is None
    assert check_memory(64 * GIB, 60 * GIB, None).status == "ok"
    assert check_memory(64 * GIB, 60 * GIB, GIB).detail == "1.0 GiB free of 1.0 GiB"
    assert check_memory(64 * GIB, GIB, None).status == "warning"


def test_the_disk_is_checked_where_a_folder_will_be(tmp_path: Path) -> None:
    assert str(tmp_path) in check_disk(tmp_path / "not" / "yet").detail


@pytest.fixture
def hub() -> Iterator[str]:
    """A web server on this machine that refuses every request politely."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_that_answers_anything_is_reachable(hub: str) -> None:
    assert check_hub("hub", hub) == Check("hub", "ok", f"{hub} answers (status 401)")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "no address", "http://"])
def test_a_hub_that_is_away_is_a_warning_with_a_mend(address: str) -> None:
    check = check_hub("hub", address, timeout=1.0)
    assert check.status == "warning"
    assert "starter" in check.mend


def test_a_mirror_is_asked_in_the_place_of_the_hub() -> None:
    assert hub_addresses({"HF_ENDPOINT": "https://mirror.example"})["hub"] == (
        "https://mirror.example"
    )


def test_lines_and_the_whole_have_a_status() -> None:
    good, bad = Check("torch", "ok", "2.13.0"), Check("disk", "error", "full", "free some")
    assert check_line(good, 6, colour=False) == "  ok       torch   2.13.0"
    assert check_line(bad, 6, colour=False).endswith(
        "disk    full\n                   -> free some"
    )
    assert worst_status([good]) == "ok"
    assert worst_status([good, Check("x", "warning", "")]) == "warning"
    assert worst_status([good, bad]) == "error"
    assert worst_status([]) == "ok"


def test_the_checks_of_the_engine_are_read_and_odd_ones_become_warnings() -> None:
    rows = [
        {"name": "cuda", "status": "ok", "detail": "H100"},
        {"name": "nccl", "status": "who knows", "detail": "?", "mend": "look"},
    ]
    assert parse_checks({"checks": rows}) == [
        Check("cuda", "ok", "H100"),
        Check("nccl", "warning", "?", "look"),
    ]


def test_doctor_works_where_torch_is_not_installed() -> None:
    code = (
        "import sys\nfor name in ('torch', 'transformers', 'peft'): sys.modules[name] = None\n"
        "from tunesmith.cli.main import run\nrun(['doctor', '--json'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICE": "0"},
        check=False,
    )
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    checks = {check["name"]: check for check in document["checks"]}
    assert document["status"] == "error"
    assert checks["devices"]["mend"] == "pip install 'tunesmith[engine]'"
    assert checks["environment"]["status"] == "warning"
    assert checks["hub"]["status"] == "ok"
