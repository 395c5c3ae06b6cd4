"""Files and uploads by the stock openai client, sync and async."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing

import openai
import pytest
from openai.types import Upload
from tests.integration.openai_client.live import (
    Driver,
    Live,
    chats,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_small_file_is_uploaded_and_processed(driver: Driver) -> None:
    """T1, T4, T5."""
    content = chats(10)[:1000] + b"\n"
    expiry = {"anchor": "created_at", "seconds": 3600}
    file = driver(
        driver.c.files.create(file=("a.jsonl", content), purpose="fine-tune", expires_after=expiry)
    )
    assert (file.object, file.filename, file.purpose) == ("file", "a.jsonl", "fine-tune")
    assert file.bytes == len(content)
    assert file.expires_at == file.created_at + 3600
    assert driver(driver.c.files.wait_for_processing(file.id)).status == "processed"
    read = driver(driver.c.files.content(file.id)).read()
    read = read if isinstance(read, bytes) else driver(read)
    assert hashlib.sha256(read).digest() == hashlib.sha256(content).digest()
    assert driver(driver.c.files.delete(file.id)).deleted is True
    with pytest.raises(openai.NotFoundError):
        driver(driver.c.files.retrieve(file.id))


def test_files_are_listed_in_both_orders_without_gap(driver: Driver) -> None:
    """T3."""
    made = [driver.upload(b"x", "evals", f"{n}.txt").id for n in range(5)]
    for order, expected in (("asc", made), ("desc", made[::-1])):
        pages = driver.c.files.list(purpose="evals", order=order, limit=2)
        listed = [file.id for file in driver.all(pages)]
        assert [each for each in listed if each in made] == expected
        assert len(listed) == len(set(listed))
    after = driver(driver.c.files.list(purpose="evals", order="asc", after=made[2], limit=2))
    assert [file.id for file in after.data] == made[3:]


def test_a_file_above_64_mib_comes_in_parts(driver: Driver) -> None:
    """T2."""
    content = bytes(65 << 20)
    upload = driver(
        driver.c.uploads.upload_file_chunked(
            file=content,
            filename="large.bin",
            bytes=len(content),
            mime_type="application/octet-stream",
            purpose="user_data",
        )
    )
    assert upload.status == "completed"
    assert upload.file.bytes == len(content)
    driver(driver.c.files.delete(upload.file.id))


def test_uploads_that_do_not_fit_are_refused_and_cancelled_ones_end(
    live: Live, driver: Driver
) -> None:
    """T6."""
    uploads = driver.c.uploads
    new = {"filename": "a", "mime_type": "text/plain", "purpose": "user_data"}
    upload = driver(uploads.create(bytes=4, **new))
    assert (upload.status, upload.file) == ("pending", None)
    assert upload.expires_at == upload.created_at + 3600
    part = driver(uploads.parts.create(upload.id, data=b"abc"))
    assert part.object == "upload.part"
    with pytest.raises(openai.BadRequestError) as wrong_size:
        driver(uploads.complete(upload.id, part_ids=[part.id]))
    assert wrong_size.value.code == "upload_size_mismatch"
    rest = driver(uploads.parts.create(upload.id, data=b"d"))
    with pytest.raises(openai.BadRequestError) as wrong_md5:
        driver(uploads.complete(upload.id, part_ids=[part.id, rest.id], md5="0" * 32))
    assert wrong_md5.value.param == "md5"
    assert driver(uploads.cancel(upload.id)).status == "cancelled"

    late = driver(uploads.create(bytes=4, **new))
    with closing(sqlite3.connect(live.data_dir / "tunesmith.db")) as database:
        database.execute(
            "UPDATE uploads SET expires_at = '2020-01-01 00:00:00' WHERE id = ?", (late.id,)
        )
        database.commit()
    with pytest.raises(openai.NotFoundError) as expired:
        driver(uploads.complete(late.id, part_ids=[]))
    assert expired.value.code == "upload_expired"
    assert driver(driver.c.get(f"/uploads/{late.id}", cast_to=Upload)).status == "expired"
