"""Parts of the remote commands that need no server: names, tables, events, what is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.progress import Progress, advance
from tunesmith.cli.remote.following import as_run_events
from tunesmith.cli.remote.names import Kind, find
from tunesmith.cli.remote.submitting import dataset_name, fingerprint
from tunesmith.cli.remote.tables import ago, say_table, short_id, short_ids
from tunesmith.cli.terminal import columns
from tunesmith.data.store.catalog import is_name
from tunesmith.errors import InputError
from tunesmith.schemas.jobs import EventRead

NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Thing:
    """Something with an id and a name."""

    id: str
    name: str
    created_at: datetime = NOW


THINGS = [
    Thing("ftjob-01kat3v9m0b6x1r5q8wz2c7d4e", "first"),
    Thing("ftjob-01kat3v9m0b6x1r5q8wz2c7d4f", "twin"),
    Thing("ftjob-01kbbbbbbbb6x1r5q8wz2c7d4e", "twin"),
    Thing("ftjob-01kccccccccb6x1r5q8wz2c7d4", "01kbbbb"),
]


def kind() -> Kind:
    def beginning(text: str) -> Iterable[Thing]:
        """What a search finds: the text in the name, or at the beginning of the id."""
        return (one for one in THINGS if one.id.startswith(text) or text in one.name)

    def named(name: str) -> Iterable[Thing]:
        return (one for one in THINGS if one.name == name)

    return Kind("job", "ftjob-", "jobs", beginning, named)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("ftjob-01kat3v9m0b6x1r5q8wz2c7d4e", 0),
        ("01kat3v9m0b6x1r5q8wz2c7d4f", 1),
        ("first", 0),
        ("01kbbb", 2),
        (" FTJOB-01KBBB ", 2),
        ("01kbbbb", 3),  # the name of one wins over the beginning of another's id
    ],
)
def test_a_word_means_one_thing(word: str, number: int) -> None:
    assert find(kind(), word) == THINGS[number].id


def test_an_unknown_whole_id_is_left_to_the_server() -> None:
    assert find(kind(), "ftjob-01kzzzzzzzb6x1r5q8wz2c7d4e") == "ftjob-01kzzzzzzzb6x1r5q8wz2c7d4e"


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("twin", "ambiguous_name"),
        ("01kat3", "ambiguous_name"),
        ("01k", "job_not_found"),  # too short to be meant
        ("01kd", "job_not_found"),
        ("nothing", "job_not_found"),
        ("", "job_not_found"),
        ("../jobs", "job_not_found"),
    ],
)
def test_a_word_that_means_none_or_several_is_refused(word: str, code: str) -> None:
    with pytest.raises(InputError) as error:
        find(kind(), word)
    assert error.value.code == code


def test_short_ids_are_unique_and_of_one_length() -> None:
    short = short_ids([one.id for one in THINGS])
    assert len(set(short)) == len(THINGS)
    assert len({len(word) for word in short}) == 1
    for word, one in zip(short, THINGS, strict=True):
        assert find(kind(), word) == one.id
    assert short_id(THINGS[0].id) == "01kat3v9m0"
    assert short_ids([]) == []


@pytest.mark.parametrize("name", ["x" * 300, "客服" * 100, "a\x1b[2Jb\u202ec", "line\nbreak", ""])
def test_a_table_fits_80_columns_whatever_is_in_it(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    say_table(("id", "name", ">rows", "made"), [("01kat3v9m0", name, "12,345", "now")], wide=1)
    out = capsys.readouterr().out
    head, row = out.splitlines()
    assert max(columns(line) for line in (head, row)) <= 80
    assert row.endswith("now")
    assert head.index("rows") + 4 == head.index("made") - 2
    assert not {"\x1b", "\u202e"} & set(out)


def test_a_pipe_gets_names_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    say_table(("id", "name", "made"), [("01kat3v9m0", "x" * 300, "now")], wide=1)
    assert "x" * 300 in capsys.readouterr().out


def test_a_last_column_without_anything_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(("name", ""), [("a", ""), ("b", "")], wide=0)
    assert capsys.readouterr().out == "name\na\nb\n"


@pytest.mark.parametrize(
    ("seconds", "told"), [(1, "now"), (42, "42s ago"), (300, "5m ago"), (7300, "2h ago")]
)
def test_ages_are_short(seconds: float, told: str) -> None:
    assert ago(datetime.now(UTC) - timedelta(seconds=seconds)) == told


def event(kind: str, seq: int | None, **data: Any) -> EventRead:
    return EventRead(
        job_id="ftjob-1", number=1, attempt=2, seq=seq, type=kind, level="info", message="",
        data=data, created_at=NOW,
    )  # fmt: skip


def test_events_of_a_server_show_as_those_of_a_run() -> None:
    state = Progress()
    for one in (
        event("status", None, to="queued"),
        event("started", 1, name="sums", stage="sft", method="lora", device="cpu"),
        event("plan", 2, total_steps=8),
        event("step", 3, step=4, total_steps=8, loss=2.5, eta_seconds=3),
    ):
        for told in as_run_events(one):
            state = advance(state, told)
    assert (state.step, state.total_steps, state.loss, state.eta_seconds) == (4, 8, 2.5, 3)
    assert state.title == ("sums", "sft lora", "cpu", "attempt 2")


def test_a_waiting_job_says_what_it_waits_for_and_others_nothing() -> None:
    assert [one["activity"] for one in as_run_events(event("status", None, to="queued"))] == [
        "Waiting for a device"
    ]
    assert list(as_run_events(event("status", None, to="running"))) == []
    assert list(as_run_events(event("note", None, text="of the platform"))) == []


def test_an_event_moves_no_cursor() -> None:
    [told] = as_run_events(event("warning", 1, message="a\x1b[2J", code="x"))
    assert told["message"] == "a\\x1b[2J"


@pytest.mark.parametrize(
    "name", ["support.jsonl", "my data (1).csv", "客服.jsonl", "-x-", "con.csv"]
)
def test_any_file_name_becomes_a_dataset_name(name: str) -> None:
    assert is_name(dataset_name(Path(name)))
    assert dataset_name(Path("support.jsonl")) == "support.jsonl"


def test_a_fingerprint_is_of_content_and_columns_not_of_names(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for path, text in ((one, "rows"), (same, "rows"), (other, "else")):
        path.write_text(text)
    assert fingerprint([one], {}) == fingerprint([same], {})
    assert fingerprint([one], {}) != fingerprint([other], {})
    assert fingerprint([one], {}) != fingerprint([one], {"prompt_field": "x"})
