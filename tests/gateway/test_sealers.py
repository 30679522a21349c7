"""Keys that a process has open: asked for once, bounded, and let go when somebody is erased."""

import asyncio
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.commit.entry import EvidenceUnavailable
from gateway.sealers import CannotSeal, Sealers
from governance.payload_keys import PayloadSealer, Place
from governance.vault import Keyring

ANAS = Place("person:ana", "standard", "2026-11")


class Database:
    """Hands out the keys that the test says, when it says."""

    def __init__(self) -> None:
        self.reads = 0
        self.is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def run(self, _work: Callable[[], PayloadSealer]) -> PayloadSealer:
        self.reads += 1
        found = PayloadSealer(str(self.reads), AESGCM(bytes(32)))
        await self.may_answer.wait()
        if self.is_away:
            raise EvidenceUnavailable("away")
        return found


def sealers(database: Database, **options: int) -> Sealers:
    return Sealers(Keyring(bytes(32)), database.run, **options)


async def test_a_known_key_asks_nobody_and_many_askers_ask_once() -> None:
    database = Database()
    kept = sealers(database)
    assert kept.known(ANAS) is None
    found = await asyncio.gather(*(kept.opened(ANAS) for _ in range(5)))
    assert len(set(map(id, found))) == 1
    assert (kept.known(ANAS), await kept.opened(ANAS), database.reads) == (found[0], found[0], 1)


async def test_an_erasure_lets_all_keys_go_once() -> None:
    database = Database()
    kept = sealers(database)
    await kept.opened(ANAS)
    kept.follow(1)
    assert kept.known(ANAS) is None
    assert (await kept.opened(ANAS)).key_id == "2"
    kept.follow(1)
    assert (await kept.opened(ANAS)).key_id == "2"


async def test_a_key_that_was_read_before_an_erasure_is_not_used_after_it() -> None:
    database = Database()
    kept = sealers(database)
    database.may_answer.clear()
    waiting = asyncio.create_task(kept.opened(ANAS))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert database.reads == 1
    kept.follow(1)
    database.may_answer.set()
    assert (await waiting).key_id == "2"


async def test_no_key_is_said_so_and_asked_for_again() -> None:
    database = Database()
    kept = sealers(database)
    database.is_away = True
    with pytest.raises(CannotSeal):
        await kept.opened(ANAS)
    database.is_away = False
    assert (await kept.opened(ANAS)).key_id == "2"


async def test_no_more_are_kept_than_have_room() -> None:
    database = Database()
    kept = sealers(database, most=4)
    places = [ANAS._replace(subject=f"person:{number}") for number in range(20)]
    for place in places:
        await kept.opened(place)
    assert sum(kept.known(place) is not None for place in places) <= 4
    assert kept.known(places[-1]) is not None
