"""Which job starts next: examples, then laws over any queue."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.server.scheduler import (
    AGING_SECONDS,
    PATIENCE_SECONDS,
    Host,
    Queued,
    Quota,
    Running,
    Start,
    plan,
)


def job(name: str, devices: int = 1, **changes: object) -> Queued:
    return replace(Queued(name, "p", "u", devices), **changes)  # type: ignore[arg-type]


def host(name: str = "h", free: int = 1, total: int | None = None, flavour: str = "") -> Host:
    return Host(name, tuple(range(free)), free if total is None else total, flavour)


def names(starts: list[Start]) -> list[str]:
    return [start.job for start in starts]


def test_nothing_to_do() -> None:
    assert plan([], [], [host()]) == []
    assert plan([job("a")], [], []) == []
    assert plan([job("a")], [], [host(free=0, total=4)]) == []


def test_a_job_gets_the_first_free_devices_of_one_host() -> None:
    assert plan([job("a", 2)], [], [Host("h", (1, 3, 5), 6)]) == [Start("a", "h", (1, 3))]
    assert plan([job("a", 2)], [], [host("x"), host("y")]) == []  # never on two hosts


def test_a_job_that_does_not_fit_does_not_block_a_smaller_one() -> None:
    assert names(plan([job("big", 8), job("small", 1)], [], [host(free=2, total=8)])) == ["small"]


def test_a_large_job_that_has_waited_long_keeps_its_host_free() -> None:
    big = job("big", 8, waited_seconds=PATIENCE_SECONDS)
    assert plan([big, job("small")], [], [host(free=2, total=8)]) == []
    others = [host("h", 2, 8), host("other", 1)]
    assert plan([big, job("small")], [], others) == [Start("small", "other", (0,))]


def test_a_large_job_holds_one_host_only_that_with_the_most_free_devices() -> None:
    big = job("big", 8, waited_seconds=PATIENCE_SECONDS)
    asking, other = host("asking", 2, 8), replace(host("other", 3, 8), is_open=False)
    assert names(plan([big, job("small")], [], [asking, other])) == ["small"]
    asking = host("asking", 4, 8)
    assert plan([big, job("small")], [], [asking, other]) == []


def test_nothing_starts_on_a_host_that_does_not_ask() -> None:
    assert plan([job("a")], [], [replace(host(), is_open=False)]) == []


def test_a_job_larger_than_every_host_holds_nothing() -> None:
    big = job("big", 9, waited_seconds=1e9)
    assert names(plan([big, job("small")], [], [host(free=2, total=8)])) == ["small"]


def test_higher_priority_first_then_the_place_in_the_queue() -> None:
    queue = [
        job("second", position=2),
        job("first", position=1),
        job("urgent", position=3, priority=1),
    ]
    assert names(plan(queue, [], [host(free=3)])) == ["urgent", "first", "second"]


def test_projects_take_turns_by_the_devices_they_use() -> None:
    queue = [job(f"a{n}", project="a") for n in range(4)] + [
        job(f"b{n}", project="b") for n in range(4)
    ]
    assert names(plan(queue, [], [host(free=4)])) == ["a0", "b0", "a1", "b1"]
    busy = [Running("r", "a", "u", 2)]
    assert names(plan(queue, busy, [host(free=3)])) == ["b0", "b1", "a0"]


def test_a_project_with_twice_the_weight_gets_twice_the_devices() -> None:
    queue = [job(f"{p}{n}", project=p) for p in "ab" for n in range(9)]
    started = names(plan(queue, [], [host(free=9)], weights={"a": 2.0}))
    assert sum(name.startswith("a") for name in started) == 6


def test_a_queue_that_has_waited_an_hour_more_goes_first() -> None:
    old = job("old", project="a", waited_seconds=AGING_SECONDS + 1)
    new = job("new", project="b", priority=1, waited_seconds=1)
    busy = [Running("r", "b", "u", 9)]
    assert names(plan([old, new], busy, [host()])) == ["old"]


def test_a_user_at_a_limit_waits_and_blocks_nobody() -> None:
    queue = [job("a", user="full", waited_seconds=1e6), job("b", user="free")]
    for quota in (
        Quota(running_jobs=1),
        Quota(device_seconds_left=0.0),
        Quota(storage_bytes_left=-1),
    ):
        starts = plan(queue, [Running("r", "p", "full")], [host(free=2)], quotas={"full": quota})
        assert names(starts) == ["b"]


def test_the_limit_of_running_jobs_counts_those_that_start_now() -> None:
    queue = [job(str(n), user="u") for n in range(5)]
    assert len(plan(queue, [], [host(free=5)], quotas={"u": Quota(running_jobs=2)})) == 2


def test_a_flavour_is_a_condition() -> None:
    hosts = [host("a", flavour="cpu"), host("b", flavour="h100")]
    assert plan([job("x", flavour="h100")], [], hosts) == [Start("x", "b", (0,))]
    assert plan([job("x", flavour="none")], [], hosts) == []


def test_the_host_with_the_fewest_devices_to_spare_is_taken() -> None:
    assert plan([job("a", 2)], [], [host("large", 8), host("small", 2)])[0].host == "small"


queues = st.lists(
    st.builds(
        Queued,
        id=st.uuids().map(str),
        project=st.sampled_from("abc"),
        user=st.sampled_from("uvw"),
        num_devices=st.integers(1, 8),
        priority=st.integers(-1, 2),
        position=st.floats(0, 9),
        waited_seconds=st.floats(0, 9000),
        flavour=st.sampled_from(["", "x"]),
    ),
    max_size=12,
    unique_by=lambda job: job.id,
)
hosts_strategy = st.lists(
    st.integers(0, 8).flatmap(
        lambda total: st.builds(
            Host,
            st.uuids().map(str),
            st.sets(st.integers(0, max(0, total - 1)), max_size=total).map(
                lambda s: tuple(sorted(s))
            ),
            st.just(total),
            st.sampled_from(["", "x"]),
        )
    ),
    max_size=3,
    unique_by=lambda host: host.id,
)
runs = st.lists(
    st.builds(
        Running,
        st.uuids().map(str),
        st.sampled_from("abc"),
        st.sampled_from("uvw"),
        st.integers(1, 8),
    ),
    max_size=6,
)
limits = st.dictionaries(
    st.sampled_from("uvw"), st.builds(Quota, st.none() | st.integers(0, 4)), max_size=3
)


@given(queues, runs, hosts_strategy, limits)
def test_whatever_waits_the_plan_can_be_carried_out(
    queued: list[Queued], running: list[Running], hosts: list[Host], quotas: dict[str, Quota]
) -> None:
    starts = plan(queued, running, hosts, quotas=quotas)
    jobs = {item.id: item for item in queued}
    assert len(set(names(starts))) == len(starts)
    used = [(start.host, device) for start in starts for device in start.devices]
    assert len(set(used)) == len(used)
    free = {(item.id, device) for item in hosts for device in item.free}
    assert set(used) <= free
    kinds = {item.id: item.flavour for item in hosts}
    for start in starts:
        assert len(start.devices) == jobs[start.job].num_devices
        assert jobs[start.job].flavour in ("", kinds[start.host])
    for user, quota in quotas.items():
        if quota.running_jobs is not None:
            new = sum(jobs[start.job].user == user for start in starts)
            before = sum(item.user == user for item in running)
            assert new == 0 or new + before <= quota.running_jobs


@given(queues, runs, hosts_strategy)
def test_the_order_in_which_the_database_answers_does_not_matter(
    queued: list[Queued], running: list[Running], hosts: list[Host]
) -> None:
    once = plan(queued, running, hosts)
    assert plan(queued[::-1], running[::-1], hosts[::-1]) == once or len(hosts) > 1
    assert plan(queued[::-1], running[::-1], hosts) == once


@given(queues, runs, hosts_strategy)
def test_no_device_idles_while_a_young_queue_could_use_it(
    queued: list[Queued], running: list[Running], hosts: list[Host]
) -> None:
    young = [replace(item, waited_seconds=0.0) for item in queued]
    starts = plan(young, running, hosts)
    left = {item.id: len(item.free) for item in hosts}
    for start in starts:
        left[start.host] -= len(start.devices)
    for item in young:
        if item.id not in names(starts):
            assert all(
                left[place.id] < item.num_devices or item.flavour not in ("", place.flavour)
                for place in hosts
            )


@given(
    st.integers(2, 4),
    st.lists(st.tuples(st.integers(1, 2), st.integers(60, 900)), min_size=1, max_size=6),
    st.integers(0, 1),
)
def test_a_large_job_starts_however_many_small_ones_keep_coming(
    size: int, kinds: list[tuple[int, int]], priority: int
) -> None:
    """Small jobs of another project arrive for ever; the large one needs the whole host."""
    big = Queued("big", "large", "u", size, priority=0)
    busy: list[tuple[int, Running, tuple[int, ...]]] = []  # (end, job, devices)
    free, number = set(range(size)), 0
    for now in range(0, 4 * 3600, 60):
        for _, _, devices in [item for item in busy if item[0] <= now]:
            free |= set(devices)
        busy = [item for item in busy if item[0] > now]
        smalls = [
            Queued(f"s{number + n}", "small", "v", min(d, size), priority)
            for n, (d, _) in enumerate(kinds)
        ]
        where = Host("h", tuple(sorted(free)), size)
        for start in plan(
            [replace(big, waited_seconds=now), *smalls], [r for _, r, _ in busy], [where]
        ):
            if start.job == "big":
                return
            length = kinds[int(start.job[1:]) - number][1]
            busy.append((now + length, Running(start.job, "small", "v"), start.devices))
            free -= set(start.devices)
        number += len(kinds)
    raise AssertionError("the large job never started")
