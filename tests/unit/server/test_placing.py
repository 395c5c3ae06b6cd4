"""What a worker starts and stops so that models answer: a pure function."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.server.deployments.placing import BUSY_SECONDS, Plan, Process, Wanted, plan

GIB = 1 << 30


def made(wanted: list[Wanted], processes: list[Process], *, budget: int = 4 * GIB) -> Plan:
    return plan(wanted, processes, budget_bytes=budget, now=1000.0)


def test_what_fits_is_started_and_one_process_answers_for_all_on_its_base() -> None:
    first, second = Wanted("a", "starter", GIB), Wanted("b", "starter", GIB)
    assert made([first, second], []).start == [first]
    joined = made([replace(first, serving="p"), second], [Process("p", "starter", GIB)])
    assert joined.join == [("b", "p")]
    assert not joined.start


def test_a_process_that_nobody_needs_ends() -> None:
    assert made([], [Process("p", "starter", GIB)]).end == ["p"]


def test_the_least_recently_asked_makes_room() -> None:
    old = Wanted("old", "x", 2 * GIB, used=10.0, serving="p1")
    recent = Wanted("recent", "y", 2 * GIB, used=500.0, serving="p2")
    running = [Process("p1", "x", 2 * GIB), Process("p2", "y", 2 * GIB)]
    planned = made([old, recent, Wanted("new", "z", GIB, used=999.0)], running)
    assert planned.evict == ["old"]
    assert not planned.start  # the memory is not free yet


def test_nobody_who_is_asked_now_or_may_not_stop_makes_room() -> None:
    running = [Process("p1", "x", 3 * GIB)]
    for keeps in (
        Wanted("busy", "x", 3 * GIB, used=1000.0 - BUSY_SECONDS, serving="p1"),
        Wanted("fixed", "x", 3 * GIB, used=1.0, serving="p1", may_stop=False),
    ):
        planned = made([keeps, Wanted("new", "z", 2 * GIB)], running)
        assert planned == Plan()


def test_what_can_never_fit_is_told_with_the_budget() -> None:
    planned = made([Wanted("huge", "x", 5 * GIB)], [])
    assert planned.short == {"huge": 4 * GIB}


NAMES = st.sampled_from(["x", "y", "z"])


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Wanted], list[Process], int]:
    sizes = {name: draw(st.integers(1, 6)) for name in "xyz"}
    bases = draw(st.lists(NAMES, unique=True, max_size=3))
    processes = [Process(f"p-{base}", base, sizes[base]) for base in bases]
    wanted: list[Wanted] = []
    for number in range(draw(st.integers(0, 6))):
        base = draw(NAMES)
        has_one = base in bases and draw(st.booleans())
        wanted.append(
            Wanted(
                f"d{number}",
                base,
                sizes[base],
                used=draw(st.floats(0, 1000)),
                serving=f"p-{base}" if has_one else "",
                may_stop=draw(st.booleans()),
            )
        )
    return wanted, processes, draw(st.integers(1, 12))


@given(situations())
def test_laws_of_placing(situation: tuple[list[Wanted], list[Process], int]) -> None:
    wanted, processes, budget = situation
    planned = plan(wanted, processes, budget_bytes=budget, now=1000.0)
    by_id = {row.id: row for row in wanted}
    taken = sum(process.memory_bytes for process in processes)
    if planned.start:  # never beyond the budget
        assert taken + sum(row.memory_bytes for row in planned.start) <= budget
    assert len({row.base for row in planned.start}) == len(planned.start)
    for row_id in planned.evict:
        row = by_id[row_id]
        assert row.serving
        assert row.may_stop
        assert 1000.0 - row.used > BUSY_SECONDS
    assert not {row.serving for row in wanted if row.serving} & set(planned.end)
    for row_id, serving in planned.join:
        assert f"p-{by_id[row_id].base}" == serving
    told = {i for i, _ in planned.join} | {row.id for row in planned.start} | set(planned.short)
    assert all(not by_id[row_id].serving for row_id in told)
