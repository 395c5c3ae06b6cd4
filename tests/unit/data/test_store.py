"""Published versions: complete or not there, never changed, found by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.conversation import Conversation, Message
from tunesmith.data.store import Catalog, Draft, Reference, Version, parse_reference
from tunesmith.data.store.catalog import is_name
from tunesmith.data.store.rows import StoredRow, stored_rows, table_of
from tunesmith.errors import DataError


def _row(number: int, answer: str = "yes") -> StoredRow:
    record = Conversation((Message("user", f"question {number}"), Message("assistant", answer)))
    empty = StoredRow(number, "shop.jsonl", number + 1, "conversation", "", None, 0)
    return empty.with_record(record)


def _publish(catalog: Catalog, name: str, rows: list[StoredRow]) -> Version:
    with catalog.draft(name) as draft:
        draft.append(table_of(rows))
        return catalog.publish(draft, name)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path)


def test_rows_come_back_as_they_were_published(catalog: Catalog) -> None:
    rows = [_row(1), _row(2).with_extra({"category": "refund", "n": 3})]
    version = _publish(catalog, "shop", rows)
    assert version.label == "shop@1"
    assert list(stored_rows(catalog.open("shop").batches())) == rows
    assert catalog.open("shop").manifest == version.manifest
    assert version.manifest.next_id == 3


def test_a_second_version_leaves_the_first_as_it_was(catalog: Catalog) -> None:
    _publish(catalog, "shop", [_row(1)])
    _publish(catalog, "shop", [_row(1), _row(2)])
    assert catalog.open("shop").manifest.version == 2
    assert catalog.open("shop@1").manifest.rows == 1
    assert catalog.versions("shop") == [1, 2]


def test_equal_rows_have_equal_content_hashes_and_other_rows_others(catalog: Catalog) -> None:
    first = _publish(catalog, "a", [_row(1), _row(2)])
    same = _publish(catalog, "b", [_row(1), _row(2)])
    other = _publish(catalog, "c", [_row(1), _row(2, "no")])
    assert first.manifest.content == same.manifest.content != other.manifest.content


def test_a_draft_that_is_left_by_an_error_publishes_nothing(catalog: Catalog) -> None:
    def interrupted() -> None:
        with catalog.draft("shop") as draft:
            draft.append(table_of([_row(1)]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert catalog.names() == []
    assert not (catalog.root / "shop").exists()


def test_a_killed_process_leaves_no_version(catalog: Catalog) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tunesmith.data.store import Catalog\n"
        "context = Catalog(Path(sys.argv[1])).draft('shop')\n"
        "draft = context.__enter__()\n"
        "draft.reject([{'file': 'x', 'line': 1, 'reason': 'r', 'text': 't'}])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(catalog.root.parent)], check=False)
    assert done.returncode < 0
    assert catalog.names() == []
    assert _publish(catalog, "shop", [_row(1)]).label == "shop@1"


def test_a_file_that_was_changed_is_noticed(catalog: Catalog) -> None:
    version = _publish(catalog, "shop", [_row(1)])
    part = version.parts[0]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    os.chmod(part, 0o644)
    part.write_bytes(content)
    with pytest.raises(DataError, match=r"shop@1: part-00000\.parquet"):
        version.verify()


def test_a_version_number_is_never_given_twice(catalog: Catalog) -> None:
    _publish(catalog, "shop", [_row(1)])
    _publish(catalog, "shop", [_row(2)])
    catalog.delete(Reference("shop", 2))
    assert _publish(catalog, "shop", [_row(3)]).label == "shop@3"


def test_a_deleted_dataset_is_gone(catalog: Catalog) -> None:
    _publish(catalog, "shop", [_row(1)])
    catalog.delete(Reference("shop"))
    assert catalog.names() == []
    with pytest.raises(DataError, match="no file or dataset 'shop'"):
        catalog.open("shop")


def test_an_unknown_name_is_answered_with_the_nearest_one(catalog: Catalog) -> None:
    _publish(catalog, "shop", [_row(1)])
    with pytest.raises(DataError) as caught:
        catalog.open("shopp")
    assert "Did you mean 'shop'?" in caught.value.hint
    with pytest.raises(DataError, match="has no version 7"):
        catalog.open("shop@7")


def test_a_description_changes_without_a_new_version(catalog: Catalog) -> None:
    _publish(catalog, "shop", [_row(1)])
    catalog.describe("shop", description="Customers' questions", tags=["retail"])
    catalog.describe("shop", licence="CC0")
    about = catalog.about("shop")
    assert (about.description, about.tags, about.licence) == (
        "Customers' questions",
        ["retail"],
        "CC0",
    )
    assert catalog.versions("shop") == [1]


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "", ".", "..", ".hidden", "CON", "nul.txt", "a\0b", "x" * 101]
)
def test_names_that_could_leave_the_folder_are_refused(catalog: Catalog, name: str) -> None:
    assert not is_name(name)
    with pytest.raises(DataError), catalog.draft(name):
        pass


@given(st.text(max_size=20))
def test_every_name_that_is_taken_stays_below_the_root(name: str) -> None:
    if is_name(name):
        root = Path("/data/datasets")
        assert (root / name).parent == root
        assert Path(os.path.normpath(root / name)) == root / name


def test_references_name_a_dataset_and_a_version() -> None:
    assert parse_reference("客服@3") == Reference("客服", 3)
    assert parse_reference("shop") == Reference("shop")
    assert parse_reference("shop@") is None
    assert parse_reference("a/b.jsonl") is None


def test_large_versions_are_written_in_several_parts(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.data.store.version.ROWS_A_PART", 2)
    with catalog.draft("shop") as draft:
        for number in range(1, 6):
            draft.append(table_of([_row(number)]))
        version = catalog.publish(draft, "shop")
    assert len(version.parts) == 3
    assert [row.id for row in stored_rows(version.batches())] == [1, 2, 3, 4, 5]
    version.verify()


def test_new_rows_get_ids_that_no_row_had_before(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "draft", name="shop", next_id=10)
    draft.append_new(table_of([_row(1), _row(2)]).drop_columns(["id"]))
    (tmp_path / "0001").parent.mkdir(exist_ok=True)
    version = draft.publish(tmp_path / "0001", created="2026-01-01T00:00:00+00:00")
    assert version.column("id").tolist() == [10, 11]
    assert version.manifest.next_id == 12


def test_drafts_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    """A killed process leaves a draft; its lock is gone with it."""
    catalog = Catalog(tmp_path)
    dying = subprocess.Popen(
        [sys.executable, "-c", DRAFTING, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert dying.stdout is not None
    assert dying.stdout.readline() == "begun\n"
    with catalog.draft("living"):
        catalog.remove_dead_drafts()
        assert len(list(tmp_path.glob("datasets/*/draft-*"))) == 2
        dying.kill()
        dying.wait()
        dying.stdout.close()
        catalog.remove_dead_drafts()
        (left,) = tmp_path.glob("datasets/*/draft-*")
        assert left.parent.name == "living"


DRAFTING = """
import sys
import time
from pathlib import Path
from tunesmith.data.store import Catalog
with Catalog(Path(sys.argv[1])).draft("dying"):
    print("begun", flush=True)
    time.sleep(600)
"""
