"""How long guesses wait: by account and by address, growing, forgiven and forgotten."""

from __future__ import annotations

import threading

import pytest

from tunesmith.api.backoff import (
    ACCOUNT_TRIES,
    ACCOUNT_WAIT,
    ADDRESS_TRIES,
    FORGOTTEN_AFTER,
    Backoff,
    SignInPaused,
)
from tunesmith.server.errors import DatabaseUnavailable, NotAuthenticated


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    def __init__(self) -> None:
        self.clock, self.told = Clock(), list[tuple[str, str, int, float]]()
        self.backoff = Backoff(lambda *about: self.told.append(about), self.clock)

    def fail(self, account: str = "li", address: str = "a") -> None:
        with pytest.raises(NotAuthenticated), self.backoff.guess(account, address):
            raise NotAuthenticated("wrong")

    def succeed(self, account: str = "li", address: str = "a") -> None:
        with self.backoff.guess(account, address):
            pass

    def wait(self, account: str = "li", address: str = "a") -> int:
        """Seconds that a try would have to wait; 0 where it may begin."""
        try:
            with self.backoff.guess(account, address):
                raise DatabaseUnavailable("neither right nor wrong")
        except SignInPaused as error:
            return int(error.details["retry_after"])
        except DatabaseUnavailable:
            return 0


@pytest.fixture
def world() -> World:
    return World()


def test_waits_double_up_to_a_bound(world: World) -> None:
    for _ in range(ACCOUNT_TRIES):
        assert world.wait() == 0
        world.fail()
    waits: list[int] = []
    for _ in range(12):
        waits.append(world.wait())
        world.clock.now += waits[-1]
        world.fail(address=f"another {len(waits)}")
    assert waits[:5] == [2, 4, 8, 16, 32]
    assert waits[-1] == ACCOUNT_WAIT
    assert world.told[ACCOUNT_TRIES - 2][3] == 0
    assert world.told[ACCOUNT_TRIES - 1] == ("li", "a", ACCOUNT_TRIES, 2.0)


def test_an_account_waits_wherever_the_guesses_come_from_and_others_do_not(world: World) -> None:
    for number in range(ACCOUNT_TRIES):
        world.fail("Li", f"address {number}")
    assert world.wait("lI", "elsewhere") > 0
    assert world.wait("wang", "address 1") == 0


def test_an_address_waits_whatever_names_it_tries(world: World) -> None:
    for number in range(ADDRESS_TRIES):
        world.fail(f"user {number}")
    assert world.wait("new") > 0
    assert world.wait("new", "elsewhere") == 0


def test_success_is_forgiven_but_buys_no_guesses(world: World) -> None:
    for _ in range(ACCOUNT_TRIES - 1):
        world.fail()
    world.succeed()
    for _ in range(ACCOUNT_TRIES - 1):
        world.fail()
    assert world.wait() == 0
    world = World()
    for number in range(ADDRESS_TRIES - 1):
        world.fail(f"user {number}")
        world.succeed("my own")
    world.fail("one more")
    assert world.wait("my own") > 0


def test_a_fault_of_ours_is_no_failure(world: World) -> None:
    for _ in range(3 * ADDRESS_TRIES):
        assert world.wait() == 0


def test_failures_are_forgotten(world: World) -> None:
    for _ in range(ACCOUNT_TRIES - 1):
        world.fail()
    world.clock.now += FORGOTTEN_AFTER + 1
    for _ in range(ACCOUNT_TRIES - 1):
        world.fail()
    assert world.wait() == 0


def test_guesses_at_once_are_no_more_than_one_after_the_other(world: World) -> None:
    barrier, tried = threading.Barrier(20), list[int]()

    def guess() -> None:
        barrier.wait()
        try:
            with world.backoff.guess("li", "a"):
                tried.append(1)
                raise NotAuthenticated("wrong")
        except (NotAuthenticated, SignInPaused):
            return

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tried) == ACCOUNT_TRIES
