"""Names of results and checkpoints."""

from __future__ import annotations

from tunesmith.server.naming import (
    CheckpointName,
    checkpoint_name,
    model_name,
    parse_checkpoint,
    suffix_of,
)

JOB = "ftjob-01kat3v9m0b6x1r5q8wz2c7d4e"


def test_a_result_is_named_after_base_project_suffix_and_job() -> None:
    assert model_name("Qwen/Qwen3-0.6B", "a b", "x:y", JOB) == "ft:Qwen/Qwen3-0.6B:a-b:x-y:wz2c7d4e"


def test_a_suffix_and_a_project_become_parts_without_slashes_and_dots() -> None:
    assert model_name("a/b.c", "x/../y", "../../v1.2/", JOB) == f"ft:a/b.c:x-y:-v1-2-:{JOB[-8:]}"
    assert model_name("a/b", "商店", "shop_2-b", JOB) == f"ft:a/b:商店:shop_2-b:{JOB[-8:]}"


def test_the_base_of_a_result_is_that_of_its_base() -> None:
    assert model_name("ft:starter:p:s:01234567", "p", "", JOB) == f"ft:starter:p::{JOB[-8:]}"


def test_a_checkpoint_is_named_after_its_step_and_found_again() -> None:
    name = checkpoint_name(model_name("a/b", "p", "s", JOB), 88)
    assert name.endswith(":ckpt-step-88")
    assert parse_checkpoint(name) == CheckpointName(JOB[-8:], 88)
    for other in ("starter", "ft:a:b:c:01234567", "ft:a:ckpt-step-3", f"{name}0000000000000"):
        assert parse_checkpoint(other) is None


def test_the_suffix_is_the_clients_own_or_the_name_of_the_job() -> None:
    assert suffix_of("run", {"training_file": "f", "suffix": "shop"}) == "shop"
    assert suffix_of("run", {"training_file": "f"}) == ""
    assert suffix_of("support-bot", {"base": "starter"}) == "support-bot"
    assert suffix_of("support-bot", None) == "support-bot"
