"""`python -m tunesmith.engine export`: see `tunesmith export --help`. Read `export` first."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tunesmith.engine.exporting.errors import DriftTooLarge, ExportFailed
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.errors import TunesmithError
from tunesmith.runs.files import format_bytes

FORMATS = ("adapter", "merged", "gguf", "ollama", "int8", "int4")


@dataclass(frozen=True)
class Order:
    """What the user asked for."""

    target: str
    format: Any  # FormatName
    out: Path
    gguf_type: Any = "f16"
    base: str | None = None
    push: str | None = None
    parity: bool = True
    allow_drift: bool = False
    device: str = "auto"


def main(arguments: list[str]) -> int:
    """Export, and say on standard output what there is now."""
    options = _parse(arguments)
    as_json = options.pop("json")
    signal.signal(signal.SIGTERM, _end)
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries among our own lines
    try:
        done = _export_or_explain(Order(**options))
    except TunesmithError as error:
        if as_json:
            _write({"error": error.to_dict()})
        raise
    if as_json:
        _write(done)
    else:
        sys.stdout.write(_told(done))
    return 0


def _export_or_explain(order: Order) -> dict[str, Any]:
    try:
        return export(order, Narrator())
    except TunesmithError:
        raise
    except KeyboardInterrupt:
        raise ExportFailed(
            "Interrupted; nothing of the export was kept.", code="interrupted"
        ) from None
    except Exception as error:  # of a library, on a model that it cannot take
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportFailed(
            f"The export failed: {type(error).__name__}: {reason}. Nothing of it was kept.",
            hint="--debug shows where it happened; --format merged takes most models.",
        ) from error


def export(order: Order, narrator: Narrator) -> dict[str, Any]:
    """The whole way: check, write beside the place, compare, and only then put it there."""
    from tunesmith.engine.exporting.card import write_card
    from tunesmith.engine.exporting.draft import check_place, check_room, drafted, publish
    from tunesmith.engine.exporting.formats import Choice, format_of
    from tunesmith.engine.exporting.parity.certify import certify, quiet_transformers
    from tunesmith.engine.exporting.push import check_login, push
    from tunesmith.engine.exporting.source import find_source
    from tunesmith.engine.methods.prompts import refuse_merging
    from tunesmith.engine.setup import choose_device
    from tunesmith.models.adapters import is_beside, is_in_front

    out = order.out.absolute()
    check_place(out)
    if order.push is not None:
        check_login(order.push)
    quiet_transformers()
    device = choose_device(order.device)
    with narrator.step("Finding the model"):
        source = find_source(order.target, base=order.base, on_progress=narrator.tell)
    folder = source.adapter if order.format != "adapter" else None
    if folder is not None and (is_in_front(folder) or is_beside(folder)):
        raise refuse_merging(order.target)
    choice = Choice(order.gguf_type, order.allow_drift, device)
    written = format_of(order.format, source, choice)
    for note in written.notes():
        narrator.note(f"Note: {note}")
    check_room(out, written.num_bytes())
    with drafted(out) as draft:
        written.write(draft, narrator)
        certificate = None
        if order.parity:
            certificate = certify(
                source,
                draft,
                written,
                format_name=order.format,
                device=device,
                allow_drift=order.allow_drift,
                narrator=narrator,
            )
            _judge(certificate, order, narrator)
            certificate.write(draft)
        write_card(source, order.format, written, certificate, draft)
        with narrator.step("Checking sums"):
            status = "not_measured" if certificate is None else certificate.status
            publish(draft, out, kind="export", format=order.format, parity=status)
    url = None if order.push is None else push(out, order.push, narrator)
    return _done(order, out, certificate, url)


def _judge(certificate: Any, order: Order, narrator: Narrator) -> None:
    """Refuse drift, or say it loudly where the user allows it."""
    if certificate.passed:
        return
    told = "; ".join(certificate.problems)
    if not order.allow_drift:
        raise DriftTooLarge(
            f"The export does not answer as the trained model does: {told}. Nothing was kept.",
            hint="--allow-drift keeps it, marked as drifted, with the certificate to look into. "
            "Another format may keep more: merged, or gguf with --gguf-type f16.",
            certificate=certificate.to_json(),
        )
    narrator.note(f"WARNING: DRIFT. This export does not answer as the trained model does: {told}.")


def _done(order: Order, out: Path, certificate: Any, url: str | None) -> dict[str, Any]:
    files = sorted(file for file in out.rglob("*") if file.is_file())
    return {
        "out": str(out),
        "format": order.format,
        "files": [
            {"path": file.relative_to(out).as_posix(), "bytes": file.stat().st_size}
            for file in files
        ],
        "parity": None
        if certificate is None
        else {
            "status": certificate.status,
            "problems": list(certificate.problems),
            "figures": certificate.to_json()["figures"],
            "limits": asdict(certificate.limits),
        },
        "pushed": url,
    }


def _told(done: dict[str, Any]) -> str:
    size = sum(file["bytes"] for file in done["files"])
    lines = [f"Exported to {done['out']} ({format_bytes(size)})"]
    parity = done["parity"]
    if parity is None:
        lines.append("Not compared with the trained model (--no-parity).")
    else:
        figures = parity["figures"]
        verdict = "Parity: passed" if parity["status"] == "passed" else "Parity: DRIFT (allowed)"
        difference = figures["mean_logprob_difference"]
        shown = "no number" if difference is None else f"{difference:.2g}"
        lines += [
            f"{verdict}. Likeliest token the same at {figures['top1_agreement']:.1%} of "
            f"{figures['positions']:,} positions, mean difference of log-probabilities {shown}, "
            f"{figures['greedy_equal']} of {figures['greedy_total']} greedy answers equal.",
            *(f"  - {problem}" for problem in parity["problems"]),
            "The figures are in PARITY.md and parity.json there.",
        ]
    if done["pushed"]:
        lines.append(f"Uploaded to {done['pushed']}")
    return "\n".join(lines) + "\n"


def _write(document: Any) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _parse(arguments: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="tunesmith export")
    parser.add_argument("target", help="a run, a checkpoint, a model folder or a hub id")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist")
    parser.add_argument("--gguf-type", choices=("f16", "q8_0"), default="f16")
    parser.add_argument("--base", help="put the adapter on this model in full precision")
    parser.add_argument("--push", help="name of a model at the hub")
    parser.add_argument("--no-parity", dest="parity", action="store_false")
    parser.add_argument("--allow-drift", action="store_true")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--json", action="store_true")
    return vars(parser.parse_args(arguments))
