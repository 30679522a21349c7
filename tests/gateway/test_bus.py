"""Letters between gateway processes: each arrives, only where it belongs, and only for those who hold our key."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as some

from gateway import bus as bus_module
from gateway import postage
from gateway.bus import LOOK_BACK, WAITING_LIMIT, Mailbox, topic_of
from gateway.models import Letter
from gateway.store import LETTERS_KEPT_FOR, forget_what_is_over
from tests.gateway.storing import StoredPorts, empty_store, module_database, run_twice, with_database

__all__ = ("empty_store", "module_database")


def stored() -> int:
    try:
        return Letter.objects.count()
    finally:
        connection.close()


@with_database
def test_a_letter_reaches_who_waits_for_its_topic_in_another_process() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with there.bus.mailbox("answers:1") as box, there.bus.mailbox("answers:2") as other:
            await here.bus.send("answers:1", b"hello")
            return await box.next(10), await other.next(0)

    assert run_twice(use) == (b"hello", None)


@with_database
def test_a_letter_that_came_before_anybody_waited_is_found() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        await here.bus.send("answers:1", b"early")
        with there.bus.mailbox("answers:1") as box, here.bus.mailbox("answers:1") as own:
            return await box.next(10), await own.next(10)

    assert run_twice(use) == (b"early", b"early")


@with_database
def test_letters_keep_their_order_and_each_comes_once() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with there.bus.mailbox("answers:1") as box:
            for number in range(20):
                await here.bus.send("answers:1", str(number).encode())
            heard = [await box.next(10) for _ in range(20)]
            await here.bus.send("answers:1", b"last")
            return heard, await box.next(10)

    heard, last = run_twice(use)
    assert (heard, last) == ([str(number).encode() for number in range(20)], b"last")


@with_database
def test_within_a_process_no_database_is_needed() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with here.bus.mailbox("answers:1") as box:
            await here.bus.send("answers:1", b"hello")
            return await box.next(0)

    assert run_twice(use) == b"hello"
    assert stored() == 0


@with_database
def test_an_announcement_wakes_all_who_wait_in_every_process() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with here.bus.mailbox("news") as a, here.bus.mailbox("news") as b, there.bus.mailbox("news") as c:
            await here.bus.announce("news")
            return [await box.ring(10) for box in (a, b, c)]

    assert run_twice(use) == [True, True, True]


@with_database
def test_nobody_waits_longer_than_said() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with here.bus.mailbox("answers:1") as box:
            return await box.next(0.01), await box.ring(0.01)

    assert run_twice(use) == (None, False)


@with_database
def test_who_reads_the_database_reads_no_letter() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        await here.bus.send("answers:1", b"a secret answer")

    run_twice(use)
    assert b"secret" not in bytes(Letter.objects.get().body)


@with_database
def test_a_letter_put_under_another_topic_is_not_delivered() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        await here.bus.send("answers:1", b"for somebody else")
        await asyncio.to_thread(_readdress)
        await here.bus.send("answers:2", b"genuine")
        with there.bus.mailbox("answers:2") as box:
            return await box.next(10), await box.next(0)

    def _readdress() -> None:
        Letter.objects.update(topic="answers:2")
        connection.close()

    assert run_twice(use) == (b"genuine", None)


@with_database
def test_a_wake_up_that_is_lost_only_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """NOTIFY is a hint: behind a pooler it may never come."""

    async def deaf(self: Any, conninfo: str) -> None:
        await asyncio.Event().wait()

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with there.bus.mailbox("answers:1") as box:
            await box.next(0.1)
            await here.bus.send("answers:1", b"hello")
            return await box.next(10)

    monkeypatch.setattr(bus_module.Bus, "_listen", deaf)
    assert run_twice(use) == b"hello"


@with_database
def test_nothing_is_asked_of_the_database_while_nobody_waits() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with here.bus.mailbox("answers:1") as box:
            await box.next(0.05)
            polling = here.bus._polling
        assert polling is not None
        async with asyncio.timeout(30):
            await polling
        return here.bus._polling

    assert run_twice(use) is None


@with_database
def test_who_is_sent_more_than_it_reads_keeps_a_bounded_number() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with here.bus.mailbox("answers:1") as box:
            for _ in range(10 * WAITING_LIMIT):
                await here.bus.send("answers:1", b"hello")
            return box.letters.qsize()

    assert run_twice(use) == WAITING_LIMIT


@with_database
def test_letters_are_forgotten_in_time() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        await here.bus.send("answers:1", b"old")
        await here.bus.send("answers:2", b"new")

    run_twice(use)
    Letter.objects.filter(topic="answers:1").update(written_at=datetime.now(UTC) - LETTERS_KEPT_FOR)
    forget_what_is_over()
    assert [letter.topic for letter in Letter.objects.all()] == ["answers:2"]
    assert timedelta(0) < LOOK_BACK < LETTERS_KEPT_FOR


def test_topics_tell_nothing_and_collide_for_nobody() -> None:
    assert topic_of("a", "b", "c") != topic_of("a", "bc")
    assert topic_of("a", "b c") != topic_of("a", "b", "c")
    assert "secret" not in topic_of("reply", "secret")
    assert len(topic_of("abandoned", "x" * 10_000)) <= 100


@with_database
def test_a_mailbox_that_waits_long_remembers_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "LOOK_BACK", timedelta(seconds=0.5))

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with here.bus.mailbox("topic") as box:
            for number in range(3):
                await there.bus.send("topic", str(number).encode())
                await box.next()
                await asyncio.sleep(0.6)
            return len(box.seen)

    assert run_twice(use) < 3


def test_a_mailbox_keeps_a_bounded_weight() -> None:
    box = Mailbox("topic", datetime.now(UTC))
    for _ in range(3):
        box.put(b"x" * (bus_module.WAITING_BYTES // 2 + 1))
    assert box.letters.qsize() == 1

    async def read() -> bytes | None:
        return await box.next()

    asyncio.run(read())
    box.put(b"y" * (bus_module.WAITING_BYTES + 1))
    assert box.letters.qsize() == 1, "one letter of any weight always comes through"


@with_database
def test_an_agent_cannot_fill_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postage, "AT_ONCE", 3.5)
    monkeypatch.setattr(postage, "PER_SECOND", 0.0)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        sent = [await here.bus.send(f"topic {number}", b"", sender="rogue") for number in range(5)]
        return sent, await here.bus.send("topic", b"", sender="other"), await here.bus.send("topic", b"")

    assert run_twice(use) == ([True, True, True, False, False], True, True)
    assert stored() == 5


@given(some.lists(some.tuples(some.floats(0, 100), some.integers(0, 4 * postage.PAGE_BYTES)), max_size=200))
def test_nobody_writes_more_than_the_budget_and_what_has_filled_up_since(letters: list[tuple[float, int]]) -> None:
    at = 0.0
    budget, paid = postage.Postage(clock=lambda: at), 0.0
    for pause, size in letters:
        at += pause
        if budget.pay("agent", size):
            paid += 1 + size / postage.PAGE_BYTES
        assert paid <= postage.AT_ONCE + at * postage.PER_SECOND + 1e-6
