"""Datasets of a few rows, and the classifier of our own rows, trained once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tunesmith.data.check.inspect import Wanted
from tunesmith.data.importing import import_files
from tunesmith.data.quality.classifier import Classifier, own_classifier
from tunesmith.data.store import Catalog, Version
from tunesmith.data.subject import files_subject
from tunesmith.recipe import Dataset

Make = Callable[..., Version]


def silent(kind: str, done: int, total: int) -> None:
    assert kind
    assert done <= total or not total


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    return Catalog()


@pytest.fixture
def make(catalog: Catalog, tmp_path: Path) -> Make:
    """`make(rows)` is a published version of (question, answer) pairs or of whole rows."""

    def build(rows: list[Any], name: str = "shop") -> Version:
        path = tmp_path / f"{name}.jsonl"
        whole = [
            {"question": row[0], "answer": row[1]} if isinstance(row, tuple) else row
            for row in rows
        ]
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in whole))
        subject = files_subject([path], Dataset(dataset=path.name), None)
        wanted = Wanted(near=False)
        return import_files(
            catalog, name, subject, wanted=wanted, processes=1, on_progress=silent
        ).version

    return build


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return own_classifier(tmp_path_factory.mktemp("cache"))
